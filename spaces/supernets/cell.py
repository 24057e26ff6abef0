"""A cell of a search network: its edges, and around them partial channels (PC-DARTS) and the bottleneck (DCA-NAS).

The `supernet.py` of each space lists the points that these papers leave open, and the choices made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from budgetnas.spaces.space import Floats, SearchedCell, SupernetOptions
from budgetnas.spaces.supernets.edges import ChosenEdges, Edges


class IndivisibleChannels(ValueError):
    """The options do not divide the number of channels; the message names the allowed multiples."""


class NothingDerived(ValueError):
    """A supernet without derived cells was given a discrete architecture; the message names the option."""


def check_derived(derived: bool) -> None:
    """Raise NothingDerived unless the supernet has derived cells."""
    if not derived:
        raise NothingDerived("all cells of this supernet are mixed, so it takes no architecture; build it with derived=True")


def check_channels(channels: int, options: SupernetOptions) -> None:
    """Raise IndivisibleChannels unless bottleneck and partial channels divide the channels of the first cell."""
    if options.partial < 1 or options.bottleneck < 1 or channels % (options.partial * options.bottleneck):
        raise IndivisibleChannels(
            f"{channels} channels with partial={options.partial} and bottleneck={options.bottleneck}; both must be 1 or more,"
            " and the channels a multiple of their product"
        )


def operated_channels(width: int, options: SupernetOptions) -> int:
    """Return the number of channels that operations work on in a cell of `width` channels."""
    return width // options.bottleneck // options.partial


def _convolution(width_in: int, width_out: int) -> nn.Sequential:
    """Return a 1x1 convolution, normalised by the statistics of the batch."""
    norm = nn.BatchNorm2d(width_out, affine=False, track_running_stats=False)
    return nn.Sequential(nn.Conv2d(width_in, width_out, 1, bias=False), norm)


class MixedCell(nn.Module):
    """A cell with inputs that already have its width. Every later node is the sum of its edges.

    Args:
        searched: The searched cell, with its edges and operations.
        edges: A module that implements `Edges`, on `operated_channels` channels.
        strides: The stride of the edges that leave a node, by node.
        width: Channels of the nodes.
        options: The options of the supernet.
    """

    def __init__(self, searched: SearchedCell, edges: nn.Module, strides: Sequence[int], width: int, options: SupernetOptions):
        super().__init__()
        self.edges = edges
        self._searched, self._strides, self._partial = searched, tuple(strides), options.partial
        self._operated = operated_channels(width, options)
        self._inputs = min(node for _, node in searched.edges)
        self._nodes = range(self._inputs, max(node for _, node in searched.edges) + 1)
        self._bottleneck = options.bottleneck > 1
        if self._bottleneck:
            inner = width // options.bottleneck
            self.narrow = nn.ModuleList(_convolution(width, inner) for _ in strides)
            self.widen = nn.ModuleList(_convolution(inner, width) for _ in self._nodes)

    def choose(self, one_hot: Floats) -> None:
        """Set the discrete architecture, given as strengths of 1 and 0, unless this cell is mixed."""
        if isinstance(self.edges, ChosenEdges):
            self.edges.choose(one_hot)

    def forward(self, inputs: Sequence[Tensor], strengths: Tensor) -> list[Tensor]:
        """Return the nodes after the inputs; `strengths` has the shape (edges, operations)."""
        edges: Edges = self.edges  # type: ignore[assignment]
        nodes = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
        prepared: list[Any] = []
        past: list[Tensor] = []
        for node in self._nodes:
            for source in range(len(prepared), node):
                x = self.narrow[source](nodes[source]) if self._bottleneck else nodes[source]
                operated = x if self._partial == 1 else x[:, : self._operated].contiguous(memory_format=torch.channels_last)
                prepared.append(edges.prepare(source, operated))
                past.append(self._past(source, x))
            total = edges.node(node, prepared, strengths)
            if self._partial > 1:
                joined = torch.cat((total, self._sum_past(node, past, edges.edge_weights(strengths))), dim=1)
                total = functional.channel_shuffle(joined, self._partial).contiguous(memory_format=torch.channels_last)
            nodes.append(self.widen[node - self._inputs](total) if self._bottleneck else total)
        return nodes[self._inputs :]

    def _past(self, source: int, x: Tensor) -> Tensor:
        """Return the channels of a node that bypass the operations."""
        rest = x[:, self._operated :]
        return functional.max_pool2d(rest, 2, ceil_mode=True) if self._strides[source] == 2 and self._partial > 1 else rest

    def _sum_past(self, node: int, past: Sequence[Tensor], weights: Tensor) -> Tensor:
        edges = [(edge, source) for edge, (source, target) in enumerate(self._searched.edges) if target == node]
        terms = [past[source] * weights[edge] for edge, source in edges]
        total: Tensor = sum(terms[1:], terms[0])
        return total
