"""The costs of a space without a table: of all architectures if they can be listed, else of a seeded sample."""

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

SAMPLED = 10_000  # architectures; the standard error of an estimated share is at most 0.5 percentage points
SAMPLE_SEED = 0


class SampledSpace:
    """Computed costs of a space on a task and, if given, a device. Quantiles are over all architectures, or over `SAMPLED` of them.

    The sample is drawn uniformly, with replacement, from PCG64 seeded with `SAMPLE_SEED`, so it is the same on every machine.
    """

    def __init__(self, space: Space, task: Task, device: str | None):
        self.space = space
        self.task = task
        self.device = device
        self.checksum = ""

    @cached_property
    def architectures(self) -> list[Architecture]:
        """The listed architectures, over which the columns run: all of them, or the sample."""
        if isinstance(self.space, Enumerable):
            return [self.space.at(index) for index in range(self.space.size)]
        rng = np.random.Generator(np.random.PCG64(SAMPLE_SEED))
        return [sample(self.space, rng) for _ in range(SAMPLED)]

    @cached_property
    def resources(self) -> tuple[str, ...]:
        """The names of the known resources: those of the device, then params and macs, then cycles if the space counts them."""
        return tuple(sorted(self.cost_of(self.architectures[0]), key=RESOURCES.index))

    @cached_property
    def _columns(self) -> dict[str, Column]:
        costs = [self.cost_of(arch) for arch in self.architectures]
        return {name: np.array([cost[name] for cost in costs], np.float64) for name in self.resources}

    def resource(self, name: str) -> Column:
        """Return the values of a resource for the listed architectures, shape (architectures,), in its unit; NaN means 'not supported'.

        Raises:
            UnknownResource: The space has no such resource; the message lists those that it has.
        """
        if name not in self.resources:
            hint = "name a device, or " if name in DEVICE_RESOURCES and self.device is None else ""
            raise UnknownResource(
                f"{name} is not known for {self.space.name} on {self.task.dataset}; {hint}limit one of {', '.join(self.resources)}"
            )
        return self._columns[name]

    @cached_property
    def eligible(self) -> Mask:
        """A mask of the listed architectures that are connected and supported on the device, shape (architectures,)."""
        mask = np.array([self.space.connected(arch) for arch in self.architectures])
        for name in self.resources:
            mask &= ~np.isnan(self._columns[name])
        return mask

    def admitted(self, limits: Sequence[Limit]) -> Mask:
        """Return a mask of the listed architectures that are eligible and within all limits, shape (architectures,)."""
        return within(limits, self.eligible, self.resource)

    def cost_of(self, arch: Architecture) -> Mapping[str, float]:
        """Compute and return all known resources of an architecture, each in the unit that its name gives."""
        cost: dict[str, float] = {}
        if self.device is not None and isinstance(self.space, CostedOnDevices):
            cost |= self.space.device_cost(arch, self.task, self.device)
        complexity = self.space.complexity(arch, self.task)
        cost |= {name: float(getattr(complexity, name)) for name in EXACT_RESOURCES}
        if isinstance(self.space, Described):
            cost |= {name: float(value) for name, value in self.space.figures(arch, self.task).items() if name in RESOURCES}
        return cost

    def accuracy_of(self, arch: Architecture) -> Mapping[str, float]:
        """Return an empty mapping: without a table, no accuracy is known."""
        return {}


@lru_cache(maxsize=32)
def sampled_space_of(space: str, dataset: str, device: str | None) -> SampledSpace:
    """Return a space with the costs that it computes on a dataset and device. The result is cached.

    Raises:
        UnknownSpace, UnknownDataset: A name is unknown.
        UnknownDevice: The space has no figures of the device. If the space can explain how to get them, it raises its own error instead.
    """
    found, task = space_of(space), task_of(dataset)
    if device is not None:
        device_of(device)
        known = found.devices(task) if isinstance(found, CostedOnDevices) else ()
        if device not in known:
            if isinstance(found, CostedOnDevices):
                found.device_cost(Architecture(found.name, (0,) * len(found.arity)), task, device)
            have = ", ".join(known) or "none: limit params, macs or cycles instead"
            raise UnknownDevice(f"costs on '{device}' are not known for {found.name} on {dataset}; known devices: {have}")
    return SampledSpace(found, task, device)
