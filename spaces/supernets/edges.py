"""The edges of a cell in a search network: all operations on each of them, or those of a discrete architecture."""

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
    """What an operation on an edge has come to before its last steps.

    A map to be scaled; or one to be normalised first (`normalise`), after a 1x1 convolution if it comes with a weight (outputs, inputs).
    """

    operation: int
    value: Tensor
    normalise: bool = False
    weight: Tensor | None = None


class Edges(Protocol):
    """The edges of a cell, evaluated node by node."""

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """Return by how much each edge counts in all, shape (edges,)."""

    def prepare(self, source: int, x: Tensor) -> Any:
        """Return what a node passes on along its edges; `node` takes what this gives."""

    def node(self, node: int, prepared: Sequence[Any], strengths: Tensor) -> Tensor:
        """Return a node: the sum over its edges. `prepared` has what each earlier node passes on."""


class MixedEdges(nn.Module):
    """All operations on all edges, each weighted. `leaving` has a module a node, from its value to its terms by target."""

    def __init__(self, searched: SearchedCell, leaving: Sequence[nn.Module], layout: str):
        super().__init__()
        self.leaving = nn.ModuleList(leaving)
        self._number = {edge: number for number, edge in enumerate(searched.edges)}
        self._layout = layout

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """See `Edges`."""
        return strengths.sum(1)

    def prepare(self, source: int, x: Tensor) -> dict[int, list[Term]]:
        """See `Edges`: the terms by target."""
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
    """Return terms with their last steps done, so that several edges can have them: maps only to be scaled."""
    found = []
    for term in terms:
        if term.normalise:
            none, one = term.value.new_zeros(0), term.value.new_ones(1)
            value = arithmetic_for(layout, one.device).mixture([], none, [term.value], [term.weight], one)
            term = Term(term.operation, value)
        found.append(term)
    return found


class ChosenEdges(nn.Module):
    """The operations of a discrete architecture, evaluated edge by edge; the weights of all others are kept as they are.

    `make` gives an operation's module by its name and the source of its edge, for all but `none`. With `shared`, edges that leave one
    node hold the very same modules.
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
        """Take up the operations that strengths of 1 and 0 say, shape (edges, operations)."""
        self._kept = one_hot.sum(axis=1).tolist()
        pairs = ((edge, self._names[number]) for edge, number in zip(*(each.tolist() for each in np.nonzero(one_hot)), strict=True))
        self._chosen = {edge: name for edge, name in pairs if name != "none"}

    def edge_weights(self, strengths: Tensor) -> Tensor:
        """See `Edges`: 1 for the edges that the architecture has, be it with `none`, and 0 for the others."""
        return strengths.new_tensor(self._kept)

    def prepare(self, source: int, x: Tensor) -> Tensor:
        """See `Edges`: the node."""
        return x

    def node(self, node: int, prepared: Sequence[Tensor], strengths: Tensor) -> Tensor:
        """See `Edges`; zeros where no operation leads to the node."""
        edges = [edge for edge, (_, target) in enumerate(self._edges) if target == node and edge in self._chosen]
        values = [self._module(edge)(prepared[self._edges[edge][0]]) for edge in edges]
        # Added one by one, since stacked they would not be channels last any more.
        total: Tensor = sum(values[1:], values[0]) if values else torch.zeros_like(prepared[-1])
        return total

    def _module(self, edge: int) -> nn.Module:
        return self.operations[self._sets[edge]].get_submodule(self._chosen[edge])
