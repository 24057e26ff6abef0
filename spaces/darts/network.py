"""The evaluation networks of DARTS in PyTorch: stem, cells, auxiliary head (DARTS, section 3.3 and appendix A.2; RC-DARTS, section 4.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from budgetnas.spaces.darts.complexity import AUXILIARY_WIDTHS
from budgetnas.spaces.darts.layout import STEM_MULTIPLIER, Place, Size, is_small, places
from budgetnas.spaces.darts.operations import connection, operation
from budgetnas.spaces.darts.order import INPUTS, NODES, Edge
from budgetnas.spaces.network import check_images
from budgetnas.spaces.task import Task


class NoAuxiliaryHead(ValueError):
    """The images are too small for an auxiliary head; the message gives the side that remains after the reductions."""


def dropped(x: Tensor, probability: float) -> Tensor:
    """Return `x` with each image (first axis) set to zero with a probability; the others are scaled up to keep the mean."""
    kept = torch.empty((len(x), 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(1.0 - probability)
    return x * kept.div_(1.0 - probability)


class Cell(nn.Module):
    """A cell of eight edges, two per node in the order of the nodes. `inputs` are modules that bring both inputs to its width and side."""

    def __init__(self, edges: Sequence[Edge], inputs: tuple[nn.Module, nn.Module], width: int, reduces: bool):
        super().__init__()
        self.first, self.second = inputs
        self.sources = tuple(edge.source for edge in edges)
        self.edges = nn.ModuleList(operation(edge.operation, width, 2 if reduces and edge.source < INPUTS else 1) for edge in edges)

    def forward(self, first: Tensor, second: Tensor, drop_path: float = 0.0) -> Tensor:
        """Return the output of the cell, four times its width. Every edge except an identity is dropped with probability `drop_path`."""
        nodes = [self.first(first), self.second(second)]
        for edge in range(0, len(self.edges), 2):
            nodes.append(self._edge(edge, nodes, drop_path) + self._edge(edge + 1, nodes, drop_path))
        return torch.cat(nodes[INPUTS:], dim=1)

    def _edge(self, number: int, nodes: list[Tensor], drop_path: float) -> Tensor:
        module = self.edges[number]
        value: Tensor = module(nodes[self.sources[number]])
        return dropped(value, drop_path) if drop_path > 0.0 and not isinstance(module, nn.Identity) else value


class SmallImageStem(nn.Module):
    """A normalised 3x3 convolution to three times the initial channels. Its output is both inputs of the first cell."""

    def __init__(self, image_channels: int, channels: int):
        super().__init__()
        width = STEM_MULTIPLIER * channels
        self.body = nn.Sequential(_convolution(image_channels, width), nn.BatchNorm2d(width))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two inputs of the first cell, which are the same tensor."""
        x = self.body(images)
        return x, x


class LargeImageStem(nn.Module):
    """Three normalised 3x3 convolutions of stride 2. The outputs of the second and the third are the inputs of the first cell."""

    def __init__(self, image_channels: int, channels: int):
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            _convolution(image_channels, half, stride=2),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            _convolution(half, channels, stride=2),
            nn.BatchNorm2d(channels),
        )
        self.last = nn.Sequential(nn.ReLU(), _convolution(channels, channels, stride=2), nn.BatchNorm2d(channels))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two inputs of the first cell; the first has twice the side of the second."""
        x = self.body(images)
        return x, self.last(x)


def _convolution(width_in: int, width_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)


class AuxiliaryHead(nn.Sequential):
    """A classifier on the output of the second reduction cell, used in training only.

    The published heads pool 5x5 pixels to 2x2 outputs, with stride 3 on 8x8 pixels (CIFAR) and with stride 2 on 7x7 pixels (ImageNet). For
    other sides the pooling is scaled so that 2x2 outputs remain: stride floor(3 side / 8), at least 1, and window side - stride. This
    formula includes both published heads. The head for ImageNet has no second normalisation.

    Raises:
        NoAuxiliaryHead: Only one pixel a side remains.
    """

    def __init__(self, width: int, side: int, classes: int, second_normalisation: bool):
        if side < 2:
            raise NoAuxiliaryHead(
                f"{side} pixel a side remains after the reductions; an auxiliary head needs 2: use larger images or no head"
            )
        stride = max(1, 3 * side // 8)
        narrow, wide = AUXILIARY_WIDTHS
        super().__init__(
            nn.ReLU(),
            nn.AvgPool2d(side - stride, stride, count_include_pad=False),
            nn.Conv2d(width, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, wide, 2, bias=False),
            *([nn.BatchNorm2d(wide)] if second_normalisation else []),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(wide, classes),
        )


class Network(nn.Module):
    """An evaluation network, from images of the task's shape to logits. In training, it drops paths with probability `drop_path`."""

    def __init__(self, task: Task, stem: SmallImageStem | LargeImageStem, cells: list[Cell], width: int):
        super().__init__()
        self._task = task
        self.drop_path = 0.0
        self.stem = stem
        self.cells = nn.ModuleList(cells)
        self.classifier = nn.Linear(width, task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, shape (N, classes). Raises WrongImages unless the images have the shape of the task's images."""
        return self._logits(deque(self._outputs(images), maxlen=1).pop())

    def _outputs(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the output of every cell."""
        check_images(images, self._task)
        first, second = self.stem(images)
        for cell in self.cells:
            first, second = second, cell(first, second, self.drop_path if self.training else 0.0)
            yield second

    def _logits(self, last: Tensor) -> Tensor:
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits


class NetworkWithAuxiliaryHead(Network):
    """An evaluation network with a second classifier on the output of cell `after`."""

    def __init__(self, task: Task, stem: SmallImageStem | LargeImageStem, cells: list[Cell], width: int, head: AuxiliaryHead, after: int):
        super().__init__(task, stem, cells, width)
        self.auxiliary = head
        self._after = after

    def with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the auxiliary logits, each of shape (N, classes)."""
        auxiliary = last = images
        for number, last in enumerate(self._outputs(images)):
            if number == self._after:
                auxiliary = self.auxiliary(last)
        return self._logits(last), auxiliary


def build(cells: Sequence[Sequence[Edge]], connection_name: str, size: Size, task: Task, auxiliary: bool = False) -> Network:
    """Return an untrained network.

    Args:
        cells: The edges of each cell: the normal cells by group, then the reduction cell.
        connection_name: The operation before both inputs of every cell.
        size: Channels, cells and groups.
        task: The dataset's image shape and number of classes.
        auxiliary: Whether to add the auxiliary head.

    Raises:
        NoAuxiliaryHead: The images are too small for an auxiliary head.
        IndivisibleWidth: The groups of the connection do not divide its channels.
    """
    small = is_small(task)
    stem = (SmallImageStem if small else LargeImageStem)(task.image_channels, size.channels)
    layout = list(places(task, size))
    modules = [_cell(cells[place.searched], connection_name, place) for place in layout]
    width = len(NODES) * layout[-1].width
    if not auxiliary:
        return Network(task, stem, modules, width)
    after = size.reductions[-1]
    head = AuxiliaryHead(len(NODES) * layout[after].width, layout[after].side_out, task.classes, second_normalisation=small)
    return NetworkWithAuxiliaryHead(task, stem, modules, width, head, after)


def _cell(edges: Sequence[Edge], connection_name: str, place: Place) -> Cell:
    first = connection(connection_name, place.width_first, place.width, stride=2 if place.factorised else 1)
    second = connection(connection_name, place.width_second, place.width)
    return Cell(edges, (first, second), place.width, place.reduction)
