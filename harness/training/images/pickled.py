"""Reads batch files: pickles of a dictionary with an array and lists, written by Python 2 or 3. Code in them is not executed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.training.images.dataset import DamagedImages, MissingImages, Part
from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.tables.upstream.unpickle import load


def read_batch(path: Path, labels_key: str, shape: tuple[int, int, int], remedy: str) -> Part:
    """Return the images of a batch file.

    Args:
        path: the file. Its `data` has one row of bytes per image.
        labels_key: the key of its labels.
        shape: (channels, height, width) of an image.
        remedy: how to get the file; messages end with it.

    Raises:
        MissingImages: there is no such file.
        DamagedImages: it cannot be read or has other contents.
    """
    try:
        with path.open("rb") as stream:
            found = load(stream, str(path), encoding="latin1")
    except FileNotFoundError:
        raise MissingImages(f"{path} is missing; {remedy}") from None
    except OSError as error:
        raise DamagedImages(f"{path} cannot be read ({error.strerror}); {remedy}") from None
    except TableError as error:
        raise DamagedImages(f"{error}; {remedy}") from None
    if not isinstance(found, dict):
        raise DamagedImages(f"{path} is not a batch of images: it has a value of type {type(found).__name__}, not a dictionary; {remedy}")
    return Part(*_checked(path, found.get("data"), found.get(labels_key), labels_key, shape, remedy))


def _checked(
    path: Path, data: object, labels: object, labels_key: str, shape: tuple[int, int, int], remedy: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    length = shape[0] * shape[1] * shape[2]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != length:
        found = f"an array of type {data.dtype} and shape {data.shape}" if isinstance(data, np.ndarray) else "not an array"
        raise DamagedImages(f"{path}: 'data' is {found}; expected rows of {length} bytes, one per image; {remedy}")
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if not isinstance(labels, list) or len(labels) != len(data) or any(type(label) is not int for label in labels):
        raise DamagedImages(f"{path}: '{labels_key}' is not a list of {len(data)} whole numbers, one per image; {remedy}")
    return data.reshape(-1, *shape), np.array(labels, np.int64)


def joined(parts: list[Part]) -> Part:
    """Return the images of several parts as one part."""
    return Part(np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts]))


def check_count(place: Path, part: Part, count: int, classes: int, remedy: str) -> Part:
    """Return the part. Raises DamagedImages unless it has `count` images with labels from 0 to `classes` - 1."""
    if len(part) != count:
        raise DamagedImages(f"{place} has {len(part)} images; expected {count}; {remedy}")
    if part.labels.min() < 0 or part.labels.max() >= classes:
        raise DamagedImages(f"{place} has the labels {part.labels.min()} to {part.labels.max()}; expected 0 to {classes - 1}; {remedy}")
    return part
