"""Batches of images on the training device. The order and augmentation of an epoch depend on (seed, epoch) alone.

A resumed training therefore gets the same images if it knows the number of its epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from budgetnas.harness.training.images.augment import Normalisation, augmented, cut_out, draws
from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.images.dataset import AnyPart, Dataset, Part
from budgetnas.harness.training.images.order import bounds, generator_of, order_of
from budgetnas.harness.training.images.splits import CannotSplit

_EVALUATED_TOGETHER = 256  # images


class CannotAugment(ValueError):
    """An augmentation that is not available for these images; the message names the available ones."""


class Batches(Protocol):
    """The images of a part in batches: normalised pixels (N, channels, side, side) and labels (N,), on the device."""

    @property
    def steps(self) -> int:
        """The number of batches per epoch."""

    @property
    def images(self) -> int:
        """The number of images."""

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, numbered from 0. They are the same in every call."""


def batches(
    dataset: Dataset, part: AnyPart, batch: int, *, seed: int, device: torch.device, augmentation: Augmentation | None = None
) -> Batches:
    """Return the batches of a part for training, with another order in each epoch.

    The last batch has the remaining images. If only one remains, it is left out, because batch normalisation cannot train on one image.

    Args:
        dataset: the dataset, for its normalisation.
        part: the part.
        batch: images per batch.
        seed: a whole number from 0.
        device: the device of the batches.
        augmentation: the augmentation, by default none.

    Raises:
        CannotSplit: the part has fewer than two images.
        CannotAugment: the augmentation is not available for images in memory.
    """
    if len(part) < 2:
        raise CannotSplit(f"training needs at least 2 images, and there are {len(part)}; choose a larger part")
    return _made(dataset, part, batch, augmentation or Augmentation(), device, seed)


def in_order(dataset: Dataset, part: AnyPart, device: torch.device, batch: int = _EVALUATED_TOGETHER) -> Batches:
    """Return the batches of a part for measuring accuracy: all images, in their order, without augmentation."""
    return _made(dataset, part, batch, Augmentation(), device, None)


def _made(dataset: Dataset, part: AnyPart, batch: int, augmentation: Augmentation, device: torch.device, seed: int | None) -> Batches:
    normalise = Normalisation(dataset.brightest, dataset.mean, dataset.deviation, device)
    if isinstance(part, Part):
        return _InMemory(part, batch, augmentation, device, seed, normalise)
    from budgetnas.harness.training.images.file_batches import FileBatches  # torchvision takes a second to import

    return FileBatches(part, dataset.name, batch, augmentation, device, seed, normalise)


class _InMemory:
    """Batches of images that are on the device as one tensor of bytes."""

    def __init__(
        self, part: Part, batch: int, augmentation: Augmentation, device: torch.device, seed: int | None, normalise: Normalisation
    ):
        if augmentation.resized_crop or augmentation.jitter or augmentation.hue_jitter:
            raise CannotAugment("resized_crop, jitter and hue_jitter are for images in files; use crop, flip and cutout for this dataset")
        side = part.pixels.shape[-1]
        if augmentation.cutout - augmentation.cutout // 2 >= side and augmentation.cutout // 2 >= side - 1:
            raise CannotAugment(
                f"a cutout of {augmentation.cutout} pixels clears images of {side} pixels per side entirely; choose a smaller one"
            )
        self._pixels = torch.from_numpy(np.require(part.pixels, requirements=["C", "W"])).to(device)
        self._labels = torch.from_numpy(part.labels).to(device)
        self._bounds = bounds(len(part), batch, seed is not None)
        self._augmentation = augmentation
        self._seed = seed
        self._normalise = normalise

    @property
    def steps(self) -> int:
        """The number of batches per epoch."""
        return len(self._bounds)

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self._labels)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, numbered from 0."""
        images, side, device = len(self._labels), self._pixels.shape[-1], self._pixels.device
        if self._seed is None:
            for start, stop in self._bounds:
                yield self._normalise(self._pixels[start:stop]), self._labels[start:stop]
            return
        rng = generator_of(self._seed, number)
        order = torch.from_numpy(order_of(images, rng)).to(device)
        drawn = draws(self._augmentation, images, side, rng, device)
        for start, stop in self._bounds:
            chosen, of_batch = order[start:stop], drawn.take(start, stop)
            pixels = augmented(self._pixels[chosen], self._augmentation, of_batch)
            yield cut_out(self._normalise(pixels), self._augmentation.cutout, of_batch), self._labels[chosen]
