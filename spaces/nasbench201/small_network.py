"""The small network of the dataset digits201: its shape, exact parameters and multiply-adds, and C64x+ cycles.

The network is a 1x1 convolution to 8 channels, batch normalisation; the cell on 8x8 pixels; 2x2 average pooling, ReLU, a 1x1 convolution to
16 channels, batch normalisation; the cell on 4x4 pixels; batch normalisation, ReLU, global average pooling and a linear layer. As in
NAS-Bench-201, an operation is counted even if no path uses it.

Cycles follow DEff-ARTS's table: a multiply-add takes five (multiplication 4, addition 1), and average pooling over n pixels takes n + 1 for
each output (here every operation counts as one cycle). Nothing else is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS, all_genes
from budgetnas.spaces.task import task_of

DIGITS201 = task_of("digits201")
CHANNELS = (8, 16)
SIDES = (8, 4)
KERNELS = {OPERATIONS.index("nor_conv_1x1"): 1, OPERATIONS.index("nor_conv_3x3"): 3}  # gene -> pixels a side
POOLING = OPERATIONS.index("avg_pool_3x3")
CYCLES_A_MAC = 5
_CELL_POOLING_PIXELS, _STAGE_POOLING_PIXELS = 9, 4


def live_edges(genes: Sequence[int]) -> list[int]:
    """Return the edges that are not `none` and that reach the output of the cell, ascending. Their input may still be zero."""
    used = {len(CHANNELS) + 1}
    live = []
    for edge in reversed(range(len(EDGES))):
        source, target = EDGES[edge]
        if genes[edge] and target in used:
            used.add(source)
            live.append(edge)
    return live[::-1]


@cache
def complexities() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return parameters and MACs of the networks of all cells, each of shape (15625,), by published index."""
    genes = all_genes()
    last = CHANNELS[-1]
    params = np.full(len(genes), 2 * last + (last + 1) * DIGITS201.classes)
    macs = np.full(len(genes), last * DIGITS201.classes)
    for narrow, channels, side in zip((DIGITS201.image_channels, *CHANNELS), CHANNELS, SIDES, strict=False):
        params += narrow * channels + 2 * channels
        macs += narrow * channels * side * side
        for gene, kernel in KERNELS.items():
            count = (genes == gene).sum(axis=1)
            weights = kernel * kernel * channels * channels
            params += count * (weights + 2 * channels)
            macs += count * weights * side * side
    for array in (params, macs):
        array.setflags(write=False)
    return params, macs


@cache
def cycles() -> NDArray[np.int64]:
    """Return the C64x+ cycles for one image in the networks of all cells, shape (15625,), by published index."""
    outputs = sum(channels * side * side for channels, side in zip(CHANNELS, SIDES, strict=True))
    cell = (all_genes() == POOLING).sum(axis=1) * outputs * (_CELL_POOLING_PIXELS + 1)
    between = CHANNELS[0] * SIDES[1] ** 2 * (_STAGE_POOLING_PIXELS + 1)
    whole = CHANNELS[1] * (SIDES[1] ** 2 + 1)
    result: NDArray[np.int64] = CYCLES_A_MAC * complexities()[1] + cell + between + whole
    result.setflags(write=False)
    return result
