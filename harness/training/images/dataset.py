"""An image dataset, independent of the files that it was read from."""

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
    """Image files that are truncated, changed, or of another dataset; the message names them and how to get them again."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Images in memory: `pixels` (images, channels, side, side), from 0 to the dataset's `brightest`, and `labels` (images,), from 0."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Positions) -> Part:
        """Return the images at `positions`, in that order."""
        return Part(self.pixels[positions], self.labels[positions])

    def checksum(self) -> str:
        """Return the sha256 of the shape, all pixels and all labels."""
        digest = hashlib.sha256(f"{self.pixels.shape}".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class FolderPart:
    """Images that stay in files below `root`, because they do not fit into memory; `labels` (images,), from 0."""

    root: Path
    files: tuple[str, ...]  # relative to the root, with slashes
    sizes: tuple[int, ...]  # bytes
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Positions) -> FolderPart:
        """Return the images at `positions`, in that order."""
        chosen = [int(position) for position in positions]
        return FolderPart(
            self.root, tuple(self.files[i] for i in chosen), tuple(self.sizes[i] for i in chosen), self.labels[np.array(chosen, int)]
        )

    def checksum(self) -> str:
        """Return the sha256 of the names, sizes and labels of all files. Reading all of ImageNet could take longer than a trial."""
        digest = hashlib.sha256()
        for file, size, label in zip(self.files, self.sizes, self.labels.tolist(), strict=True):
            digest.update(f"{file}\t{size}\t{label}\n".encode())
        return digest.hexdigest()


AnyPart: TypeAlias = Part | FolderPart


@dataclass(frozen=True, eq=False)
class Dataset:
    """An image dataset: its training part, its test part, and its validation part if it has one.

    The input of a network is (value / brightest - mean) / deviation for each pixel value, with `mean` and `deviation` per channel.
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
        """The sha256 of all parts as loaded. It is part of identities."""
        parts = (self.train, self.validation, self.test)
        text = "\n".join([self.name, *("none" if part is None else part.checksum() for part in parts)])
        return hashlib.sha256(text.encode()).hexdigest()


def in_memory(name: str, train: Part, test: Part, classes: int, brightest: float = 255.0, validation: Part | None = None) -> Dataset:
    """Return a dataset in memory, normalised by the exact mean and standard deviation of its training pixels."""
    means, deviations = [], []
    for channel in range(train.pixels.shape[1]):
        # With counts all sums are whole numbers, so that no machine rounds them.
        counts = np.bincount(train.pixels[:, channel].ravel(), minlength=256).tolist()
        total = sum(counts)
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        variance = (second * total - first * first) / total**2
        means.append(first / total / brightest)
        deviations.append((variance**0.5 or 1.0) / brightest)
    return Dataset(name, train, test, validation, classes, brightest, tuple(means), tuple(deviations))
