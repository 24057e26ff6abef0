"""The order of the images in an epoch. It depends on (seed, epoch) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STREAM = 7  # separates these random numbers from other uses of a seed and an epoch


def generator_of(seed: int, epoch: int) -> np.random.Generator:
    """Return the generator for an epoch's order and augmentation."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([_STREAM, seed, epoch])))


def order_of(images: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return a random order of the images. It sorts uniform numbers, and so does not depend on a library's shuffle."""
    return np.argsort(rng.random(images), kind="stable")


def bounds(images: int, batch: int, shuffled: bool) -> list[tuple[int, int]]:
    """Return the start and stop of each batch in an epoch. If `shuffled`, a last batch of one image is left out."""
    found = [(start, min(start + batch, images)) for start in range(0, images, batch)]
    if shuffled and len(found) > 1 and found[-1][1] - found[-1][0] == 1:
        found.pop()
    return found


def torch_seed(stream: int, *numbers: int) -> int:
    """Return a seed for torch's global generator. It depends on the stream and on all numbers."""
    return int(np.random.SeedSequence([stream, *numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))
