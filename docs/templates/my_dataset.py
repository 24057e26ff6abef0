"""Images from one NumPy file. Copy this file to `harness/training/images/` and register it.

The file `my-dataset.npz` in the folder of images holds `train_images` and `test_images`, uint8 of
shape (images, channels, side, side), and `train_labels` and `test_labels`, whole numbers from 0.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from budgetnas.harness.training.images.dataset import (
    DamagedImages,
    Dataset,
    MissingImages,
    Part,
    in_memory,
)

CLASSES = 3


def load_my_dataset(name: str, folder: Path) -> Dataset:
    """Return the images. Raises `MissingImages` or `DamagedImages`, in one line with the remedy."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise MissingImages(
            f"the images of {name} are not at {path}; put the file there,"
            " or name its folder in $BUDGETNAS_IMAGES"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            train, test = (
                Part(file[f"{part}_images"], file[f"{part}_labels"].astype(np.int64))
                for part in ("train", "test")
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedImages(f"{path} cannot be read ({error}); get it again") from None
    return in_memory(name, train, test, classes=CLASSES)
