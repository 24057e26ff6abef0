"""Exact parameters and multiply-adds of NAS-Bench-201's networks in closed form.

The network (section 3 of the paper) is a 3x3 stem to 16 channels; three stages of five cells with 16, 32 and 64 channels, joined by
residual blocks that halve the image; batch normalisation, global average pooling and a linear layer. The convolutions in a cell keep the
number of channels, so the cost of a cell depends only on its numbers of 1x1 and 3x3 convolutions. As in the benchmark, an operation is
counted even if no path uses it.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.cycles import CYCLES_A_MAC, average_pooling
from budgetnas.spaces.nasbench201.order import OPERATIONS, all_genes
from budgetnas.spaces.task import Task

CHANNELS = (16, 32, 64)
CELLS_A_STAGE = 5


def _convolution(kernel: int, width_in: int, width_out: int, side: int) -> tuple[int, int]:
    """Return parameters and MACs of a convolution with `side` x `side` outputs, including scale and shift of its normalisation."""
    weights = kernel * kernel * width_in * width_out
    return weights + 2 * width_out, weights * side * side


def skeleton(task: Task, widths: tuple[int, ...] = CHANNELS) -> tuple[int, int]:
    """Return parameters and MACs of everything but the cells, for a network with `widths` channels in its stages."""
    params, macs = _convolution(3, task.image_channels, widths[0], task.image_size)
    side = task.image_size
    for narrow, wide in pairwise(widths):
        side //= 2
        for kernel, width_in in ((3, narrow), (3, wide)):
            more_params, more_macs = _convolution(kernel, width_in, wide, side)
            params, macs = params + more_params, macs + more_macs
        # The shortcut is average pooling over 2x2 pixels and a 1x1 convolution without normalisation.
        params, macs = params + narrow * wide, macs + narrow * wide * side * side
    params += 2 * widths[-1]
    return params + (widths[-1] + 1) * task.classes, macs + widths[-1] * task.classes


def operation(kernel: int, task: Task) -> tuple[int, int]:
    """Return parameters and MACs that one convolution in the cell adds, summed over all fifteen cells."""
    params = macs = 0
    for stage, width in enumerate(CHANNELS):
        more_params, more_macs = _convolution(kernel, width, width, task.image_size // 2**stage)
        params, macs = params + CELLS_A_STAGE * more_params, macs + CELLS_A_STAGE * more_macs
    return params, macs


@cache
def complexities(task: Task) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return parameters and MACs of the networks of all cells, each of shape (15625,), by published index."""
    genes = all_genes()
    ones = (genes == OPERATIONS.index("nor_conv_1x1")).sum(axis=1)
    threes = (genes == OPERATIONS.index("nor_conv_3x3")).sum(axis=1)
    base, one, three = skeleton(task), operation(1, task), operation(3, task)
    params, macs = (base[i] + ones * one[i] + threes * three[i] for i in (0, 1))
    params.setflags(write=False)
    macs.setflags(write=False)
    return params, macs


@cache
def cycles(task: Task) -> NDArray[np.int64]:
    """Return the CPU cycles for one image in the networks of all cells, shape (15625,), by published index.

    This is DEff-ARTS's model for the whole network, including stem and classifier: five cycles per multiply-add, plus the poolings
    (`spaces/cycles.py`).
    """
    outputs = [width * (task.image_size // 2**stage) ** 2 for stage, width in enumerate(CHANNELS)]
    poolings = (all_genes() == OPERATIONS.index("avg_pool_3x3")).sum(axis=1)
    inside = CELLS_A_STAGE * sum(average_pooling(3 * 3, count) for count in outputs)
    # Average pooling is over 2x2 pixels of the narrower stage between stages, and over all remaining pixels at the end.
    between = sum(average_pooling(2 * 2, count // 2) for count in outputs[1:])
    whole = average_pooling((task.image_size // 4) ** 2, CHANNELS[-1])
    result: NDArray[np.int64] = CYCLES_A_MAC * complexities(task)[1] + poolings * inside + between + whole
    result.setflags(write=False)
    return result
