"""The discrete cell with the strongest operations, by DARTS's rule (section 2.4), and the strengths of a discrete cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.cycles import PAPER_COSTS_IN_SEARCH
from budgetnas.spaces.darts.complexity import RESOURCES
from budgetnas.spaces.darts.order import CHOICES, EDGE_NUMBER, EDGES, NODES, OPERATIONS, Edge, cell_genes
from budgetnas.spaces.space import Floats

PAPER_CYCLES = "paper_cycles"  # costs of operations that do not depend on the network: DEff-ARTS's table 2
_KEPT_A_NODE = 2


class UnknownCost(ValueError):
    """The resource is not a sum over edges; the message lists the resources that are."""


def resource_number(resource: str) -> int:
    """Return the index of a resource in `complexity.RESOURCES`. Raises UnknownCost, which lists the known resources."""
    if resource not in RESOURCES:
        choices = ", ".join((*RESOURCES, PAPER_CYCLES))
        raise UnknownCost(f"'{resource}' of DARTS networks is not a known sum over edges; choose one of {choices}")
    return RESOURCES.index(resource)


def kept(strengths: Floats) -> NDArray[np.bool_]:
    """Return which edges are kept, shape (14,): at each node the two with the strongest operations, `none` left out.

    Ties go to the lowest number.
    """
    best = strengths[:, 1:].max(axis=1)
    mask = np.zeros(len(EDGES), np.bool_)
    for node in NODES:
        edges = [EDGE_NUMBER[source, node] for source in range(node)]
        mask[sorted(edges, key=lambda edge: (-best[edge], edge))[:_KEPT_A_NODE]] = True
    return mask


def strongest_genes(strengths: Floats) -> tuple[int, ...]:
    """Return the genes of the cell with the edges of `kept`, each with its strongest operation other than `none`."""
    choice = strengths[:, 1:].argmax(axis=1)
    return cell_genes([Edge(*EDGES[edge], CHOICES[choice[edge]]) for edge in np.flatnonzero(kept(strengths)).tolist()])


def one_hot(edges: Sequence[Edge]) -> Floats:
    """Return 1 for the operations of `edges` and 0 elsewhere, shape (14, 8)."""
    found = np.zeros((len(EDGES), len(OPERATIONS)))
    for edge in edges:
        found[EDGE_NUMBER[edge.source, edge.node], OPERATIONS.index(edge.operation)] = 1.0
    return found


def paper_edge_costs() -> Floats:
    """Return the costs of operations in DEff-ARTS's search, which are the same on every edge, shape (14, 8)."""
    return np.tile(np.array([PAPER_COSTS_IN_SEARCH[operation] for operation in OPERATIONS], np.float64), (len(EDGES), 1))
