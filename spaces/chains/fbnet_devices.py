"""Latency and energy of FBNet's chains: sums over HW-NAS-Bench's operators (Li et al., ICLR 2021), added from first to last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from budgetnas.spaces.devices import DEVICE_RESOURCES, DEVICES, UnknownDevice, device_of
from budgetnas.spaces.tables.columnar import Table
from budgetnas.spaces.tables.home import open_operators, table_path
from budgetnas.spaces.tables.operators import BLOCKS, CIFAR, IMAGENET, OPERATORS, Skeleton, operator_column, total_cost
from budgetnas.spaces.task import TASKS, Task

_SKELETONS = {"cifar10": CIFAR, "cifar100": CIFAR, "imagenet": IMAGENET}


class NoDeviceCosts(ValueError):
    """HW-NAS-Bench did not measure operators for this task; the message lists the tasks with measurements."""


@dataclass(frozen=True, slots=True)
class _Costs:
    """The costs of all operators of a task's network in one resource on one device."""

    stem: float
    layers: tuple[tuple[float, ...], ...]  # by position, then by code
    end: tuple[float, ...]  # the operators after the last position


def devices(task: Task) -> tuple[str, ...]:
    """Return the devices with costs known on this machine, in the order of `DEVICES`; none for a task without costs."""
    if not _measured(task) or not table_path(OPERATORS).exists():
        return ()
    table = open_operators()
    return tuple([device for device in DEVICES if _resources(table, device)])


def device_cost(codes: Sequence[int], task: Task, device: str) -> Mapping[str, float]:
    """Return the costs of a chain by resource (`latency_ms`, `energy_mj`).

    Raises:
        NoDeviceCosts: HW-NAS-Bench has no network for the task.
        UnknownDevice: The operators have no costs on the device.
        TableError: The costs of the operators are not on this machine.
    """
    sums = {}
    for resource, costs in _costs_on(task, device).items():
        value = costs.stem
        for layer, code in zip(costs.layers, codes, strict=True):
            value += layer[code]
        for operator in costs.end:
            value += operator
        sums[resource] = value
    return sums


def element_cost(position: int, code: int, task: Task, device: str) -> Mapping[str, float]:
    """Return the costs of one operator by resource. Raises as `device_cost` does."""
    return {resource: costs.layers[position][code] for resource, costs in _costs_on(task, device).items()}


def _measured(task: Task) -> bool:
    return task.dataset in _SKELETONS and TASKS[task.dataset] == task


def _costs_on(task: Task, device: str) -> Mapping[str, _Costs]:
    if not _measured(task):
        raise NoDeviceCosts(
            f"HW-NAS-Bench measured no fbnet network for {task.dataset} ({task.image_size}x{task.image_size}, {task.classes} classes);"
            f" costs on devices are known for {', '.join(_SKELETONS)}: leave the device out, or choose one of these datasets"
        )
    return _all_costs(open_operators(), task, device)


@lru_cache(maxsize=64)
def _all_costs(table: Table, task: Task, device: str) -> Mapping[str, _Costs]:
    resources = _resources(table, device_of(device).name)
    if not resources:
        known = [name for name in DEVICES if _resources(table, name)]
        raise UnknownDevice(f"the operators of fbnet have no costs on {device}; choose one of {', '.join(known) or 'none'}")
    return {resource: _costs(table, resource, device, _SKELETONS[task.dataset], task.classes) for resource in resources}


def _resources(table: Table, device: str) -> list[str]:
    return [resource for resource in DEVICE_RESOURCES if operator_column(resource, device) in table]


def _costs(table: Table, resource: str, device: str, skeleton: Skeleton, classes: int) -> _Costs:
    def cost(key: str) -> float:
        return total_cost(table, resource, device, [key])

    stem, *end = skeleton.fixed_keys(classes)
    layers = tuple(tuple(cost(layer.key(code)) for code in range(len(BLOCKS) + 1)) for layer in skeleton.layers())
    return _Costs(cost(stem), layers, tuple(cost(key) for key in end))
