"""Sums and scalings by channel of pixels times channels, several pixels a row: a row is then long enough for vector instructions."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5  # of PyTorch's batch normalisation, which the papers' releases use
_ROW = 512  # figures a row, about


class Columns:
    """Pixels by channels, shape (pixels, channels), seen as rows of several pixels."""

    def __init__(self, pixels: int, channels: int):
        self._pixels, self._channels = pixels, channels
        wanted = max(1, _ROW // channels)
        self._pixels_a_row = next(count for count in range(wanted, 0, -1) if pixels % count == 0)

    def rows(self, x: Tensor) -> Tensor:
        """Return contiguous (pixels, channels) as rows of several pixels; a view."""
        return x.view(-1, self._pixels_a_row * self._channels)

    def repeated(self, figures: Tensor) -> Tensor:
        """Return a figure a channel, repeated along a row."""
        return figures.expand(self._pixels_a_row, self._channels).reshape(-1)

    def sums(self, rows: Tensor) -> Tensor:
        """Return the sum over all pixels, a figure a channel."""
        return rows.sum(0).view(self._pixels_a_row, self._channels).sum(0)

    def centre(self, rows: Tensor) -> Tensor:
        """Take the mean from every channel, in place, and return the inverse of its deviation as batch normalisation has it."""
        rows -= self.repeated(self.sums(rows) / self._pixels)
        return torch.rsqrt(self.sums(rows * rows) / self._pixels + EPSILON)


def pixels(x: Tensor) -> Tensor:
    """Return (N, C, H, W), channels last in memory, as contiguous (N H W, C): a view then, else a copy."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).contiguous()


def images(x: Tensor, like: Tensor) -> Tensor:
    """Return (N H W, C) as (N, C, H, W) of the images of `like`, channels last in memory: a view."""
    count, _, height, width = like.shape
    return x.view(count, height, width, x.shape[1]).permute(0, 3, 1, 2)
