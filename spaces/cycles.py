"""CPU cycles of operations: DEff-ARTS's model (appendix B of the paper), for a Texas Instruments C64x+.

A multiply-add takes five cycles. The two poolings are counted as the paper's table 2 counts them: a comparison a pixel of the window for
the maximum; for the average, one cycle a pixel and one for the division (the appendix's formula with its own costs gives four times as
many). Where an operation has a stride, every part of it counts the pixels that it gives out; the appendix divides the depthwise convolution
alone by the stride's square, and would so count a 1x1 convolution on pixels that it never sees. Activations, normalisations and sums of
edges count nothing. In whole networks windows count in full at the borders too.

The paper's own figures assume that every operation works on 32x32 pixels of three channels with stride one, and leave out all that is not
searched. In the search a separable convolution counts twice, as it is applied; in the published cost of a cell, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COMPARISON, ADDITION, MULTIPLICATION, DIVISION = 1, 1, 4, 4  # table 1
CYCLES_A_MAC = MULTIPLICATION + ADDITION
ZERO_IN_SEARCH = 10**6 - 1  # of the operation `none`, appendix D.1: so that the search turns away from what it may not keep
_PIXELS, _WIDTH = 32 * 32, 3


def max_pooling(pixels: int, outputs: int) -> int:
    """Return the cycles of max pooling over windows of so many pixels."""
    return pixels * outputs * COMPARISON


def average_pooling(pixels: int, outputs: int) -> int:
    """Return the cycles of average pooling over windows of so many pixels: every operation counts one (table 2)."""
    return (pixels + 1) * outputs


def separable_macs(kernel: int, width: int, outputs: int, width_out: int | None = None) -> int:
    """Return the multiply-adds of a depthwise and a 1x1 convolution, with `outputs` pixels behind them."""
    return (kernel * kernel * width + width * (width if width_out is None else width_out)) * outputs


def _separable(kernel: int, times: int = 1) -> int:
    return times * CYCLES_A_MAC * separable_macs(kernel, _WIDTH, _PIXELS)


def _paper(separable_times: int) -> Mapping[str, int]:
    return MappingProxyType(
        {
            "max_pool_3x3": max_pooling(3 * 3, _PIXELS * _WIDTH),
            "avg_pool_3x3": average_pooling(3 * 3, _PIXELS * _WIDTH),
            "skip_connect": 0,
            "sep_conv_3x3": _separable(3, separable_times),
            "sep_conv_5x5": _separable(5, separable_times),
            "dil_conv_3x3": _separable(3),
            "dil_conv_5x5": _separable(5),
        }
    )


PAPER_COSTS = _paper(separable_times=1)  # by operation, in the published cost of a cell
PAPER_COSTS_IN_SEARCH = MappingProxyType({"none": ZERO_IN_SEARCH, **_paper(separable_times=2)})  # table 2
