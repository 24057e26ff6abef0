"""The operations on the edges of a cell of NAS-Bench-201's search network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from budgetnas.spaces.nasbench201.network import operation
from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS
from budgetnas.spaces.space import SearchedCell, SupernetOptions
from budgetnas.spaces.supernets.edges import ChosenEdges, MixedEdges, Term, evaluated_once
from budgetnas.spaces.supernets.modules import drawn

STRIDES = (1, 1, 1)  # of the edges that leave nodes 0 to 2
_PLACE = {name: number for number, name in enumerate(OPERATIONS)}


class Leaving(nn.Module):
    """All operations on the edges that leave one node. Weights are stacked by edge; with `shared`, all edges have the same weights.

    The ReLU and the pooling are computed once. The 3x3 convolutions of all edges are computed as one, with their outputs side by side.
    """

    def __init__(self, targets: Sequence[int], width: int, shared: bool, layout: str):
        super().__init__()
        self.targets, self._shared, self._layout = tuple(targets), shared, layout
        copies = 1 if shared else len(self.targets)
        self.pointwise = drawn(copies, width, width)
        self.convolution = drawn(copies, width, width, 3, 3)

    def forward(self, x: Tensor) -> dict[int, list[Term]]:
        """Return the terms of the edge to each target, by target. `none` has no term, since it adds nothing."""
        pooled = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        alike = [Term(_PLACE["skip_connect"], x), Term(_PLACE["avg_pool_3x3"], pooled)]
        rectified = x.relu()
        convolved = functional.conv2d(rectified, self.convolution.flatten(0, 1), padding=1).chunk(len(self.convolution), dim=1)
        by_edge = [
            [Term(_PLACE["nor_conv_1x1"], rectified, True, weight), Term(_PLACE["nor_conv_3x3"], value, True)]
            for weight, value in zip(self.pointwise, convolved, strict=True)
        ]
        if self._shared:
            return dict.fromkeys(self.targets, alike + evaluated_once(by_edge[0], self._layout))
        return {target: alike + terms for target, terms in zip(self.targets, by_edge, strict=True)}


def mixed_edges(searched: SearchedCell, width: int, options: SupernetOptions) -> MixedEdges:
    """Return the edges of a mixed cell, which have all operations, on `width` channels."""
    leaving = [
        Leaving([node for start, node in EDGES if start == source], width, options.shared, options.layout) for source in range(len(STRIDES))
    ]
    return MixedEdges(searched, leaving, options.layout)


def chosen_edges(searched: SearchedCell, width: int, options: SupernetOptions) -> ChosenEdges:
    """Return the edges of a cell with a discrete architecture, on `width` channels."""
    return ChosenEdges(searched, lambda name, source: operation(name, width, affine=False), options.shared)
