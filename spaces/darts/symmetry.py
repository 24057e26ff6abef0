"""Cells that are one network: those that differ in the order of their nodes alone.

A cell's output is the concatenation of its nodes, so another order of the nodes is another order of channels, four blocks of equal width.
Whatever reads an output makes up for that exactly, by the same order of its own weights: a ReLU works channel by channel, the depthwise
convolution of `dil_conv_3x3` too, and a 1x1 convolution over all channels, the auxiliary head and the classifier sum over them. So the
weights of two such networks match one to one, and both compute the same for every value of them; costs are equal too, since an order keeps
which edges leave an input.

A convolution with two or four groups reads only some nodes in each group: there the order matters, and nothing is merged. Nor are
coincidences inside a cell (two nodes that are both the sum of the inputs, an average of a sum): classes here never hold two networks that
differ, but may be split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from budgetnas.spaces.darts.order import INPUTS, NODES, Edge, cell_genes


def reordered(edges: Sequence[Edge]) -> Iterator[tuple[Edge, ...]]:
    """Yield the cell in every order of its nodes in which each node follows those that it reads."""
    for order in permutations(NODES):
        new = {**{source: source for source in range(INPUTS)}, **dict(zip(order, NODES, strict=True))}
        if all(new[edge.source] < new[edge.node] for edge in edges):
            yield tuple(Edge(new[edge.source], new[edge.node], edge.operation) for edge in edges)


def canonical_genes(edges: Sequence[Edge]) -> tuple[int, ...]:
    """Return the least genes among all orders of a cell's nodes."""
    return min(map(cell_genes, reordered(edges)))
