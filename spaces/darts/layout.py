"""The cells of a DARTS network with their widths, image sides and inputs, computed without building the network.

The networks are those of DARTS's released code (section 3 and appendix A of the paper): a stem, cells, global average pooling and a linear
layer. The cells at one and two thirds of the depth halve the image and double the width. For images of up to 64 pixels a side the stem is
one convolution that keeps the side. For larger images it is three convolutions that divide the side by eight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from budgetnas.spaces.darts.order import NODES
from budgetnas.spaces.task import Task

SMALL_IMAGES = 64  # pixels a side
SMALL_SIZE = (36, 20)  # channels and cells of the published evaluation network for CIFAR-10
LARGE_SIZE = (48, 14)  # the same for ImageNet
STEM_MULTIPLIER = 3
MOST_CHANNELS, FEWEST_CELLS, MOST_CELLS = 4_096, 3, 1_000  # with fewer than three cells, there would be no normal cell


class WrongSize(ValueError):
    """The space has no network with this number of channels, cells or groups; the message gives the allowed range."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a network: channels of its first cell, number of cells, groups of normal cells. Raises WrongSize if out of range."""

    channels: int
    cells: int
    groups: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise WrongSize(f"{self.channels} channels; a DARTS network has 1 to {MOST_CHANNELS}")
        if not FEWEST_CELLS <= self.cells <= MOST_CELLS:
            raise WrongSize(f"{self.cells} cells; a DARTS network has {FEWEST_CELLS} to {MOST_CELLS}, two of them reduction cells")
        if not 1 <= self.groups <= self.normal_cells:
            raise WrongSize(
                f"{self.groups} groups; choose 1 to {self.normal_cells}, the number of normal cells in a network of {self.cells} cells"
            )

    @property
    def reductions(self) -> tuple[int, ...]:
        """The positions of the two reduction cells, counted from 0."""
        return self.cells // 3, 2 * self.cells // 3

    @property
    def normal_cells(self) -> int:
        """The number of normal cells."""
        return self.cells - len(self.reductions)


@dataclass(frozen=True, slots=True)
class Place:
    """A cell at its position in the network."""

    searched: int  # number of the searched cell at this position: the group of a normal cell, or `groups` for a reduction cell
    reduction: bool
    width: int
    width_first: int  # channels of the two inputs, before the connections bring them to `width`
    width_second: int
    factorised: bool  # whether the first input has double the side of the second
    side: int  # pixels a side of the input nodes

    @property
    def side_out(self) -> int:
        """Pixels a side of the intermediate nodes."""
        return halved(self.side) if self.reduction else self.side

    def edge_sides(self, source: int) -> tuple[int, int]:
        """Return pixels a side before and after an edge that leaves a node."""
        return (self.side, self.side_out) if source < NODES[0] else (self.side_out, self.side_out)


def is_small(task: Task) -> bool:
    """Return whether images of the task keep their side in the stem."""
    return task.image_size <= SMALL_IMAGES


def size_for(task: Task, channels: int | None, cells: int | None, groups: int) -> Size:
    """Return the size of a network. None stands for the published number for images of this size."""
    default_channels, default_cells = SMALL_SIZE if is_small(task) else LARGE_SIZE
    return Size(default_channels if channels is None else channels, default_cells if cells is None else cells, groups)


def halved(side: int) -> int:
    """Return the side after a stride of two, rounded up."""
    return (side + 1) // 2


def places(task: Task, size: Size) -> Iterator[Place]:
    """Yield the cells of a network from first to last. Normal cell i of n belongs to group floor(i k / n) of k groups."""
    small = is_small(task)
    width, normal = size.channels, 0
    width_first = width_second = STEM_MULTIPLIER * size.channels if small else size.channels
    side, factorised = task.image_size if small else halved(halved(halved(task.image_size))), not small
    for position in range(size.cells):
        reduction = position in size.reductions
        width *= 2 if reduction else 1
        searched = size.groups if reduction else normal * size.groups // size.normal_cells
        place = Place(searched, reduction, width, width_first, width_second, factorised, side)
        yield place
        width_first, width_second = width_second, len(NODES) * width
        side, factorised, normal = place.side_out, reduction, normal + (not reduction)
