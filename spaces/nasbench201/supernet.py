"""The search network of NAS-Bench-201: the task's network (16 channels, 5 cells per stage; the small one on digits201) with mixed cells.

Normalisations in the cells have no scale or shift. Those of the skeleton (stem, residual blocks, classifier) have both, as in the
evaluation network. All normalisations use the statistics of the batch, also in evaluation mode; there are no running averages.

The options:

partial, bottleneck, shared: as in DARTS's search network (`darts/supernet.py`); all edges have stride 1.
derived: the first cell is mixed, the others hold the current architecture. Before the first call of `derive`, that is the architecture of
    uniform strengths, which has `none` on every edge.
recompute: a cell stores only its input and is computed again in the backward pass.
layout: see `supernets/arithmetic.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from budgetnas.spaces.nasbench201.mixed_edges import STRIDES, chosen_edges, mixed_edges
from budgetnas.spaces.nasbench201.network import ResidualBlock, check_side
from budgetnas.spaces.nasbench201.relaxed import Size
from budgetnas.spaces.network import check_images
from budgetnas.spaces.space import Architecture, Relaxable, SupernetOptions
from budgetnas.spaces.supernets.arithmetic import check_layout
from budgetnas.spaces.supernets.cell import MixedCell, check_channels, check_derived, operated_channels
from budgetnas.spaces.supernets.modules import for_search
from budgetnas.spaces.supernets.strengths import check_strengths
from budgetnas.spaces.task import Task


class Supernet(nn.Module):
    """The search network for a task; see the top of the file.

    Raises:
        ValueError: An option does not fit (size, channels, layout, images); the message is written for the user.
    """

    def __init__(self, space: Relaxable, task: Task, options: SupernetOptions):
        super().__init__()
        self._space, self._task, self._recompute, self._derived = space, task, options.recompute, options.derived
        size = Size.of(task, options.channels, options.cells)
        check_layout(options.layout)
        check_channels(size.widths[0], options)
        if not size.small:
            check_side(task)
        layers = [for_search(layer) for layer in (_small_layers if size.small else _published_layers)(size, self._cells(size, options))]
        self.layers = nn.ModuleList(layers)
        self.norm = for_search(nn.Sequential(nn.BatchNorm2d(size.widths[-1]), nn.ReLU()))
        self.classifier = nn.Linear(size.widths[-1], task.classes)
        if options.derived:
            self.derive(space.strongest([np.ones((len(cell.edges), len(cell.operations))) for cell in space.searched]))

    def _cells(self, size: Size, options: SupernetOptions) -> Iterator[MixedCell]:
        """Yield the cells, by stage."""
        (searched,) = self._space.searched
        for number in range(len(size.widths) * size.cells):
            width = size.widths[number // size.cells]
            make = chosen_edges if options.derived and number else mixed_edges
            yield MixedCell(searched, make(searched, operated_channels(width, options), options), STRIDES, width, options)

    def forward(self, images: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        """Return logits, shape (N, classes).

        Args:
            images: Shape (N, channels, side, side), as in the task.
            strengths: One tensor of shape (6, 5).

        Raises:
            WrongImages: The images have another shape.
            WrongStrengths: The strengths have another number or shape.
        """
        check_images(images, self._task)
        check_strengths(strengths, self._space.searched)
        x = images.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = self._through(layer, x, strengths[0]) if isinstance(layer, MixedCell) else layer(x)
        logits: Tensor = self.classifier(self.norm(x).mean((2, 3)))
        return logits

    def _through(self, cell: MixedCell, x: Tensor, strengths: Tensor) -> Tensor:
        if not (self._recompute and torch.is_grad_enabled()):
            return cell((x,), strengths)[-1]  # type: ignore[no-any-return]
        nodes: list[Tensor] = checkpoint(cell, (x,), strengths, use_reentrant=False, preserve_rng_state=False)
        return nodes[-1]

    def derive(self, arch: Architecture) -> None:
        """Set the cells that are not mixed to the operations of `arch`. Raises NothingDerived without the option `derived`."""
        check_derived(self._derived)
        (one_hot,) = self._space.one_hot(arch)
        for layer in self.layers:
            if isinstance(layer, MixedCell):
                layer.choose(one_hot)


def _published_layers(size: Size, cells: Iterator[MixedCell]) -> Iterator[nn.Module]:
    """Yield the layers up to the last cell: the stem, and three stages with residual blocks between them."""
    yield nn.Sequential(nn.Conv2d(size.task.image_channels, size.widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(size.widths[0]))
    yield from (next(cells) for _ in range(size.cells))
    for narrow, wide in pairwise(size.widths):
        yield ResidualBlock(narrow, wide)
        yield from (next(cells) for _ in range(size.cells))


def _small_layers(size: Size, cells: Iterator[MixedCell]) -> Iterator[nn.Module]:
    """Yield the layers of the network in `small_network.py`, up to the last cell."""
    narrow, wide = size.widths
    yield nn.Sequential(nn.Conv2d(size.task.image_channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow))
    yield from (next(cells) for _ in range(size.cells))
    yield nn.Sequential(nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide))
    yield from cells
