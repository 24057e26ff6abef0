"""A space without a table of accuracies: its costs, of all architectures where they can be listed, of a seeded sample elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from budgetnas.harness.costs.tabulated_space import Mask, UnknownResource, within
from budgetnas.harness.problem import Limit
from budgetnas.spaces.devices import DEVICE_RESOURCES, EXACT_RESOURCES, RESOURCES, UnknownDevice, device_of
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, CostedOnDevices, Described, Enumerable, Space, sample
from budgetnas.spaces.tables.columnar import Column
from budgetnas.spaces.task import Task, task_of

SAMPLED = 10_000  # architectures; a share of it is known to half a point of percent (one standard error)
SAMPLE_SEED = 0


class SampledSpace:
    """Costs of a space on a task and, if given, a device: a quantile of them is one over all architectures, or over `SAMPLED` of them.

    The sample is drawn uniformly, with replacement, from PCG64 seeded with `SAMPLE_SEED`: every machine draws the same.
    """

    def __init__(self, space: Space, task: Task, device: str | None):
        self.space = space
        self.task = task
        self.device = device
        self.checksum = ""

    @cached_property
    def architectures(self) -> list[Architecture]:
        """The architectures that columns are over: all, or the sample."""
        if isinstance(self.space, Enumerable):
            return [self.space.at(index) for index in range(self.space.size)]
        rng = np.random.Generator(np.random.PCG64(SAMPLE_SEED))
        return [sample(self.space, rng) for _ in range(SAMPLED)]

    @cached_property
    def resources(self) -> tuple[str, ...]:
        """The resources known here: the device's, then params and macs, then cycles where the space counts them."""
        return tuple(sorted(self.cost_of(self.architectures[0]), key=RESOURCES.index))

    @cached_property
    def _columns(self) -> dict[str, Column]:
        costs = [self.cost_of(arch) for arch in self.architectures]
        return {name: np.array([cost[name] for cost in costs], np.float64) for name in self.resources}

    def resource(self, name: str) -> Column:
        """Return a resource of the listed architectures; `UnknownResource` lists those there are."""
        if name not in self.resources:
            hint = "name a device, or " if name in DEVICE_RESOURCES and self.device is None else ""
            raise UnknownResource(
                f"{name} is not known of {self.space.name} on {self.task.dataset}; {hint}limit one of {', '.join(self.resources)}"
            )
        return self._columns[name]

    @cached_property
    def eligible(self) -> Mask:
        """Which of the listed architectures are connected and supported on the device."""
        mask = np.array([self.space.connected(arch) for arch in self.architectures])
        for name in self.resources:
            mask &= ~np.isnan(self._columns[name])
        return mask

    def admitted(self, limits: Sequence[Limit]) -> Mask:
        """Return which of the listed architectures are eligible and within all limits."""
        return within(limits, self.eligible, self.resource)

    def cost_of(self, arch: Architecture) -> Mapping[str, float]:
        """Return every known resource of any architecture of the space, computed."""
        cost: dict[str, float] = {}
        if self.device is not None and isinstance(self.space, CostedOnDevices):
            cost |= self.space.device_cost(arch, self.task, self.device)
        complexity = self.space.complexity(arch, self.task)
        cost |= {name: float(getattr(complexity, name)) for name in EXACT_RESOURCES}
        if isinstance(self.space, Described):
            cost |= {name: float(value) for name, value in self.space.figures(arch, self.task).items() if name in RESOURCES}
        return cost

    def accuracy_of(self, arch: Architecture) -> Mapping[str, float]:
        """Return nothing: no table knows it."""
        return {}


@lru_cache(maxsize=32)
def sampled_space_of(space: str, dataset: str, device: str | None) -> SampledSpace:
    """Return a space with the costs that it computes on a dataset and device, kept for the next call.

    `UnknownDevice` where the space has no figures of the device, or the space's own error where it can say how to get them.
    """
    found, task = space_of(space), task_of(dataset)
    if device is not None:
        device_of(device)
        known = found.devices(task) if isinstance(found, CostedOnDevices) else ()
        if device not in known:
            if isinstance(found, CostedOnDevices):
                found.device_cost(Architecture(found.name, (0,) * len(found.arity)), task, device)
            have = ", ".join(known) or "none: limit params, macs or cycles instead"
            raise UnknownDevice(f"costs on '{device}' are not known of {found.name} on {dataset}; known here: {have}")
    return SampledSpace(found, task, device)
