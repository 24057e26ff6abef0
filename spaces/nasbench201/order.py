"""The published order of the 15,625 cells, computed instead of stored.

NAS-Bench-201 numbers its cells by a shuffle: it lists all cells in lexicographic order of their operations (edges as in the string,
operations in the order of `OPERATIONS`) and shuffles the list by Python's generator with seed 88. We found this from the strings of the
published table, and a test compares all 15,625 of them. So no table is needed to know the index of a cell.
"""

from __future__ import annotations

import random
from functools import cache

import numpy as np
from numpy.typing import NDArray

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (from node, to node), in the order of the published string
SIZE = len(OPERATIONS) ** len(EDGES)
_SHUFFLE_SEED = 88


@cache
def code_at() -> tuple[int, ...]:
    """Return for every published index the code of the cell: its genes read as a number in base five, first edge first."""
    codes = list(range(SIZE))
    random.Random(_SHUFFLE_SEED).shuffle(codes)
    return tuple(codes)


@cache
def all_genes() -> NDArray[np.int64]:
    """Return the genes of all cells, shape (15625, 6), with a row for each published index."""
    powers = len(OPERATIONS) ** np.arange(len(EDGES) - 1, -1, -1)
    genes = np.asarray(code_at())[:, None] // powers % len(OPERATIONS)
    genes.setflags(write=False)
    return genes
