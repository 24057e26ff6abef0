"""Splits of a part: halves for a search, a validation part for retraining, subsets for small machines. Classes keep their shares."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.training.images.dataset import AnyPart, FolderPart, Part

SomePart = TypeVar("SomePart", Part, FolderPart, AnyPart)
_STREAM = 5  # separates these random numbers from other uses of the same seed


class CannotSplit(ValueError):
    """A split that leaves a side empty, or needs more images than there are; the message gives the allowed numbers."""


def halves(part: SomePart, seed: int) -> tuple[SomePart, SomePart]:
    """Return two halves: a search trains weights on the first and architecture variables on the second (DARTS, A.1.1)."""
    first, second = split(part, len(part) // 2, seed)
    return second, first


def split(part: SomePart, count: int, seed: int) -> tuple[SomePart, SomePart]:
    """Return `count` random images and the remaining ones, both in the order of the part.

    Each class has its share of `count`, rounded up or down. Raises CannotSplit unless both sides have at least one image.
    """
    if not 0 < count < len(part):
        raise CannotSplit(f"{count} of {len(part)} images cannot be split off; choose 1 to {len(part) - 1}")
    return _parted(part, _quotas(part.labels, count), seed)


def subset(part: SomePart, count: int | None, seed: int) -> SomePart:
    """Return `count` random images, in which classes keep their shares. If `count` is None, or there are no more images, return all."""
    return part if count is None or count >= len(part) else split(part, count, seed)[0]


def of_each_class(part: SomePart, count: int, seed: int) -> tuple[SomePart, SomePart]:
    """Return `count` random images of each class, and the remaining images (RCAS, 4.1: ten per class for validation).

    Raises CannotSplit if the smallest class does not have more than `count` images.
    """
    sizes = np.bincount(part.labels)
    smallest = int(sizes.min())
    if not 0 < count < smallest:
        raise CannotSplit(
            f"{count} images of each class cannot be split off: the smallest class has {smallest}; choose 1 to {smallest - 1}"
        )
    return _parted(part, np.full(len(sizes), count), seed)


def _quotas(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the number of images of each class among `count`: its exact share, rounded by the largest remainders."""
    sizes = np.bincount(labels)
    quotas = sizes * count // len(labels)
    remainders = sizes * count % len(labels)
    quotas[np.argsort(-remainders, kind="stable")[: count - int(quotas.sum())]] += 1
    return quotas


def _parted(part: SomePart, quotas: NDArray[np.int64], seed: int) -> tuple[SomePart, SomePart]:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([_STREAM, seed])))
    chosen = np.zeros(len(part), bool)
    keys = rng.random(len(part))
    for label, quota in enumerate(quotas.tolist()):
        of_class = np.flatnonzero(part.labels == label)
        chosen[of_class[np.argsort(keys[of_class], kind="stable")[:quota]]] = True
    return part.take(np.flatnonzero(chosen)), part.take(np.flatnonzero(~chosen))
