"""The order in which the images of an epoch are seen: from (seed, epoch) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STREAM = 7  # keeps these random numbers apart from those that another use draws from a seed and an epoch


def generator_of(seed: int, epoch: int) -> np.random.Generator:
    """Return the generator that an epoch's order and augmentation are drawn from."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([_STREAM, seed, epoch])))


def order_of(images: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return a shuffle that does not depend on how a library implements its own: uniform numbers, sorted."""
    return np.argsort(rng.random(images), kind="stable")


def bounds(images: int, batch: int, shuffled: bool) -> list[tuple[int, int]]:
    """Return where each batch of an epoch starts and stops."""
    found = [(start, min(start + batch, images)) for start in range(0, images, batch)]
    if shuffled and len(found) > 1 and found[-1][1] - found[-1][0] == 1:
        found.pop()
    return found


def torch_seed(stream: int, *numbers: int) -> int:
    """Return a seed for torch's global generator that differs with every number."""
    return int(np.random.SeedSequence([stream, *numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))
