"""A space with a table: arrays over all architectures, by index, on one task and device. Limits, oracles and pages use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.problem import Limit
from budgetnas.spaces.devices import DEVICE_RESOURCES, EXACT_RESOURCES, NETWORK_RESOURCES, RESOURCES
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, Enumerable
from budgetnas.spaces.tables import accuracy as accuracies
from budgetnas.spaces.tables import hardware
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.home import open_table
from budgetnas.spaces.task import Task, task_of

Mask = NDArray[np.bool_]


class UnknownResource(ValueError):
    """Raised for a resource that is not known here. The message lists the known ones."""


class NotEnumerable(ValueError):
    """Raised if a question needs a list of all architectures of a space, and the space is too large to be listed."""


def within(limits: Sequence[Limit], eligible: Mask, resource: Callable[[str], Column]) -> Mask:
    """Return a mask of the eligible architectures within all limits; `resource` returns the column of a resource by its name."""
    mask = eligible.copy()
    for limit in limits:
        values = resource(limit.resource)
        mask &= (values <= limit.upper) & (values >= limit.lower)
    return mask


class TabulatedSpace:
    """Accuracy, training time and all known resources of every architecture of a space, on a task and, if given, a device."""

    def __init__(self, space: Enumerable, table: Table, task: Task, device: str | None):
        self.space = space
        self.table = table
        self.task = task
        self.device = device

    @property
    def checksum(self) -> str:
        """The checksum of the table."""
        return self.table.checksum

    @cached_property
    def resources(self) -> tuple[str, ...]:
        """The names of the known resources: those of the device, then params and macs, then cycles if the table has them."""
        on_device = tuple(hardware.metrics(self.table, self.task.dataset, self.device)) if self.device else ()
        of_network = hardware.network_metrics(self.table, self.task.dataset)
        return (*on_device, *EXACT_RESOURCES, *[name for name in of_network if name not in EXACT_RESOURCES])

    def resource(self, name: str) -> Column:
        """Return the values of a resource for all architectures, shape (size,), in its unit; NaN means 'not supported'.

        Raises:
            UnknownResource: The table has no such resource; the message lists those that it has.
        """
        if name in EXACT_RESOURCES:
            # A space that lists its architectures computes all complexities at once.
            params, macs = cast(Any, self.space).complexities(self.task)
            return np.asarray(params if name == "params" else macs, dtype=np.float64)
        if name not in RESOURCES:
            raise UnknownResource(f"unknown resource '{name}'; choose one of {', '.join(RESOURCES)}")
        if name in NETWORK_RESOURCES:
            if name not in self.resources:
                raise UnknownResource(f"{name} are not known on {self.task.dataset}; limit one of {', '.join(self.resources)}")
            return self.table.column(hardware.network_column(name, self.task.dataset))
        if self.device is None:
            raise UnknownResource(f"{name} needs a device; name a device, or limit one of {', '.join(self.resources)}")
        return hardware.device_cost(self.table, name, self.task.dataset, self.device)

    @cached_property
    def eligible(self) -> Mask:
        """A mask of the architectures that are connected and supported on the device, shape (size,)."""
        mask = np.array(cast(Any, self.space).connected_mask())
        for name in self.resources:
            if name in DEVICE_RESOURCES:
                values = self.resource(name)
                wrong = ~np.isnan(values) & ~((values >= 0) & np.isfinite(values))
                if wrong.any():
                    raise TableError(
                        f"{name} of {self.task.dataset} on {self.device} is {values[wrong][0]:g} for architecture {np.argmax(wrong)}; "
                        "a cost must be 0 or more, or NaN if the device does not support the network; join the column again"
                    )
                mask &= ~np.isnan(values)
        return mask

    def admitted(self, limits: Sequence[Limit]) -> Mask:
        """Return a mask of the architectures that are eligible and within all limits, shape (size,)."""
        return within(limits, self.eligible, self.resource)

    @cached_property
    def validation(self) -> Column:
        """Validation accuracy [%], mean over the table's seeds, shape (size,)."""
        return accuracies.accuracy(self.table, self.task.dataset, "validation")

    def validation_of_seed(self, search_seed: int) -> Column:
        """Return the validation accuracy [%] of every architecture for one of its training seeds, shape (size,).

        The training seed is number `search_seed` modulo the number of seeds that the architecture was trained with.
        """
        known = accuracies.seeds(self.table, self.task.dataset, "validation")
        if not known:
            return self.validation
        each = np.stack([accuracies.accuracy(self.table, self.task.dataset, "validation", seed=seed) for seed in known])
        trained = ~np.isnan(each)
        wanted = search_seed % np.maximum(trained.sum(axis=0), 1)
        chosen = np.argmax((np.cumsum(trained, axis=0) == wanted + 1) & trained, axis=0)
        return np.where(trained.any(axis=0), each[chosen, np.arange(each.shape[1])], self.validation)

    @cached_property
    def test(self) -> Column:
        """Test accuracy [%], mean over the table's seeds, shape (size,)."""
        return accuracies.accuracy(self.table, self.task.dataset, "test")

    @cached_property
    def training_seconds(self) -> Column:
        """Seconds that one full training takes, shape (size,)."""
        return accuracies.training_seconds(self.table, self.task.dataset)

    def require_complete(self) -> None:
        """Raise `TableError` unless the table has the accuracies and training time of every architecture: a search may ask about any."""
        unknown = np.isnan(self.validation) | np.isnan(self.test) | np.isnan(self.training_seconds)
        if unknown.any():
            raise TableError(
                f"the table has {int((~unknown).sum())} of {len(unknown)} architectures on {self.task.dataset}; "
                "a study needs all of them: run `budgetnas data fetch`"
            )

    def cost_at(self, index: int) -> dict[str, float]:
        """Return all known resources of the architecture with an index, each in the unit that its name gives."""
        return {name: float(self.resource(name)[index]) for name in self.resources}

    def cost_of(self, arch: Architecture) -> dict[str, float]:
        """Return all known resources of an architecture, each in the unit that its name gives."""
        return self.cost_at(self.space.index(arch))

    def accuracy_of(self, arch: Architecture) -> dict[str, float]:
        """Return the `validation` and `test` accuracy [%] of an architecture, means over the table's seeds."""
        index = self.space.index(arch)
        return {"validation": float(self.validation[index]), "test": float(self.test[index])}

    def architecture(self, index: int) -> Architecture:
        """Return the architecture with an index."""
        return self.space.at(index)


