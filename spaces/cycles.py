"""CPU cycles of operations on a Texas Instruments C64x+, by the model of DEff-ARTS (appendix B of the paper).

- A multiply-add takes five cycles.
- Pooling follows table 2 of the paper. Max pooling takes one comparison per pixel of the window. Average pooling takes one cycle per pixel
  and one for the division (the formula in the appendix, with the paper's own costs, would give four times as many).
- If an operation has a stride, every part of it is counted on its output pixels. The appendix divides only the depthwise convolution by
  the square of the stride, and so counts the 1x1 convolution on pixels that it never reads.
- Activations, normalisations and the sums of edges are not counted.
- In whole networks, a window at the border counts as a full window.

The figures in the paper assume that every operation works on 32x32 pixels of three channels with stride one, and leave out everything that
is not searched. A separable convolution is applied twice: the search counts it twice, the published cost of a cell counts it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COMPARISON, ADDITION, MULTIPLICATION, DIVISION = 1, 1, 4, 4  # table 1
CYCLES_A_MAC = MULTIPLICATION + ADDITION
ZERO_IN_SEARCH = 10**6 - 1  # cost of the operation `none` (appendix D.1): it keeps the search away from an operation that it cannot select
_PIXELS, _WIDTH = 32 * 32, 3


def max_pooling(pixels: int, outputs: int) -> int:
    """Return the cycles of max pooling over windows of `pixels` pixels."""
    return pixels * outputs * COMPARISON


def average_pooling(pixels: int, outputs: int) -> int:
    """Return the cycles of average pooling over windows of `pixels` pixels: every operation counts as one cycle (table 2)."""
    return (pixels + 1) * outputs


def separable_macs(kernel: int, width: int, outputs: int, width_out: int | None = None) -> int:
    """Return the multiply-adds of a depthwise convolution followed by a 1x1 convolution.

    Args:
        kernel: Side of the depthwise kernel, in pixels.
        width: Input channels.
        outputs: Output pixels.
        width_out: Output channels; by default `width`.
    """
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


PAPER_COSTS = _paper(separable_times=1)  # cycles by operation, as in the published cost of a cell
PAPER_COSTS_IN_SEARCH = MappingProxyType({"none": ZERO_IN_SEARCH, **_paper(separable_times=2)})  # table 2
