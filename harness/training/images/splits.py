"""Parts of parts: halves for a search, a validation part for retraining, subsets for small machines. Every class keeps its share."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.training.images.dataset import AnyPart, FolderPart, Part

SomePart = TypeVar("SomePart", Part, FolderPart, AnyPart)
_STREAM = 5  # keeps these random numbers apart from those that another use draws from the same seed


class CannotSplit(ValueError):
    """A split that leaves a side without images, or asks for more than there are; the message says what is allowed."""


def halves(part: SomePart, seed: int) -> tuple[SomePart, SomePart]:
    """Return the two halves that a search trains weights and architecture variables on (DARTS, A.1.1)."""
    first, second = split(part, len(part) // 2, seed)
    return second, first


def split(part: SomePart, count: int, seed: int) -> tuple[SomePart, SomePart]:
    """Return `count` images drawn at random, every class by its share to the nearest image, and the others, both in the order of the part.

    `CannotSplit` unless at least one image is on either side.
    """
    if not 0 < count < len(part):
        raise CannotSplit(f"{count} of {len(part)} images cannot be split off; choose 1 to {len(part) - 1}")
    return _parted(part, _quotas(part.labels, count), seed)


def subset(part: SomePart, count: int | None, seed: int) -> SomePart:
    """Return `count` images drawn at random, every class by its share; all of them if there are no more, or None is asked for."""
    return part if count is None or count >= len(part) else split(part, count, seed)[0]


def of_each_class(part: SomePart, count: int, seed: int) -> tuple[SomePart, SomePart]:
    """Return `count` images of every class drawn at random, and the others (RCAS, 4.1: ten a class to validate)."""
    sizes = np.bincount(part.labels)
    smallest = int(sizes.min())
    if not 0 < count < smallest:
        raise CannotSplit(
            f"{count} images of each class cannot be split off: the smallest class has {smallest}; choose 1 to {smallest - 1}"
        )
    return _parted(part, np.full(len(sizes), count), seed)


def _quotas(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return how many of `count` images each class gives: its exact share rounded down, and one more where the remainder is largest."""
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
