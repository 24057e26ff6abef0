"""The operations on the edges of a cell of DARTS's search network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from budgetnas.spaces.darts.operations import operation
from budgetnas.spaces.darts.order import EDGES, INPUTS, NODES, OPERATIONS
from budgetnas.spaces.space import SearchedCell, SupernetOptions
from budgetnas.spaces.supernets.arithmetic import arithmetic_for
from budgetnas.spaces.supernets.edges import ChosenEdges, MixedEdges, Term, evaluated_once
from budgetnas.spaces.supernets.modules import drawn

KERNELS = {"sep_conv_3x3": 3, "sep_conv_5x5": 5, "dil_conv_3x3": 3, "dil_conv_5x5": 5}  # pixels a side
SEPARABLE = ("sep_conv_3x3", "sep_conv_5x5")
_PLACE = {name: number for number, name in enumerate(OPERATIONS)}


class Leaving(nn.Module):
    """All operations on the edges that leave one node.

    Everything that the edges have in common is computed once: the ReLU, the poolings (which have no weights), a skip connection of stride
    1. Weights are stacked by edge. With `shared`, all edges have the same weights (DCA-NAS, equation 5), and each operation is evaluated
    once.
    """

    def __init__(self, targets: Sequence[int], width: int, stride: int, shared: bool, layout: str):
        super().__init__()
        self.targets, self._stride, self._shared, self._layout = tuple(targets), stride, shared, layout
        copies = 1 if shared else len(self.targets)
        # Depthwise kernels (edges, channels, 1, k, k); 1x1 kernels (edges, outputs, inputs).
        self.depthwise = nn.ParameterDict({name: drawn(copies, width, 1, kernel, kernel) for name, kernel in KERNELS.items()})
        self.pointwise = nn.ParameterDict({name: drawn(copies, width, width) for name in KERNELS})
        self.second_depthwise = nn.ParameterDict({name: drawn(copies, width, 1, KERNELS[name], KERNELS[name]) for name in SEPARABLE})
        self.second_pointwise = nn.ParameterDict({name: drawn(copies, width, width) for name in SEPARABLE})
        if stride == 2:
            self.reduce_first = drawn(copies, width // 2, width)
            self.reduce_second = drawn(copies, width - width // 2, width)

    def forward(self, x: Tensor) -> dict[int, list[Term]]:
        """Return the terms of the edge to each target, by target."""
        pooled = {
            "max_pool_3x3": functional.max_pool2d(x, 3, self._stride, 1),
            "avg_pool_3x3": functional.avg_pool2d(x, 3, self._stride, 1, count_include_pad=False),
        }
        alike = evaluated_once([Term(_PLACE[name], value, normalise=True) for name, value in pooled.items()], self._layout)
        if self._stride == 1:
            alike.append(Term(_PLACE["skip_connect"], x))
        by_edge = [list(terms) for terms in zip(*self._convolved(x.relu()), strict=True)]
        if self._shared:
            return dict.fromkeys(self.targets, alike + evaluated_once(by_edge[0], self._layout))
        return {target: alike + terms for target, terms in zip(self.targets, by_edge, strict=True)}

    def _convolved(self, rectified: Tensor) -> list[list[Term]]:
        """Return the terms of the operations with weights: one list per operation, with one term per edge."""
        arithmetic = arithmetic_for(self._layout, rectified.device)
        found = [self._factorised(rectified)] if self._stride == 2 else []
        for name in KERNELS:
            kernels, weights = self.depthwise[name], self.pointwise[name]
            if name in SEPARABLE:
                values = arithmetic.separable(rectified, kernels, weights, self.second_depthwise[name], self._stride)
                weights = self.second_pointwise[name]
            else:
                values = arithmetic.dilated(rectified, kernels, self._stride)
            found.append([Term(_PLACE[name], value, True, weight) for value, weight in zip(values, weights, strict=True)])
        return found

    def _factorised(self, rectified: Tensor) -> list[Term]:
        """Return the skip connections of stride 2: 1x1 convolutions of the even and of the odd pixels, written as one block matrix."""
        height, width = rectified.shape[2:]
        filled = functional.pad(rectified, (0, width % 2, 0, height % 2))
        both = torch.cat((rectified[:, :, ::2, ::2], filled[:, :, 1::2, 1::2]), dim=1).contiguous(memory_format=torch.channels_last)
        # Outputs of the first convolution read the first half of the inputs, outputs of the second convolution the second half.
        channels = rectified.shape[1]
        first, second = functional.pad(self.reduce_first, (0, channels)), functional.pad(self.reduce_second, (channels, 0))
        return [Term(_PLACE["skip_connect"], both, True, weight) for weight in torch.cat((first, second), dim=1)]


def strides(reduction: bool) -> tuple[int, ...]:
    """Return the stride of the edges that leave a node, for nodes 0 to 4."""
    return tuple(2 if reduction and source < INPUTS else 1 for source in range(NODES[-1]))


def mixed_edges(searched: SearchedCell, width: int, reduction: bool, options: SupernetOptions) -> MixedEdges:
    """Return the edges of a mixed cell, which have all operations, on `width` channels."""
    leaving = [
        Leaving([node for start, node in EDGES if start == source], width, stride, options.shared, options.layout)
        for source, stride in enumerate(strides(reduction))
    ]
    return MixedEdges(searched, leaving, options.layout)


def chosen_edges(searched: SearchedCell, width: int, reduction: bool, options: SupernetOptions) -> ChosenEdges:
    """Return the edges of a cell with a discrete architecture, on `width` channels."""

    def make(name: str, source: int) -> nn.Module:
        return operation(name, width, strides(reduction)[source], affine=False, normalised_pooling=True)

    return ChosenEdges(searched, make, options.shared)
