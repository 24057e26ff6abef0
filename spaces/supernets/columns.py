"""Sums and scalings by channel of a matrix (pixels, channels). A row holds several pixels, to be long enough for vector instructions."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5  # as in PyTorch's batch normalisation, which the released code of the papers uses
_ROW = 512  # approximate number of values in a row


class Columns:
    """Views a matrix of shape (pixels, channels) as rows of several pixels each."""

    def __init__(self, pixels: int, channels: int):
        self._pixels, self._channels = pixels, channels
        wanted = max(1, _ROW // channels)
        self._pixels_a_row = next(count for count in range(wanted, 0, -1) if pixels % count == 0)

    def rows(self, x: Tensor) -> Tensor:
        """Return a contiguous matrix (pixels, channels) as rows of several pixels; a view."""
        return x.view(-1, self._pixels_a_row * self._channels)

    def repeated(self, figures: Tensor) -> Tensor:
        """Return one value per channel, repeated along a row."""
        return figures.expand(self._pixels_a_row, self._channels).reshape(-1)

    def sums(self, rows: Tensor) -> Tensor:
        """Return the sum over all pixels, shape (channels,)."""
        return rows.sum(0).view(self._pixels_a_row, self._channels).sum(0)

    def centre(self, rows: Tensor) -> Tensor:
        """Subtract the mean of every channel in place, and return 1 / sqrt(variance + epsilon) as in batch normalisation."""
        rows -= self.repeated(self.sums(rows) / self._pixels)
        return torch.rsqrt(self.sums(rows * rows) / self._pixels + EPSILON)


def pixels(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as contiguous (N H W, C): a view if `x` has channels last in memory, else a copy."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).contiguous()


def images(x: Tensor, like: Tensor) -> Tensor:
    """Return (N H W, C) as (N, C, H, W) with N, H and W of `like`: a view with channels last in memory."""
    count, _, height, width = like.shape
    return x.view(count, height, width, x.shape[1]).permute(0, 3, 1, 2)
