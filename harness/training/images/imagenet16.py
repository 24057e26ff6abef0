"""ImageNet16-120: the first 120 classes of ImageNet, downsampled to 16x16 pixels, as in NAS-Bench-201 (section 2.2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from budgetnas.harness.training.images.dataset import Dataset, MissingImages, Part, in_memory
from budgetnas.harness.training.images.pickled import check_count, joined, read_batch

SHAPE = (3, 16, 16)
CLASSES = 120
ALL_CLASSES = 1000
COUNTS = (151_700, 6_000)
TRAIN = tuple(f"train_data_batch_{number}" for number in range(1, 11))
TEST = ("val_data",)
_REMEDY = (
    "get ImageNet16 from https://image-net.org/download-images (downsampled, 16x16; an account is needed), and set "
    "BUDGETNAS_IMAGES=FOLDER with train_data_batch_1 to train_data_batch_10 and val_data in it, or in FOLDER/ImageNet16"
)


def load_imagenet16(name: str, folder: Path) -> Dataset:
    """Return the images of the first 120 classes. Labels count from 0, while the files count from 1.

    Raises MissingImages if a file is missing, DamagedImages if one cannot be read or has other contents.
    """
    place = next((place for place in (folder / "ImageNet16", folder) if (place / TEST[0]).is_file()), None)
    if place is None:
        raise MissingImages(f"ImageNet16-120 is not in {folder}; {_REMEDY}")
    train, test = (joined([_first_classes(place / file) for file in files]) for files in (TRAIN, TEST))
    for part, count in zip((train, test), COUNTS, strict=True):
        check_count(place, part, count, CLASSES, _REMEDY)
    return in_memory(name, train, test, CLASSES)


def _first_classes(path: Path) -> Part:
    whole = read_batch(path, "labels", SHAPE, _REMEDY)
    part = Part(whole.pixels, whole.labels - 1)
    check_count(path, part, len(part), ALL_CLASSES, _REMEDY)
    return part.take(np.flatnonzero(part.labels < CLASSES))
