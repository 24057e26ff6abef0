"""The handwritten digits that come with scikit-learn: 1,797 images of 8x8 pixels, ten classes, a fixed split. Nothing is downloaded."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

IMAGES = 1797
BRIGHTEST = 16.0  # pixels are 0 to 16 in the original; divided by this they are 0 to 1
_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class MissingImages(ValueError):
    """The images cannot be had, or they are not the ones that the benchmark was made of; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Images:
    """Part of the images: `pixels` in 0 to 1, shape (images, 8, 8), and `labels` 0 to 9, shape (images,)."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """The images to train on, to choose by (validation) and to report (test)."""

    train: Images
    validation: Images
    test: Images


@cache
def digits_split(train: int, validation: int, test: int, seed: int) -> Split:
    """Return the images in three parts of the given sizes, after one shuffle by Python's generator.

    `MissingImages` without scikit-learn or if its images are others; `ValueError` unless the parts are all 1,797 images.
    """
    if train + validation + test != IMAGES or min(train, validation, test) < 1:
        raise ValueError(f"parts of {train}, {validation} and {test} images; they must be positive and add up to {IMAGES}")
    pixels, labels = _images()
    order = list(range(IMAGES))
    # The standard library's shuffle is the same on every version of everything, as the order of nasbench201's cells shows.
    random.Random(seed).shuffle(order)
    parts = np.split(np.array(order), [train, train + validation])
    first, second, third = (Images(pixels[part], labels[part]) for part in parts)
    return Split(first, second, third)


def _images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return all pixels and labels in scikit-learn's order, checked."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingImages(
            "scikit-learn, which brings the images of digits, is not installed; run `pip install budgetnas[train]`"
        ) from None
    found = load_digits()
    pixels, labels = found.images.astype(np.uint8), found.target.astype(np.uint8)
    if hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest() != _SHA256:
        raise MissingImages("scikit-learn's digits are not the 1,797 images that digits201 was made of; install another version of it")
    return pixels.astype(np.float32) / np.float32(BRIGHTEST), labels.astype(np.int64)
