"""The search network of DARTS: 16 channels and 8 cells by default (DARTS, section 3.1 and appendix A.1.1).

Stem, classifier and the positions of the cells are those of the evaluation network. Normalisations in the cells have no scale or shift, and
one follows every pooling. All normalisations, including that of the stem (which has scale and shift), use the statistics of the batch, also
in evaluation mode; there are no running averages.

The options, and the choices made here if a paper leaves something open:

partial (PC-DARTS, section 3.2): of every k channels, the first goes through the operations and the others bypass them. On an edge of stride
    2 they bypass through 2x2 max pooling (odd sides rounded up). Then the channels are shuffled over k groups. The weight of an edge
    multiplies everything on the edge, so the bypassing channels are multiplied by the sum of the edge's strengths.
shared (DCA-NAS, equation 5): an operation has the same weights on all edges that leave a node. This holds in reduction cells too, because
    all edges that leave an input have stride 2. A cell then evaluates 35 operations instead of 98.
bottleneck r (DCA-NAS, section 3.3, which gives neither the ratio nor the place): a normalised 1x1 convolution reduces each node to 1 / r of
    its channels, once per node, before the operations on the edges that leave it. Another one restores the channels of the sum at a node.
derived (DCA-NAS, section 3.3): of every kind of searched cell, the first one in the network is mixed: at position 0 (or the first of each
    group) and at a third of the depth. The other cells evaluate the eight operations of the current architecture, which `derive` sets, and
    keep the weights of all operations. Before the first call, that is the architecture of uniform strengths. A searched connection is
    mixed in every cell.
recompute: a cell stores only its inputs and is computed again in the backward pass.
layout: see `supernets/arithmetic.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from budgetnas.spaces.darts.layout import Place, Size, is_small, places
from budgetnas.spaces.darts.mixed_edges import chosen_edges, mixed_edges, strides
from budgetnas.spaces.darts.network import LargeImageStem, SmallImageStem
from budgetnas.spaces.darts.operations import connection
from budgetnas.spaces.darts.order import CONNECTIONS, NODES
from budgetnas.spaces.network import check_images
from budgetnas.spaces.space import Architecture, Relaxable, SupernetOptions
from budgetnas.spaces.supernets.arithmetic import check_layout
from budgetnas.spaces.supernets.cell import MixedCell, check_channels, check_derived, operated_channels
from budgetnas.spaces.supernets.modules import for_search
from budgetnas.spaces.supernets.strengths import check_strengths
from budgetnas.spaces.task import Task

CHANNELS, CELLS = 16, 8


class MixedConnection(nn.Module):
    """The connection before an input of a cell: DARTS's preprocessing, or a weighted sum of RC-DARTS's operations (section 4.1)."""

    def __init__(self, names: Sequence[str], width_in: int, width_out: int, stride: int):
        super().__init__()
        self.operations = nn.ModuleList(for_search(connection(name, width_in, width_out, stride, affine=False)) for name in names)

    def forward(self, x: Tensor, strengths: Tensor | None) -> Tensor:
        """Return the input with the width and side of the cell. `strengths` has the shape (1, operations), or is None for one operation."""
        if strengths is None:
            only: Tensor = self.operations[0](x)
            return only
        terms = [module(x) * strength for module, strength in zip(self.operations, strengths[0], strict=True)]
        total: Tensor = sum(terms[1:], terms[0])
        return total


class Position(nn.Module):
    """A cell at its position in the network, with the connections before its inputs."""

    def __init__(self, place: Place, names: Sequence[str], cell: MixedCell):
        super().__init__()
        self.first = MixedConnection(names, place.width_first, place.width, 2 if place.factorised else 1)
        self.second = MixedConnection(names, place.width_second, place.width, 1)
        self.cell = cell

    def forward(self, first: Tensor, second: Tensor, strengths: Tensor, connections: Tensor | None) -> Tensor:
        """Return the output of the cell, four times its width."""
        return torch.cat(self.cell((self.first(first, connections), self.second(second, connections)), strengths), dim=1)


class Supernet(nn.Module):
    """The search network of a DARTS space for a task; see the top of the file.

    Raises:
        ValueError: An option does not fit (size, channels, groups, layout); the message is written for the user.
    """

    def __init__(self, space: Relaxable, groups: int, connection: bool, task: Task, options: SupernetOptions):
        super().__init__()
        self._space, self._connection, self._task = space, connection, task
        self._recompute, self._derived = options.recompute, options.derived
        size = Size(_given(options.channels, CHANNELS), _given(options.cells, CELLS), groups)
        check_layout(options.layout)
        check_channels(size.channels, options)
        self.stem = for_search((SmallImageStem if is_small(task) else LargeImageStem)(task.image_channels, size.channels))
        names = CONNECTIONS if connection else ("conv_1x1",)
        self.cells = nn.ModuleList()
        mixed: set[int] = set()
        self._searched = [place.searched for place in places(task, size)]
        for place in places(task, size):
            searched = space.searched[place.searched]
            make = chosen_edges if options.derived and place.searched in mixed else mixed_edges
            mixed.add(place.searched)
            edges = make(searched, operated_channels(place.width, options), place.reduction, options)
            self.cells.append(Position(place, names, MixedCell(searched, edges, strides(place.reduction), place.width, options)))
            width = len(NODES) * place.width
        self.classifier = nn.Linear(width, task.classes)
        if options.derived:
            self.derive(space.strongest([np.ones((len(cell.edges), len(cell.operations))) for cell in space.searched]))

    def forward(self, images: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        """Return logits, shape (N, classes).

        Args:
            images: Shape (N, channels, side, side), as in the task.
            strengths: Shape (14, 8) for each searched cell, (1, 4) for the connection.

        Raises:
            WrongImages: The images have another shape.
            WrongStrengths: The strengths have another number or shape.
        """
        check_images(images, self._task)
        check_strengths(strengths, self._space.searched)
        connections = strengths[-1] if self._connection else None
        first, second = self.stem(images.contiguous(memory_format=torch.channels_last))
        for position, number in zip(self.cells, self._searched, strict=True):
            inputs = (first, second, strengths[number], connections)
            if self._recompute and torch.is_grad_enabled():
                output = checkpoint(position, *inputs, use_reentrant=False, preserve_rng_state=False)
            else:
                output = position(*inputs)
            first, second = second, output
        logits: Tensor = self.classifier(second.mean((2, 3)))
        return logits

    def derive(self, arch: Architecture) -> None:
        """Set the cells that are not mixed to the operations of `arch`. Raises NothingDerived without the option `derived`."""
        check_derived(self._derived)
        one_hot = self._space.one_hot(arch)
        for position, number in zip(self.cells, self._searched, strict=True):
            if isinstance(position, Position):
                position.cell.choose(one_hot[number])


def _given(value: int | None, default: int) -> int:
    return default if value is None else value
