"""The edges of a cell of DARTS's search network: all operations on each of them, or those of a discrete architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from budgetnas.spaces.darts.operations import operation
from budgetnas.spaces.darts.order import CHOICES, EDGE_NUMBER, EDGES, INPUTS, NODES, OPERATIONS
from budgetnas.spaces.mixtures.arithmetic import arithmetic_for, normalised
from budgetnas.spaces.mixtures.modules import for_search
from budgetnas.spaces.space import Floats

KERNELS = {"sep_conv_3x3": 3, "sep_conv_5x5": 5, "dil_conv_3x3": 3, "dil_conv_5x5": 5}  # pixels a side
SEPARABLE = ("sep_conv_3x3", "sep_conv_5x5")
_PLACE = {name: number for number, name in enumerate(OPERATIONS)}


@dataclass(frozen=True, slots=True)
class Term:
    """What an operation on an edge has come to before its last step: a map, or the input of a 1x1 convolution and its weight."""

    operation: int
    value: Tensor
    weight: Tensor | None = None


class Leaving(nn.Module):
    """All operations on the edges that leave one node.

    What they have in common is computed once: the ReLU, the poolings (without trained weights), a skip connection of stride 1. Weights
    are stacked by edge. With `shared` there is one set for all edges (DCA-NAS, equation 5), and each operation is evaluated once.
    """

    def __init__(self, targets: Sequence[int], width: int, stride: int, shared: bool, layout: str):
        super().__init__()
        self.targets, self._stride, self._shared, self._layout = tuple(targets), stride, shared, layout
        copies = 1 if shared else len(self.targets)
        # Kernels (edges, channels, 1, k, k), 1x1 kernels (edges, outputs, inputs).
        self.depthwise = nn.ParameterDict({name: _drawn(copies, width, 1, kernel, kernel) for name, kernel in KERNELS.items()})
        self.pointwise = nn.ParameterDict({name: _drawn(copies, width, width) for name in KERNELS})
        self.second_depthwise = nn.ParameterDict({name: _drawn(copies, width, 1, KERNELS[name], KERNELS[name]) for name in SEPARABLE})
        self.second_pointwise = nn.ParameterDict({name: _drawn(copies, width, width) for name in SEPARABLE})
        if stride == 2:
            self.reduce_first = _drawn(copies, width // 2, width)
            self.reduce_second = _drawn(copies, width - width // 2, width)

    def forward(self, x: Tensor) -> dict[int, list[Term]]:
        """Return the terms that every target gets, by target."""
        rectified = x.relu()
        alike = [Term(_PLACE["max_pool_3x3"], normalised(functional.max_pool2d(x, 3, self._stride, 1)))]
        pooled = functional.avg_pool2d(x, 3, self._stride, 1, count_include_pad=False)
        alike.append(Term(_PLACE["avg_pool_3x3"], normalised(pooled)))
        if self._stride == 1:
            alike.append(Term(_PLACE["skip_connect"], x))
        convolved = [list(terms) for terms in zip(*self._convolved(rectified), strict=True)]
        if not self._shared:
            return {target: alike + terms for target, terms in zip(self.targets, convolved, strict=True)}
        arithmetic = arithmetic_for(self._layout, x.device)
        for term in convolved[0]:
            weights = [] if term.weight is None else [term.weight]
            value = arithmetic.mixture([], x.new_zeros(0), [term.value], weights, x.new_ones(1))
            alike.append(Term(term.operation, value))
        return dict.fromkeys(self.targets, alike)

    def _convolved(self, rectified: Tensor) -> list[list[Term]]:
        """Return the terms of each operation with weights, a list by edge for each."""
        arithmetic = arithmetic_for(self._layout, rectified.device)
        found = [self._factorised(rectified)] if self._stride == 2 else []
        for name in KERNELS:
            kernels, weights = self.depthwise[name], self.pointwise[name]
            if name in SEPARABLE:
                values = arithmetic.separable(rectified, kernels, weights, self.second_depthwise[name], self._stride)
                weights = self.second_pointwise[name]
            else:
                values = arithmetic.dilated(rectified, kernels, self._stride)
            found.append([Term(_PLACE[name], value, weight) for value, weight in zip(values, weights, strict=True)])
        return found

    def _factorised(self, rectified: Tensor) -> list[Term]:
        """Return the skip connections of stride 2: two 1x1 convolutions, of the pixels at even and at odd places, as one block matrix."""
        height, width = rectified.shape[2:]
        filled = functional.pad(rectified, (0, width % 2, 0, height % 2))
        both = torch.cat((rectified[:, :, ::2, ::2], filled[:, :, 1::2, 1::2]), dim=1).contiguous(memory_format=torch.channels_last)
        halves = zip(self.reduce_first, self.reduce_second, strict=True)
        return [Term(_PLACE["skip_connect"], both, torch.block_diag(first, second)) for first, second in halves]


def _drawn(*shape: int) -> nn.Parameter:
    """Return convolutions' weights (edges, outputs, inputs, ...), drawn as PyTorch draws them: uniform within 1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(math.prod(shape[2:]))
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class MixedEdges(nn.Module):
    """All operations on all 14 edges, each weighted."""

    def __init__(self, width: int, reduction: bool, shared: bool, layout: str):
        super().__init__()
        self._layout = layout
        self.leaving = nn.ModuleList(
            Leaving(range(max(INPUTS, source + 1), NODES[-1] + 1), width, 2 if reduction and source < INPUTS else 1, shared, layout)
            for source in range(NODES[-1])
        )

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """Return by how much each edge counts in all, shape (14,)."""
        return strengths.sum(1)

    def prepare(self, source: int, x: Tensor) -> dict[int, list[Term]]:
        """Return what a node passes on along its edges, by target."""
        terms: dict[int, list[Term]] = self.leaving[source](x)
        return terms

    def node(self, node: int, prepared: Sequence[dict[int, list[Term]]], strengths: Tensor) -> Tensor:
        """Return a node: the sum over its edges and their operations."""
        maps, convolved = [], []
        for source, leaving in enumerate(prepared[:node]):
            for term in leaving[node]:
                (maps if term.weight is None else convolved).append((EDGE_NUMBER[source, node], term))
        chosen = [strengths[[edge for edge, _ in part], [term.operation for _, term in part]] for part in (maps, convolved)]
        return arithmetic_for(self._layout, strengths.device).mixture(
            [term.value for _, term in maps],
            chosen[0],
            [term.value for _, term in convolved],
            [term.weight for _, term in convolved if term.weight is not None],
            chosen[1],
        )


