"""Everything known about one architecture, and the exact best under limits, as JSON values. `budgetnas query` and `oracle` print them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from budgetnas.harness.costs.limits import axis, resolve
from budgetnas.harness.costs.oracle import oracle, pareto_front
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, finite, tabulated_space_of
from budgetnas.spaces.devices import DEVICE_RESOURCES, DEVICES
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import (
    Architecture,
    CostedOnDevices,
    CountedInPaper,
    Described,
    Enumerable,
    InvalidArchitecture,
    Published,
    Space,
    Tabled,
)
from budgetnas.spaces.tables import accuracy, hardware
from budgetnas.spaces.task import Task, task_of


class NotCounted(ValueError):
    """Raised if CPU cycles are not known for a space. The message gives the reason."""


class NoTable(ValueError):
    """Raised if no table of a space covers a dataset. The message lists the datasets that have a table."""


def sized_space(name: str, channels: int | None = None, cells: int | None = None) -> Space:
    """Return a space by name. `channels` and `cells` replace those in the name, unless they are None.

    >>> sized_space("darts[cells=8]", cells=5).name
    'darts[cells=5]'
    """
    base, _, given = space_of(name).name.rstrip("]").partition("[")
    sizes = {"channels": channels, "cells": cells}
    parameters = [each for each in given.split(",") if each] + [f"{key}={size}" for key, size in sizes.items() if size is not None]
    return space_of(f"{base}[{','.join(parameters)}]" if parameters else base)


def known_of(space: Space, arch: Architecture, dataset: str) -> dict[str, Any]:
    """Return everything known about an architecture on a dataset, as JSON values: from a table if one exists, else computed.

    None means 'not supported' or 'not known'. Raises `TableError` if a table exists but is not on this machine.
    """
    if table_exists(space, dataset):
        return described(tabulated_space_of(space.name, dataset), arch)
    return computed(space, arch, task_of(dataset))


def table_exists(space: Space, dataset: str) -> bool:
    """Return whether a table of the space's accuracies on a dataset exists, either on this machine or for download."""
    return isinstance(space, Tabled) and dataset in space.tabled


def space_with_table(space: str, dataset: str, device: str | None) -> TabulatedSpace:
    """Return a space with its table.

    Raises:
        NoTable: The space has tables, but none of this dataset.
        UnknownSpace, UnknownDataset, UnknownDevice, NotEnumerable, TableError: As `tabulated_space_of`.
    """
    found = space_of(space)
    task_of(dataset)
    if isinstance(found, Tabled) and dataset not in found.tabled:
        raise NoTable(f"no table has the accuracies of {space} on {dataset}; choose one of {', '.join(found.tabled)}")
    return tabulated_space_of(space, dataset, device)


def architecture_of(space: Space, text: str) -> Architecture:
    """Return the architecture for its text form, the name of a published architecture, or an index.

    Case and punctuation of names are ignored: `PC-DARTS (CIFAR-10)` is `pcdarts_cifar10`. Raises `InvalidArchitecture` for any other text.
    """
    if isinstance(space, Published) and len(text) < 100:
        for name, architecture in space.published.items():
            if _letters(name) == _letters(text):
                return architecture
    if isinstance(space, Enumerable) and re.fullmatch(r"[+-]?[0-9]{1,4000}", text.strip()):
        return space.at(int(text))
    try:
        return space.decode(text)
    except InvalidArchitecture as refusal:
        if isinstance(space, Published) and re.fullmatch(r"[\w .()-]{1,60}", text.strip()):
            raise InvalidArchitecture(f"{refusal}; the published architectures are {', '.join(space.published)}") from None
        raise


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def computed(space: Space, arch: Architecture, task: Task) -> dict[str, Any]:
    """Return everything that can be computed about an architecture without a table, as JSON values; None means 'not supported'."""
    complexity = space.complexity(arch, task)
    figures = dict(space.figures(arch, task)) if isinstance(space, Described) else {}
    counted = {name: int(value) if float(value).is_integer() else float(value) for name, value in figures.items()}
    cycles = {"cycles": counted.pop("cycles")} if "cycles" in counted else {}
    return {
        "space": space.name,
        "dataset": task.dataset,
        "arch": space.encode(arch),
        **({"index": space.index(arch)} if isinstance(space, Enumerable) else {}),
        "connected": space.connected(arch),
        "params": complexity.params,
        **counted,
        "macs": complexity.macs,
        **cycles,
        **_computed_costs(space, arch, task),
    }


