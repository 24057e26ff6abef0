"""Classes of identical networks: which of the 15,625 cells compute the same function with the same trained weights.

Two cells are identical if their weights can be matched one to one so that both compute exactly the same function for all values of the
weights. The rules are:

- `skip_connect` is the identity, and `none` is zero.
- A node is a sum, so the order of its terms does not matter.
- An operation that does not reach the output does not matter.
- Average pooling does not count the padding, so it is linear and keeps constants: pool(a) + pool(b) = pool(a + b).
- A convolution used along two paths is one convolution. Two convolutions are different even if they have the same input.
- A convolution of zero is not zero: the batch normalisation after it still adds its trained shift. The size of its kernel does not matter.

This gives 5,234 classes. Other conventions give other counts: 5,260 if pooling is not taken as linear and a convolution of zero is taken as
zero; 6,466 in the benchmark's own file, which writes one convolution used twice in the same way as two convolutions. The tests derive 5,234
and 5,260 from symbolic expressions.

This module decides the question for all cells at once. A node carries a pair of 64-bit numbers, one for the part that varies over the image
and one for the constant part. Sums add them, pooling multiplies the varying part by an odd constant, and a convolution mixes its argument
with its label. The fingerprint of a cell is the lowest output over all ways to label its live convolutions, so it does not depend on their
names.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.nasbench201.order import EDGES, SIZE, all_genes

_NONE, _CONV_1X1, _CONV_3X3 = 0, 2, 3
_Words = NDArray[np.uint64]
_INPUT = np.uint64(0x9E3779B97F4A7C15)
_POOLING = np.uint64(0xD6E8FEB86659FD93)
# The factors by which none, skip, the two convolutions and pooling multiply the varying and the constant part of their argument. The factor
# 0 of convolutions is for dead ones, whose output nothing uses.
_VARYING_FACTOR = np.array([0, 1, 0, 0, _POOLING], np.uint64)
_CONSTANT_FACTOR = np.array([0, 1, 0, 0, 1], np.uint64)


def _mix(words: _Words) -> _Words:
    """Return a scrambled copy, by the last step of splitmix64 (Steele, Lea and Flood 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _live_convolutions(genes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which edges carry a convolution whose output reaches the cell's output, shape (cells, 6)."""
    used = genes != _NONE
    two_used = used[:, 5]
    one_used = used[:, 4] | (used[:, 2] & two_used)
    target_used = np.stack([one_used, two_used, two_used, *[np.ones(len(genes), bool)] * 3], axis=1)
    live: NDArray[np.bool_] = ((genes == _CONV_1X1) | (genes == _CONV_3X3)) & target_used
    return live


def _outputs(genes: NDArray[np.int64], labels: dict[int, _Words]) -> _Words:
    """Return a word for the output of every cell and every labelling of its live convolutions, shape (labellings, cells).

    Args:
        genes: The genes of cells with live convolutions on the same edges, shape (cells, 6).
        labels: For each of these edges, the label of its convolution in every labelling, shape (labellings, 1). On all other edges an
            operation only multiplies the two parts of its argument.
    """
    zeros = np.zeros((1, len(genes)), np.uint64)
    varying: list[_Words] = [zeros + _INPUT, zeros, zeros, zeros]
    constant: list[_Words] = [zeros] * 4
    for edge, (source, target) in enumerate(EDGES):
        gene, v, c = genes[:, edge], varying[source], constant[source]
        if edge in labels:
            of_zero = (v == 0) & (c == 0)
            # Labels are multiples of 8, so that the sum of a label and an operation (less than 8) is unique.
            mixed = _mix(_mix(v ^ (labels[edge] * np.uint64(8) + gene.astype(np.uint64))) + _mix(c))
            new_v, new_c = np.where(of_zero, np.uint64(0), mixed), np.where(of_zero, _mix(_mix(labels[edge])), np.uint64(0))
        else:
            new_v, new_c = v * _VARYING_FACTOR[gene], c * _CONSTANT_FACTOR[gene]
        varying[target], constant[target] = varying[target] + new_v, constant[target] + new_c
    return _mix(varying[3]) + _mix(constant[3] ^ _INPUT)


@cache
def fingerprints() -> _Words:
    """Return a word for every cell, the same for two cells exactly if their networks are identical, shape (15625,), by published index."""
    genes, live = all_genes(), _live_convolutions(all_genes())
    masks = live @ (1 << np.arange(len(EDGES)))
    result = np.empty(SIZE, np.uint64)
    for mask in np.unique(masks):
        rows = np.flatnonzero(masks == mask)
        edges = np.flatnonzero(live[rows[0]]).tolist()
        labellings = np.array(list(permutations(range(1, len(edges) + 1))), np.uint64)
        labels = {edge: labellings[:, [column]] for column, edge in enumerate(edges)}
        result[rows] = _outputs(genes[rows], labels).min(axis=0)
    return result


@cache
def canonical_indices() -> NDArray[np.int64]:
    """Return for every cell the lowest published index of the networks identical to it, shape (15625,)."""
    _, first, inverse = np.unique(fingerprints(), return_index=True, return_inverse=True)
    indices: NDArray[np.int64] = first[inverse]
    indices.setflags(write=False)
    return indices
