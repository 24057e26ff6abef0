"""CPU cycles of operations: DEff-ARTS's model (appendix B of the paper), for a Texas Instruments C64x+.

A multiply-add takes five cycles. The two poolings are counted as the paper's table 2 counts them: a comparison a pixel of the window for
the maximum; for the average, one cycle a pixel and one for the division, where the appendix's formula with its own costs gives four times as
many. Activations, normalisations and sums of edges count nothing.
"""

from __future__ import annotations

COMPARISON, ADDITION, MULTIPLICATION, DIVISION = 1, 1, 4, 4  # table 1
CYCLES_A_MAC = MULTIPLICATION + ADDITION


def max_pooling(pixels: int, outputs: int) -> int:
    """Return the cycles of max pooling over windows of so many pixels."""
    return pixels * outputs * COMPARISON


def average_pooling(pixels: int, outputs: int) -> int:
    """Return the cycles of average pooling over windows of so many pixels: every operation counts one (table 2)."""
    return (pixels + 1) * outputs


def separable_macs(kernel: int, width: int, outputs: int, width_out: int | None = None) -> int:
    """Return the multiply-adds of a depthwise and a 1x1 convolution, with `outputs` pixels behind them."""
    return (kernel * kernel * width + width * (width if width_out is None else width_out)) * outputs
