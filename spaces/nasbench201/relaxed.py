"""Costs of the operations and of everything around them, in the task's network or in one with other channels and cells per stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from budgetnas.spaces.cycles import CYCLES_A_MAC, average_pooling
from budgetnas.spaces.nasbench201 import small_network
from budgetnas.spaces.nasbench201.complexity import CELLS_A_STAGE, CHANNELS, skeleton
from budgetnas.spaces.nasbench201.order import OPERATIONS
from budgetnas.spaces.space import Floats
from budgetnas.spaces.task import Task

RESOURCES = ("params", "macs", "cycles")
_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}  # pixels a side


class UnknownCost(ValueError):
    """The resource is not a sum over edges; the message lists the resources that are."""


class WrongSize(ValueError):
    """No network has this number of channels or cells; the message gives the allowed range."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a network: channels by stage, and cells per stage. Raises WrongSize if one of them is less than 1."""

    task: Task
    widths: tuple[int, ...]
    cells: int

    def __post_init__(self) -> None:
        if self.widths[0] < 1 or self.cells < 1:
            raise WrongSize(
                f"{self.widths[0]} channels and {self.cells} cells per stage; a network of nasbench201 needs at least 1 of each"
            )

    @classmethod
    def of(cls, task: Task, channels: int | None = None, cells: int | None = None) -> Size:
        """Return the size of the task's network (the benchmark's or the small one of digits201), with other channels and cells if given."""
        small = task == small_network.DIGITS201
        widths, own_cells = (small_network.CHANNELS, 1) if small else (CHANNELS, CELLS_A_STAGE)
        if channels is not None:
            widths = tuple(channels * 2**stage for stage in range(len(widths)))
        return cls(task, widths, own_cells if cells is None else cells)

    @property
    def small(self) -> bool:
        """Whether the skeleton is that of the small network of digits201."""
        return self.task == small_network.DIGITS201

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels a side, by stage."""
        return tuple(self.task.image_size // 2**stage for stage in range(len(self.widths)))

    @property
    def outputs(self) -> tuple[int, ...]:
        """The number of values in a node of a cell, by stage."""
        return tuple(width * side * side for width, side in zip(self.widths, self.sides, strict=True))


def _row(resource: str) -> int:
    if resource not in RESOURCES:
        raise UnknownCost(f"'{resource}' of nasbench201 is not a known sum over edges; choose one of {', '.join(RESOURCES)}")
    return RESOURCES.index(resource)


def operation_costs(resource: str, size: Size) -> Floats:
    """Return the cost that each operation adds on an edge, summed over all cells, shape (5,).

    Raises:
        UnknownCost: The resource is not one of `RESOURCES`.
    """
    row, costs = _row(resource), np.zeros((len(RESOURCES), len(OPERATIONS)))
    for name, kernel in _KERNELS.items():
        weights = [kernel * kernel * width * width for width in size.widths]
        params = sum(count + 2 * width for count, width in zip(weights, size.widths, strict=True))
        macs = sum(count * side * side for count, side in zip(weights, size.sides, strict=True))
        costs[:, OPERATIONS.index(name)] = params, macs, CYCLES_A_MAC * macs
    costs[2, OPERATIONS.index("avg_pool_3x3")] = sum(average_pooling(3 * 3, count) for count in size.outputs)
    result: Floats = size.cells * costs[row]
    return result


def fixed_cost(resource: str, size: Size) -> float:
    """Return the cost of everything but the operations of the cells. Raises UnknownCost unless the resource is one of `RESOURCES`."""
    row = _row(resource)
    params, macs = _small_skeleton(size) if size.small else skeleton(size.task, size.widths)
    # Average pooling is over 2x2 pixels of the narrower stage between stages, and over all remaining pixels at the end.
    poolings = sum(average_pooling(2 * 2, width * side * side) for width, side in zip(size.widths, size.sides[1:], strict=False))
    poolings += average_pooling(size.sides[-1] ** 2, size.widths[-1])
    return float((params, macs, CYCLES_A_MAC * macs + poolings)[row])


def _small_skeleton(size: Size) -> tuple[int, int]:
    """Return parameters and MACs of the small network without the operations of its cells: two 1x1 convolutions and the classifier."""
    last, classes = size.widths[-1], size.task.classes
    params, macs = 2 * last + (last + 1) * classes, last * classes
    for narrow, width, side in zip((size.task.image_channels, *size.widths), size.widths, size.sides, strict=False):
        params, macs = params + narrow * width + 2 * width, macs + narrow * width * side * side
    return params, macs
