"""The handwritten digits that come with scikit-learn: 1,797 images of 8x8 pixels in ten classes, with a fixed split. No download."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

IMAGES = 1797
BRIGHTEST = 16.0  # the original pixels are 0 to 16; they are divided by this
_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class MissingImages(ValueError):
    """Images that are missing, or are not those of the benchmark; the message gives the remedy."""


@dataclass(frozen=True, slots=True)
class Images:
    """A part of the images: `pixels` (images, 8, 8) from 0 to 1, and `labels` (images,) from 0 to 9."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """The images for training, validation and test."""

    train: Images
    validation: Images
    test: Images


@cache
def digits_split(train: int, validation: int, test: int, seed: int) -> Split:
    """Return the images in three parts of the given sizes, after one shuffle by Python's generator with `seed`.

    Raises:
        MissingImages: scikit-learn is not installed, or has other images.
        ValueError: the sizes do not add up to 1,797.
    """
    if train + validation + test != IMAGES or min(train, validation, test) < 1:
        raise ValueError(f"the parts have {train}, {validation} and {test} images; give three numbers above 0 that add up to {IMAGES}")
    pixels, labels = _images()
    order = list(range(IMAGES))
    # The shuffle of the standard library is the same in all versions of Python; the order of nasbench201's cells relies on it too.
    random.Random(seed).shuffle(order)
    parts = np.split(np.array(order), [train, train + validation])
    first, second, third = (Images(pixels[part], labels[part]) for part in parts)
    return Split(first, second, third)


def _images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return all pixels and labels in scikit-learn's order, after a check."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingImages(
            "scikit-learn, which brings the images of digits, is not installed; run `pip install budgetnas[train]`"
        ) from None
    found = load_digits()
    pixels, labels = found.images.astype(np.uint8), found.target.astype(np.uint8)
    if hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest() != _SHA256:
        raise MissingImages("scikit-learn's digits are not the 1,797 images of digits201; install another version of scikit-learn")
    return pixels.astype(np.float32) / np.float32(BRIGHTEST), labels.astype(np.int64)
