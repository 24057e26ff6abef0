"""Cells that differ only in the order of their nodes, and so are the same network.

The output of a cell is the concatenation of its nodes, so another order of the nodes only reorders the channels, in four blocks of equal
width. Every module that reads the output can undo this by reordering its own weights: a ReLU and the depthwise convolution of
`dil_conv_3x3` work channel by channel, and a 1x1 convolution over all channels, the auxiliary head and the classifier sum over channels.
So the weights of two such networks match one to one, and for all values of the weights both compute the same function. Their costs are
equal too, because the order does not change which edges leave an input.

A convolution with two or four groups reads only some of the nodes in each group, so there the order matters, and no cells are merged.
Other coincidences inside a cell are not merged either, such as two nodes that are both the sum of the inputs. So a class never holds two
different networks, but identical networks may be in different classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from budgetnas.spaces.darts.order import INPUTS, NODES, Edge, cell_genes


def reordered(edges: Sequence[Edge]) -> Iterator[tuple[Edge, ...]]:
    """Yield the cell in every order of its nodes in which each node comes after the nodes that it reads."""
    for order in permutations(NODES):
        new = {**{source: source for source in range(INPUTS)}, **dict(zip(order, NODES, strict=True))}
        if all(new[edge.source] < new[edge.node] for edge in edges):
            yield tuple(Edge(new[edge.source], new[edge.node], edge.operation) for edge in edges)


def canonical_genes(edges: Sequence[Edge]) -> tuple[int, ...]:
    """Return the lexicographically lowest genes among all orders of the nodes of a cell."""
    return min(map(cell_genes, reordered(edges)))
