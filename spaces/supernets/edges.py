"""The edges of a cell in a search network: with all operations on each edge, or with those of a discrete architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from budgetnas.spaces.space import Floats, SearchedCell
from budgetnas.spaces.supernets.arithmetic import arithmetic_for
from budgetnas.spaces.supernets.modules import for_search


@dataclass(frozen=True, slots=True)
class Term:
    """The intermediate result of an operation on an edge, before its last steps.

    The last steps are a 1x1 convolution if there is a `weight`, normalisation if `normalise` is set, and scaling by the strength.
    """

    operation: int  # its number in `SearchedCell.operations`
    value: Tensor
    normalise: bool = False
    weight: Tensor | None = None  # shape (outputs, inputs)


class Edges(Protocol):
    """The edges of a cell, evaluated node by node."""

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """Return the total weight of each edge, shape (edges,)."""

    def prepare(self, source: int, x: Tensor) -> Any:
        """Return what a node passes on to the edges that leave it, as an argument for `node`."""

    def node(self, node: int, prepared: Sequence[Any], strengths: Tensor) -> Tensor:
        """Return a node, the sum over its edges. `prepared` holds the result of `prepare` for every earlier node."""


class MixedEdges(nn.Module):
    """All operations on all edges, each weighted. `leaving` has one module per node, which maps the node to its terms by target."""

    def __init__(self, searched: SearchedCell, leaving: Sequence[nn.Module], layout: str):
        super().__init__()
        self.leaving = nn.ModuleList(leaving)
        self._number = {edge: number for number, edge in enumerate(searched.edges)}
        self._layout = layout

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """See `Edges`."""
        return strengths.sum(1)

    def prepare(self, source: int, x: Tensor) -> dict[int, list[Term]]:
        """See `Edges`. Returns the terms by target."""
        terms: dict[int, list[Term]] = self.leaving[source](x)
        return terms

    def node(self, node: int, prepared: Sequence[dict[int, list[Term]]], strengths: Tensor) -> Tensor:
        """See `Edges`."""
        found = [(self._number[source, node], term) for source, leaving in enumerate(prepared) for term in leaving.get(node, ())]
        parts = [[(edge, term) for edge, term in found if term.normalise == normalise] for normalise in (False, True)]
        chosen = [strengths[[edge for edge, _ in part], [term.operation for _, term in part]] for part in parts]
        maps, others = ([term for _, term in part] for part in parts)
        return arithmetic_for(self._layout, strengths.device).mixture(
            [term.value for term in maps], chosen[0], [term.value for term in others], [term.weight for term in others], chosen[1]
        )


def evaluated_once(terms: Sequence[Term], layout: str) -> list[Term]:
    """Return the terms with all last steps done except scaling, so that several edges can use them."""
    found = []
    for term in terms:
        if term.normalise:
            none, one = term.value.new_zeros(0), term.value.new_ones(1)
            value = arithmetic_for(layout, one.device).mixture([], none, [term.value], [term.weight], one)
            term = Term(term.operation, value)
        found.append(term)
    return found


class ChosenEdges(nn.Module):
    """The operations of a discrete architecture, evaluated edge by edge. The weights of all other operations are kept unchanged.

    Args:
        searched: The searched cell, with its edges and operations.
        make: Returns the module of an operation other than `none`, given its name and the source of its edge.
        shared: Whether edges that leave the same node hold the same modules.
    """

    def __init__(self, searched: SearchedCell, make: Callable[[str, int], nn.Module], shared: bool):
        super().__init__()
        self._edges, self._names = searched.edges, searched.operations
        sets: dict[int, nn.ModuleDict] = {}
        for edge, (source, _) in enumerate(self._edges):
            key = source if shared else edge
            if key not in sets:
                sets[key] = nn.ModuleDict({name: for_search(make(name, source)) for name in self._names if name != "none"})
        self.operations = nn.ModuleList(sets.values())
        self._sets = [list(sets).index(source if shared else edge) for edge, (source, _) in enumerate(self._edges)]
        self._chosen: dict[int, str] = {}
        self._kept = [0.0] * len(self._edges)

    def choose(self, one_hot: Floats) -> None:
        """Set the architecture, given as strengths of 1 and 0, shape (edges, operations)."""
        self._kept = one_hot.sum(axis=1).tolist()
        pairs = ((edge, self._names[number]) for edge, number in zip(*(each.tolist() for each in np.nonzero(one_hot)), strict=True))
        self._chosen = {edge: name for edge, name in pairs if name != "none"}

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """See `Edges`. Returns 1 for the edges of the architecture, including those with `none`, and 0 for all others."""
        return strengths.new_tensor(self._kept)

    def prepare(self, source: int, x: Tensor) -> Tensor:
        """See `Edges`. Returns the node itself."""
        return x

    def node(self, node: int, prepared: Sequence[Tensor], strengths: Tensor) -> Tensor:
        """See `Edges`. Returns zeros if no operation leads to the node."""
        edges = [edge for edge, (_, target) in enumerate(self._edges) if target == node and edge in self._chosen]
        values = [self._module(edge)(prepared[self._edges[edge][0]]) for edge in edges]
        # Added one by one, because a stacked tensor would not have channels last in memory.
        total: Tensor = sum(values[1:], values[0]) if values else torch.zeros_like(prepared[-1])
        return total

    def _module(self, edge: int) -> nn.Module:
        return self.operations[self._sets[edge]].get_submodule(self._chosen[edge])
