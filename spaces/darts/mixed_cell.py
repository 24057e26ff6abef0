"""A cell of DARTS's search network: its edges, with what PC-DARTS and DCA-NAS put around them (`supernet.py` says what)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from budgetnas.spaces.darts.mixed_edges import ChosenEdges, MixedEdges
from budgetnas.spaces.darts.order import EDGE_NUMBER, INPUTS, NODES
from budgetnas.spaces.space import Floats, SupernetOptions


class IndivisibleChannels(ValueError):
    """Channels that the options cannot divide; the message says which they can."""


def check_width(channels: int, options: SupernetOptions) -> None:
    """Raise `IndivisibleChannels` unless the first cell's channels can be divided for the bottleneck and the partial channels."""
    if options.partial < 1 or options.bottleneck < 1 or channels % (options.partial * options.bottleneck):
        raise IndivisibleChannels(
            f"{channels} channels with partial={options.partial} and bottleneck={options.bottleneck}; both must be 1 or more,"
            " and the channels a multiple of their product"
        )


def _convolution(width_in: int, width_out: int) -> nn.Sequential:
    """Return a 1x1 convolution, normalised by the batch."""
    return nn.Sequential(nn.Conv2d(width_in, width_out, 1, bias=False), nn.BatchNorm2d(width_out, affine=False, track_running_stats=False))


class MixedCell(nn.Module):
    """A cell whose inputs have its width already: four nodes, each the sum over all earlier ones. `chosen` for a discrete one."""

    def __init__(self, width: int, reduction: bool, options: SupernetOptions, chosen: bool = False):
        super().__init__()
        self._reduction, self._partial = reduction, options.partial
        inner = width // options.bottleneck
        self._active = inner // options.partial
        self.edges: MixedEdges | ChosenEdges = (
            ChosenEdges(self._active, reduction, options.shared)
            if chosen
            else MixedEdges(self._active, reduction, options.shared, options.layout)
        )
        if options.bottleneck > 1:
            self.narrow = nn.ModuleList(_convolution(width, inner) for _ in range(NODES[-1]))
            self.widen = nn.ModuleList(_convolution(inner, width) for _ in NODES)
        self._bottleneck = options.bottleneck > 1

    def choose(self, one_hot: Floats) -> None:
        """Take up a discrete architecture, strengths of 1 and 0, if this cell is a discrete one."""
        if isinstance(self.edges, ChosenEdges):
            self.edges.choose(one_hot)

    def forward(self, first: Tensor, second: Tensor, strengths: Tensor) -> Tensor:
        """Return the concatenation of the nodes 2 to 5, four times the width. strengths: (14, 8)."""
        nodes = [first, second]
        prepared, past = [], []
        for node in NODES:
            for source in range(len(prepared), node):
                x = self.narrow[source](nodes[source]) if self._bottleneck else nodes[source]
                prepared.append(self.edges.prepare(source, self._operated(x)))
                past.append(self._past(source, x))
            total = self.edges.node(node, prepared, strengths)
            if self._partial > 1:
                total = functional.channel_shuffle(torch.cat((total, self._sum_past(node, past, strengths)), dim=1), self._partial)
                total = total.contiguous(memory_format=torch.channels_last)
            nodes.append(self.widen[node - INPUTS](total) if self._bottleneck else total)
        return torch.cat(nodes[INPUTS:], dim=1)

    def _operated(self, x: Tensor) -> Tensor:
        return x if self._partial == 1 else x[:, : self._active].contiguous(memory_format=torch.channels_last)

    def _past(self, source: int, x: Tensor) -> Tensor:
        """Return the channels of a node that go past the operations."""
        rest = x[:, self._active :]
        return functional.max_pool2d(rest, 2, ceil_mode=True) if self._reduction and source < INPUTS and self._partial > 1 else rest

    def _sum_past(self, node: int, past: list[Tensor], strengths: Tensor) -> Tensor:
        weights = self.edges.edge_weights(strengths)
        terms = [past[source] * weights[EDGE_NUMBER[source, node]] for source in range(node)]
        total: Tensor = sum(terms[1:], terms[0])
        return total
