"""Fashion-MNIST in MNIST's idx format: four bytes for the type and the number of dimensions, big-endian lengths, then the data."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.training.images.dataset import DamagedImages, Dataset, MissingImages, Part, in_memory

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
COUNTS = {"train": 60_000, "t10k": 10_000}
CLASSES = 10
_UNSIGNED_BYTES = 8
_REMEDY = (
    "get it with `apt-get install dataset-fashion-mnist`, or torchvision.datasets.FashionMNIST(FOLDER, download=True) and "
    "set BUDGETNAS_IMAGES=FOLDER"
)


def load_fashion_mnist(name: str, folder: Path) -> Dataset:
    """Return Fashion-MNIST from its four files, with or without `.gz`.

    They may be in `folder`, in torchvision's subfolder `FashionMNIST/raw`, in `fashion-mnist`, or where Debian's package puts them.

    Raises:
        MissingImages: a file is missing.
        DamagedImages: a file cannot be read or has other contents.
    """
    places = [folder / "FashionMNIST" / "raw", folder / "fashion-mnist", folder, DEBIAN]
    place = next((place for place in places if _found(place / "train-images-idx3-ubyte")), None)
    if place is None:
        raise MissingImages(f"Fashion-MNIST is neither in {folder} nor in {DEBIAN}; {_REMEDY}")
    train, test = (_part(place, part) for part in COUNTS)
    return in_memory(name, train, test, CLASSES)


def _part(place: Path, part: str) -> Part:
    count = COUNTS[part]
    pixels = read_idx(place / f"{part}-images-idx3-ubyte", (count, 28, 28))
    labels = read_idx(place / f"{part}-labels-idx1-ubyte", (count,))
    if labels.max() >= CLASSES:
        raise DamagedImages(f"{place}: {part}-labels-idx1-ubyte has the label {labels.max()}; expected 0 to {CLASSES - 1}; {_REMEDY}")
    return Part(pixels[:, None], labels.astype(np.int64))


def _found(path: Path) -> Path | None:
    return next((each for each in (path, path.with_name(f"{path.name}.gz")) if each.is_file()), None)


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the array in an idx file of unsigned bytes, with or without `.gz`.

    Raises:
        MissingImages: there is no such file.
        DamagedImages: it cannot be read, or its array does not have this `shape`.
    """
    found = _found(path)
    if found is None:
        raise MissingImages(f"{path} is missing; {_REMEDY}")
    start = struct.pack(f">4B{len(shape)}I", 0, 0, _UNSIGNED_BYTES, len(shape), *shape)
    length = len(start) + math.prod(shape)
    try:
        # Read one byte more than expected, and no more, so that an endless compressed file does not block.
        with gzip.open(found) if found.suffix == ".gz" else found.open("rb") as stream:
            data = stream.read(length + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedImages(f"{found} cannot be read ({error}); {_REMEDY}") from None
    if data[: len(start)] != start:
        sides = " x ".join(map(str, shape))
        raise DamagedImages(f"{found} does not begin like an idx file of {sides} unsigned bytes; {_REMEDY}")
    if len(data) != length:
        raise DamagedImages(f"{found} is {'too short' if len(data) < length else 'too long'}: expected {length} bytes; {_REMEDY}")
    return np.frombuffer(data, np.uint8, offset=len(start)).reshape(shape)
