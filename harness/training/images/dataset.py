"""A set of images as all training sees it, whichever files it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.training.images.digits import MissingImages

__all__ = ["AnyPart", "DamagedImages", "Dataset", "FolderPart", "MissingImages", "Part"]

Positions: TypeAlias = "NDArray[np.intp] | Sequence[int]"


class DamagedImages(ValueError):
    """Files of images that are cut off, edited, or of another set; the message says which and how to get them again."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Images held in memory: `pixels` (images, channels, side, side) from 0 to the set's brightest, `labels` (images,) from 0."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Positions) -> Part:
        """Return the images at some positions, in that order."""
        return Part(self.pixels[positions], self.labels[positions])

    def checksum(self) -> str:
        """Return the sha256 of the shape, all pixels and all labels."""
        digest = hashlib.sha256(f"{self.pixels.shape}".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class FolderPart:
    """Images that stay in their files below `root`, since all of them are too many for memory; `labels` (images,) from 0."""

    root: Path
    files: tuple[str, ...]  # relative to the root, with slashes
    sizes: tuple[int, ...]  # bytes
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Positions) -> FolderPart:
        """Return the images at some positions, in that order."""
        chosen = [int(position) for position in positions]
        return FolderPart(
            self.root, tuple(self.files[i] for i in chosen), tuple(self.sizes[i] for i in chosen), self.labels[np.array(chosen, int)]
        )

    def checksum(self) -> str:
        """Return the sha256 of every file's name, size and label: reading all of ImageNet for each trial would take longer than some."""
        digest = hashlib.sha256()
        for file, size, label in zip(self.files, self.sizes, self.labels.tolist(), strict=True):
            digest.update(f"{file}\t{size}\t{label}\n".encode())
        return digest.hexdigest()


AnyPart: TypeAlias = Part | FolderPart


@dataclass(frozen=True, eq=False)
class Dataset:
    """A set of images: what to train on, what to report (test), and where the set has such a part, what to choose by (validation).

    A pixel's value goes into a network as (value / brightest - mean) / deviation, channel by channel.
    """

    name: str
    train: AnyPart
    test: AnyPart
    validation: AnyPart | None
    classes: int
    brightest: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @cached_property
    def checksum(self) -> str:
        """The sha256 of all parts as loaded: part of every identity."""
        parts = (self.train, self.validation, self.test)
        text = "\n".join([self.name, *("none" if part is None else part.checksum() for part in parts)])
        return hashlib.sha256(text.encode()).hexdigest()


def in_memory(name: str, train: Part, test: Part, classes: int, brightest: float = 255.0, validation: Part | None = None) -> Dataset:
    """Return a set held in memory, normalised by the exact mean and standard deviation of its training pixels."""
    means, deviations = [], []
    for channel in range(train.pixels.shape[1]):
        # Counting values keeps all sums whole numbers, which every machine rounds alike: not at all.
        counts = np.bincount(train.pixels[:, channel].ravel(), minlength=256).tolist()
        total = sum(counts)
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        variance = (second * total - first * first) / total**2
        means.append(first / total / brightest)
        deviations.append((variance**0.5 or 1.0) / brightest)
    return Dataset(name, train, test, validation, classes, brightest, tuple(means), tuple(deviations))