class ChosenEdges(nn.Module):
    """The operations of a discrete architecture, evaluated edge by edge; the weights of all others are kept as they are."""

    def __init__(self, width: int, reduction: bool, shared: bool):
        super().__init__()
        strides = [2 if reduction and source < INPUTS else 1 for source, _ in EDGES]
        # With shared weights, edges with one source hold the very same modules.
        sets: dict[int, nn.ModuleDict] = {}
        for edge, (source, _) in enumerate(EDGES):
            key = source if shared else edge
            if key not in sets:
                sets[key] = nn.ModuleDict({name: for_search(operation(name, width, strides[edge], False, True)) for name in CHOICES})
        self.operations = nn.ModuleList(sets[source if shared else edge] for edge, (source, _) in enumerate(EDGES))
        self._chosen: dict[int, str] = {}

    def choose(self, one_hot: Floats) -> None:
        """Take up the operations that strengths of 1 and 0 say, shape (14, 8)."""
        edges, operations = np.nonzero(one_hot)
        self._chosen = {edge: OPERATIONS[number] for edge, number in zip(edges.tolist(), operations.tolist(), strict=True)}

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """Return 1 for the edges that the architecture has and 0 for the others, shape (14,)."""
        return strengths.new_tensor([float(edge in self._chosen) for edge in range(len(EDGES))])

    def prepare(self, source: int, x: Tensor) -> Tensor:
        """Return the node."""
        return x

    def node(self, node: int, prepared: Sequence[Tensor], strengths: Tensor) -> Tensor:
        """Return a node: the sum of its two edges."""
        edges = [EDGE_NUMBER[source, node] for source in range(node)]
        values = [self.operations[edge][self._chosen[edge]](prepared[EDGES[edge][0]]) for edge in edges if edge in self._chosen]
        total: Tensor = sum(values[1:], values[0])
        return total
