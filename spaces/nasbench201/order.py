"""The published order of the 15,625 cells, derived instead of shipped.

NAS-Bench-201 numbers its cells by a shuffle: all cells in lexicographic order of their operations (edges as in the string, operations
in the order of `OPERATIONS`), shuffled by Python's generator with seed 88. That was found from, and is tested against, the strings
of the published table, all 15,625 of them, so no table has to be shipped to know an index.
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
    """Return, for every published index, the cell's code: its genes read as a number in base five, first edge first."""
    codes = list(range(SIZE))
    random.Random(_SHUFFLE_SEED).shuffle(codes)
    return tuple(codes)


@cache
def all_genes() -> NDArray[np.int64]:
    """Return the genes of every cell, shape (15625, 6), row by published index."""
    powers = len(OPERATIONS) ** np.arange(len(EDGES) - 1, -1, -1)
    genes = np.asarray(code_at())[:, None] // powers % len(OPERATIONS)
    genes.setflags(write=False)
    return genes
