"""Loads the images of a dataset: finds, reads and checks them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from budgetnas.harness.training.images.cifar import load_cifar10, load_cifar100
from budgetnas.harness.training.images.dataset import AnyPart, DamagedImages, Dataset, MissingImages, Part
from budgetnas.harness.training.images.folders import load_imagenet, load_tiny_imagenet
from budgetnas.harness.training.images.handwritten import load_digits
from budgetnas.harness.training.images.idx import load_fashion_mnist
from budgetnas.harness.training.images.imagenet16 import load_imagenet16
from budgetnas.spaces.tables.home import data_home
from budgetnas.spaces.task import Task

LOADERS: Mapping[str, Callable[[str, Path], Dataset]] = {
    "digits": load_digits,
    "digits201": load_digits,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "ImageNet16-120": load_imagenet16,
    "tiny-imagenet": load_tiny_imagenet,
    "imagenet": load_imagenet,
}


def images_folder() -> Path:
    """Return the folder of image datasets: `$BUDGETNAS_IMAGES`, or `images` in the data folder."""
    if chosen := os.environ.get("BUDGETNAS_IMAGES"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise MissingImages(f"BUDGETNAS_IMAGES is {chosen}, the home folder of an unknown user; set it to a readable folder") from None
    return data_home() / "images"


def load(task: Task, folder: Path | None = None) -> Dataset:
    """Return the images of a task's dataset, after a check. A process reads a dataset once.

    Args:
        task: the task.
        folder: the folder of image datasets, by default `images_folder()`.

    Raises:
        MissingImages: the images are missing; the message gives the remedy.
        DamagedImages: the files are damaged, or their image size, channels or classes are not those of the task.
    """
    if task.dataset not in LOADERS:
        raise MissingImages(f"there are no images of {task.dataset}, so nothing can be trained on it; choose one of {', '.join(LOADERS)}")
    found = _load(task.dataset, (folder or images_folder()).absolute())
    if found.classes != task.classes:
        raise DamagedImages(f"the images of {task.dataset} have {found.classes} classes; its networks have {task.classes}")
    for part in (found.train, found.test, found.validation):
        if part is not None:
            _check(task, part)
    return found


@lru_cache(maxsize=2)
def _load(name: str, folder: Path) -> Dataset:
    return LOADERS[name](name, folder)


def _check(task: Task, part: AnyPart) -> None:
    """Raise DamagedImages unless a part's shape and labels are those of the task."""
    if len(part) == 0:
        raise DamagedImages(f"a part of {task.dataset} has no images; get the dataset again")
    if part.labels.min() < 0 or part.labels.max() >= task.classes:
        found = f"{part.labels.min()} to {part.labels.max()}"
        raise DamagedImages(f"the images of {task.dataset} have the labels {found}; expected 0 to {task.classes - 1}")
    expected = (task.image_channels, task.image_size, task.image_size)
    if isinstance(part, Part) and part.pixels.shape[1:] != expected:
        shapes = [" x ".join(map(str, shape)) for shape in (part.pixels.shape[1:], expected)]
        raise DamagedImages(f"the images of {task.dataset} are {shapes[0]} (channels, height, width); its networks take {shapes[1]}")
    if isinstance(part, Part) and (part.pixels.dtype != np.uint8 or len(part.pixels) != len(part.labels)):
        found = f"{len(part.pixels)} images of type {part.pixels.dtype} and {len(part.labels)} labels"
        raise DamagedImages(f"{task.dataset} has {found}; expected images of type uint8, each with one label")