def _computed_costs(space: Space, arch: Architecture, task: Task) -> dict[str, dict[str, float | None]]:
    """Return the costs on devices that the space computes: resource -> device -> value."""
    if not isinstance(space, CostedOnDevices):
        return {}
    on_devices = {device: space.device_cost(arch, task, device) for device in space.devices(task)}
    return {
        resource: {device: _number(cost[resource]) for device, cost in on_devices.items() if resource in cost}
        for resource in DEVICE_RESOURCES
    }


def paper_cycles(space: Space, arch: Architecture) -> int:
    """Return the CPU cycles of an architecture's cells as the DEff-ARTS paper counts them. Raises `NotCounted` for another space."""
    if isinstance(space, CountedInPaper):
        return space.paper_cycles(arch)
    raise NotCounted(f"the DEff-ARTS paper counts no cells of '{space.name}'; use `--cycles network` for whole networks")


def network_cycles(space: Space, arch: Architecture, task: Task) -> int:
    """Return the CPU cycles of an architecture's whole network. Raises `NotCounted` if the space does not count them."""
    figures = space.figures(arch, task) if isinstance(space, Described) else {}
    if "cycles" not in figures:
        raise NotCounted(f"CPU cycles of networks of '{space.name}' are not known; leave --cycles out")
    return int(figures["cycles"])


def described(tabulated: TabulatedSpace, arch: Architecture) -> dict[str, Any]:
    """Return everything that a table has about an architecture, as JSON values; None means 'not supported' or 'not known'."""
    space, table, dataset = tabulated.space, tabulated.table, tabulated.task.dataset
    index = space.index(arch)
    complexity = space.complexity(arch, tabulated.task)
    return {
        "space": space.name,
        "dataset": dataset,
        "arch": space.encode(arch),
        "index": index,
        "connected": space.connected(arch),
        "params": complexity.params,
        "macs": complexity.macs,
        "accuracy": {"validation": _number(tabulated.validation[index]), "test": _number(tabulated.test[index])},
        **_measured_costs(tabulated, index),
        "cycles": int(tabulated.resource("cycles")[index]) if "cycles" in tabulated.resources else None,
        "training_seconds": _number(tabulated.training_seconds[index]),
        "accuracy_by_seed": {
            split: {
                str(seed): _number(accuracy.accuracy(table, dataset, split, seed=seed)[index])
                for seed in accuracy.seeds(table, dataset, split)
            }
            for split in ("validation", "test")
        },
    }


def _measured_costs(tabulated: TabulatedSpace, index: int) -> dict[str, dict[str, float | None]]:
    """Return the costs of an architecture on all devices of the table: resource -> device -> value."""
    table, dataset = tabulated.table, tabulated.task.dataset
    costs: dict[str, dict[str, float | None]] = {}
    for resource in DEVICE_RESOURCES:
        devices = [device for device in DEVICES if resource in hardware.metrics(table, dataset, device)]
        table.load([hardware.cost_column(resource, dataset, device) for device in devices])
        costs[resource] = {device: _number(hardware.device_cost(table, resource, dataset, device)[index]) for device in devices}
    return costs


def solve(tabulated: TabulatedSpace, limits: Sequence[str], front: str | None) -> Mapping[str, Any]:
    """Return the exact best under limits and the exact Pareto front, as JSON values.

    Args:
        tabulated: The space with its table.
        limits: Limits as texts; all of them must hold.
        front: The resource of the Pareto front within the limits, against test accuracy; None for the one that `axis` chooses.

    Raises:
        InvalidLimit: A limit cannot be read, or the limits contradict each other.
        UnknownResource: The space has no figures of a resource.
    """
    bounds = resolve(tabulated, limits)
    best = oracle(tabulated, bounds.limits)
    resource = front or axis(bounds.limits, tabulated)
    tabulated.resource(resource)  # raises for an unknown one before anything is printed
    return {
        "space": tabulated.space.name,
        "dataset": tabulated.task.dataset,
        "device": tabulated.device,
        "limits": [{"resource": x.resource, "upper": None if x.upper == math.inf else x.upper, "lower": x.lower} for x in bounds.limits],
        "feasible": best.feasible,
        "share": bounds.share,
        "best_by_validation": _entry(tabulated, best.best_by_validation),
        "best_by_test": _entry(tabulated, best.best_by_test),
        "front_resource": resource,
        "front": [_entry(tabulated, int(index)) for index in pareto_front(tabulated, resource, bounds.limits)],
    }


def _entry(tabulated: TabulatedSpace, index: int | None) -> dict[str, Any] | None:
    if index is None:
        return None
    return {
        "arch": tabulated.space.encode(tabulated.architecture(index)),
        "index": index,
        "validation": _number(tabulated.validation[index]),
        "test": _number(tabulated.test[index]),
        "cost": finite(tabulated.cost_at(index)),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