@lru_cache(maxsize=64)
def _tabulated_space(space: str, dataset: str, device: str | None, table: Table) -> TabulatedSpace:
    return TabulatedSpace(cast(Enumerable, space_of(space)), table, task_of(dataset), device)


def tabulated_space_of(space: str, dataset: str, device: str | None = None) -> TabulatedSpace:
    """Return a space with its table on a dataset and device. The result is cached.

    Raises:
        UnknownSpace, UnknownDataset, UnknownDevice: A name is unknown.
        NotEnumerable: The space is too large to be listed.
        TableError: The table is missing.
    """
    if not isinstance(space_of(space), Enumerable):
        raise NotEnumerable(f"the architectures of '{space}' cannot all be listed, so it has no table; query one architecture instead")
    table = open_table(space, dataset)
    if device is not None:
        from budgetnas.spaces.devices import UnknownDevice, device_of

        device_of(device)
        if not hardware.metrics(table, dataset, device):
            known = ", ".join(hardware.devices(table, dataset)) or "none"
            raise UnknownDevice(f"device '{device}' is not known for {dataset}; its table has {known}")
    return _tabulated_space(space, dataset, device, table)


def finite(cost: Mapping[str, float]) -> dict[str, float | None]:
    """Return a cost as JSON values: None in place of NaN ('not supported'), and counted resources as integers."""
    return {name: None if value != value else int(value) if name in NETWORK_RESOURCES else value for name, value in cost.items()}
