"""What operations and everything around them cost, in the task's network or in one of other channels and cells a stage."""

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
    """A resource that is no sum over edges; the message lists those that are."""


class WrongSize(ValueError):
    """A number of channels or cells that no network has; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a network: its channels by stage, and the cells a stage. `WrongSize` for one that cannot be."""

    task: Task
    widths: tuple[int, ...]
    cells: int

    def __post_init__(self) -> None:
        if self.widths[0] < 1 or self.cells < 1:
            raise WrongSize(f"{self.widths[0]} channels and {self.cells} cells a stage; a network of nasbench201 has at least 1 of both")

    @classmethod
    def of(cls, task: Task, channels: int | None = None, cells: int | None = None) -> Size:
        """Return the size of the task's network (the benchmark's, or the small one of digits201), or of another with its skeleton."""
        small = task == small_network.DIGITS201
        widths, own_cells = (small_network.CHANNELS, 1) if small else (CHANNELS, CELLS_A_STAGE)
        if channels is not None:
            widths = tuple(channels * 2**stage for stage in range(len(widths)))
        return cls(task, widths, own_cells if cells is None else cells)

    @property
    def small(self) -> bool:
        """Whether the skeleton is that of digits201's small network."""
        return self.task == small_network.DIGITS201

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels a side, by stage."""
        return tuple(self.task.image_size // 2**stage for stage in range(len(self.widths)))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Figures that a cell's node has, by stage."""
        return tuple(width * side * side for width, side in zip(self.widths, self.sides, strict=True))


def _row(resource: str) -> int:
    if resource not in RESOURCES:
        raise UnknownCost(f"'{resource}' of nasbench201 is no sum over edges that is known here; choose one of {', '.join(RESOURCES)}")
    return RESOURCES.index(resource)


def operation_costs(resource: str, size: Size) -> Floats:
    """Return what each operation on an edge adds over all cells, shape (5,). `UnknownCost` for other resources than `RESOURCES`."""
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
    """Return the resource of everything but the cells' operations. `UnknownCost` for other resources than `RESOURCES`."""
    row = _row(resource)
    params, macs = _small_skeleton(size) if size.small else skeleton(size.task, size.widths)
    # Between stages 2x2 pixels of the narrower stage are averaged, at the end all that are left.
    poolings = sum(average_pooling(2 * 2, width * side * side) for width, side in zip(size.widths, size.sides[1:], strict=False))
    poolings += average_pooling(size.sides[-1] ** 2, size.widths[-1])
    return float((params, macs, CYCLES_A_MAC * macs + poolings)[row])


def _small_skeleton(size: Size) -> tuple[int, int]:
    """Return parameters and MACs of the small network without its cells' operations: two 1x1 convolutions, the classifier."""
    last, classes = size.widths[-1], size.task.classes
    params, macs = 2 * last + (last + 1) * classes, last * classes
    for narrow, width, side in zip((size.task.image_channels, *size.widths), size.widths, size.sides, strict=False):
        params, macs = params + narrow * width + 2 * width, macs + narrow * width * side * side
    return params, macs
