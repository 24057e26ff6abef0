"""The order of operations, edges and genes of DARTS's cells.

Nodes 0 and 1 of a cell are its inputs: the outputs of the cell before the previous one and of the previous cell. Nodes 2 to 5 are its
intermediate nodes, each the sum of two edges from two different earlier nodes. The output is the concatenation of nodes 2 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CHOICES = OPERATIONS[1:]  # the operations of discrete architectures; the value 0 of a gene is max_pool_3x3
CONNECTIONS = ("dil_conv_3x3", "conv_1x1", "conv_1x1_g2", "conv_1x1_g4")  # RC-DARTS, section 4.1
PLAIN_CONNECTION = CONNECTIONS.index("conv_1x1")  # DARTS's own preprocessing
INPUTS = 2
NODES = tuple(range(INPUTS, 6))
EDGES = tuple((source, node) for node in NODES for source in range(node))
EDGE_NUMBER = {edge: number for number, edge in enumerate(EDGES)}
PAIRS = {node: tuple(combinations(range(node), 2)) for node in NODES}  # lexicographic
GENES_A_NODE = 3  # pair of predecessors, operation of the lower one, operation of the higher one
GENES_A_CELL = GENES_A_NODE * len(NODES)
CELL_ARITY = tuple(arity for node in NODES for arity in (len(PAIRS[node]), len(CHOICES), len(CHOICES)))


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of a discrete cell, with the name of its operation."""

    source: int
    node: int
    operation: str


def cell_edges(genes: Sequence[int]) -> tuple[Edge, ...]:
    """Return the eight edges of a cell from its twelve genes, by node, then by source."""
    starts = range(0, GENES_A_CELL, GENES_A_NODE)
    return tuple(
        Edge(source, node, CHOICES[gene])
        for node, start in zip(NODES, starts, strict=True)
        for source, gene in zip(PAIRS[node][genes[start]], genes[start + 1 : start + GENES_A_NODE], strict=True)
    )


def cell_genes(edges: Sequence[Edge]) -> tuple[int, ...]:
    """Return the twelve genes of a cell from its edges: two for every node, in any order."""
    ordered = sorted(edges, key=lambda edge: (edge.node, edge.source))
    genes: list[int] = []
    for low, high in list(pairwise(ordered))[::2]:
        genes += [PAIRS[low.node].index((low.source, high.source)), CHOICES.index(low.operation), CHOICES.index(high.operation)]
    return tuple(genes)
