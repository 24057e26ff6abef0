"""Augmentation and normalisation of whole batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from budgetnas.harness.training.images.augmentation import Augmentation


@dataclass(frozen=True, slots=True)
class Draws:
    """The random choices for some images. Each is a tensor of shape (images,).

    Attributes:
        row: first row of the crop, in the image with its margin of zeros.
        column: first column of the crop.
        flipped: whether the image is mirrored from left to right, after the crop.
        cut_row: row of the pixel at the centre of cutout.
        cut_column: its column.
    """

    row: Tensor
    column: Tensor
    flipped: Tensor
    cut_row: Tensor
    cut_column: Tensor

    def take(self, start: int, stop: int) -> Draws:
        """Return the choices for the images `start` to `stop - 1`."""
        return Draws(*(getattr(self, name)[start:stop] for name in self.__slots__))


def draws(augmentation: Augmentation, images: int, side: int, rng: np.random.Generator, device: torch.device) -> Draws:
    """Return the random choices for an epoch. They are drawn on the processor, so that they are the same for every device."""
    span = 2 * augmentation.crop + 1
    uniforms = rng.random((5, images))
    whole = (uniforms * np.array([[span], [span], [2], [side], [side]])).astype(np.int64)
    row, column, flipped, cut_row, cut_column = torch.from_numpy(whole).to(device)
    return Draws(row, column, (flipped == 0) & augmentation.flip, cut_row, cut_column)


def augmented(pixels: Tensor, augmentation: Augmentation, drawn: Draws) -> Tensor:
    """Return the images, uint8 (N, C, S, S), after crops and flips. Cutout follows after normalisation, see `cut_out`."""
    margin, side = augmentation.crop, pixels.shape[-1]
    if margin == 0 and not augmentation.flip:
        return pixels
    padded = pad(pixels, (margin, margin, margin, margin))
    line = torch.arange(side, device=pixels.device)
    rows = drawn.row[:, None] + line
    columns = drawn.column[:, None] + torch.where(drawn.flipped[:, None], side - 1 - line, line)
    wide = side + 2 * margin
    places = (rows[:, :, None] * wide + columns[:, None, :]).view(len(pixels), 1, side * side)
    flat = padded.view(len(pixels), pixels.shape[1], wide * wide)
    return flat.gather(2, places.expand(-1, pixels.shape[1], -1)).view_as(pixels)


def cut_out(images: Tensor, length: int, drawn: Draws) -> Tensor:
    """Return normalised images (N, C, S, S) with a square of zeros, `length` pixels per side, around each drawn pixel."""
    if length == 0:
        return images
    line = torch.arange(images.shape[-1], device=images.device)
    rows = _within(line, drawn.cut_row, length)
    columns = _within(line, drawn.cut_column, length)
    return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _within(line: Tensor, centre: Tensor, length: int) -> Tensor:
    """Return which pixels of a line are in the square, (N, S): `length` pixels from centre - length // 2 on."""
    start = centre[:, None] - length // 2
    return (line >= start) & (line < start + length)


class Normalisation:
    """Normalises pixels per channel: (value / brightest - mean) / deviation, computed as one multiplication and one addition."""

    def __init__(self, brightest: float, mean: tuple[float, ...], deviation: tuple[float, ...], device: torch.device):
        factor = [1.0 / (brightest * each) for each in deviation]
        shift = [-first / second for first, second in zip(mean, deviation, strict=True)]
        self._factor = torch.tensor(factor, device=device).view(1, -1, 1, 1)
        self._shift = torch.tensor(shift, device=device).view(1, -1, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return normalised images, float32, for uint8 images (N, C, S, S)."""
        return torch.addcmul(self._shift, pixels.float(), self._factor)
