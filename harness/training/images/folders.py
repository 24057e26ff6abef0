"""ImageNet and Tiny ImageNet, with one file per image. The files are listed here, and opened only during training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from budgetnas.harness.training.images.dataset import DamagedImages, Dataset, FolderPart, MissingImages

SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
# Mean and standard deviation of ImageNet's training pixels, the normalisation of torchvision's models.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_IMAGENET = (
    "get ImageNet (ILSVRC 2012) from https://image-net.org/download-images (an account is needed), and set BUDGETNAS_IMAGES=FOLDER with "
    "imagenet/train/CLASS/*.JPEG and imagenet/val/CLASS/*.JPEG in it"
)
_TINY = "get it from http://cs231n.stanford.edu/tiny-imagenet-200.zip, unpack it in a folder and set BUDGETNAS_IMAGES=FOLDER"


def load_imagenet(name: str, folder: Path) -> Dataset:
    """Return ImageNet from `imagenet/train` and `imagenet/val`, each with one folder per class. Labels follow the order of class names.

    Raises MissingImages if it is not in `folder`, DamagedImages if images of a class are missing.
    """
    root = folder / "imagenet"
    if not (root / "train").is_dir():
        raise MissingImages(f"ImageNet is not in {folder}; {_IMAGENET}")
    classes = _classes(root / "train", _IMAGENET)
    train = _part(root, _by_class(root, "train", classes, _IMAGENET), _IMAGENET)
    test = _part(root, _by_class(root, "val", classes, _IMAGENET), _IMAGENET)
    return _dataset(name, train, test, len(classes))


def load_tiny_imagenet(name: str, folder: Path) -> Dataset:
    """Return Tiny ImageNet from `tiny-imagenet-200`, in its published form. Its validation images, listed in a file, are the test part.

    Raises MissingImages if it is not in `folder`, DamagedImages if images or lines of the list are wrong.
    """
    root = folder / "tiny-imagenet-200"
    if not (root / "train").is_dir():
        raise MissingImages(f"Tiny ImageNet is not in {folder}; {_TINY}")
    classes = _classes(root / "train", _TINY)
    train = _part(root, _by_class(root, "train", classes, _TINY), _TINY)
    test = _part(root, list(_annotated(root, classes)), _TINY)
    return _dataset(name, train, test, len(classes))


def _dataset(name: str, train: FolderPart, test: FolderPart, classes: int) -> Dataset:
    return Dataset(name, train, test, None, classes, brightest=255.0, mean=MEAN, deviation=DEVIATION)


def _classes(train: Path, remedy: str) -> dict[str, int]:
    found = sorted(entry.name for entry in train.iterdir() if entry.is_dir())
    if not found:
        raise DamagedImages(f"{train} has no class folders; {remedy}")
    return {name: label for label, name in enumerate(found)}


def _by_class(root: Path, part: str, classes: dict[str, int], remedy: str) -> list[tuple[Path, int]]:
    found = []
    for name, label in classes.items():
        files = sorted(path for path in (root / part / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise DamagedImages(f"{root / part / name} has no images; {remedy}")
        found += [(path, label) for path in files]
    return found


def _annotated(root: Path, classes: dict[str, int]) -> Iterator[tuple[Path, int]]:
    """Yield the images in `val/val_annotations.txt`. A line has a file name, its class and an unused box, separated by tabs."""
    listing = root / "val" / "val_annotations.txt"
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise MissingImages(f"{listing} is missing or not a text file; {_TINY}") from None
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.partition("\t")
        label = classes.get(rest.partition("\t")[0])
        if label is None or "/" in name or Path(name).suffix.lower() not in SUFFIXES:
            raise DamagedImages(f"{listing}, line {number}: '{line:.60}' does not begin with the name of an image and a class; {_TINY}")
        yield root / "val" / "images" / name, label


def _part(root: Path, found: list[tuple[Path, int]], remedy: str) -> FolderPart:
    try:
        sizes = tuple(path.stat().st_size for path, _ in found)
    except OSError as error:
        raise DamagedImages(f"{error.filename} is listed but cannot be read; {remedy}") from None
    files = tuple(path.relative_to(root).as_posix() for path, _ in found)
    return FolderPart(root, files, sizes, np.array([label for _, label in found], np.int64))
