"""CIFAR-10 and CIFAR-100, in either of their published forms: Python pickles or binary rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from budgetnas.harness.training.images.dataset import DamagedImages, Dataset, MissingImages, Part, in_memory
from budgetnas.harness.training.images.pickled import check_count, joined, read_batch

SHAPE = (3, 32, 32)
COUNTS = (50_000, 10_000)


@dataclass(frozen=True, slots=True)
class _Edition:
    """The published files of one of the datasets. A binary row has `label_bytes` labels, of which the last is used, and the pixels."""

    title: str
    classes: int
    pickled: str
    binary: str
    labels_key: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int

    @property
    def remedy(self) -> str:
        return (
            f"get {self.title} with torchvision.datasets.{self.title.replace('-', '')}(FOLDER, download=True) and set "
            "BUDGETNAS_IMAGES=FOLDER, or unpack it from https://www.cs.toronto.edu/~kriz/cifar.html"
        )


_CIFAR10 = _Edition(
    title="CIFAR-10", classes=10, pickled="cifar-10-batches-py", binary="cifar-10-batches-bin", labels_key="labels",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)), test=("test_batch",), label_bytes=1,
)  # fmt: skip
_CIFAR100 = _Edition(
    title="CIFAR-100", classes=100, pickled="cifar-100-python", binary="cifar-100-binary", labels_key="fine_labels",
    train=("train",), test=("test",), label_bytes=2,
)  # fmt: skip


def load_cifar10(name: str, folder: Path) -> Dataset:
    """Return CIFAR-10 from `cifar-10-batches-py` or `cifar-10-batches-bin` in `folder`, or from the folder itself.

    Raises MissingImages if a file is missing, DamagedImages if one cannot be read or has other contents.
    """
    return _load(name, folder, _CIFAR10)


def load_cifar100(name: str, folder: Path) -> Dataset:
    """Return CIFAR-100, with fine labels, from `cifar-100-python` or `cifar-100-binary` in `folder`, or from the folder itself.

    Raises MissingImages if a file is missing, DamagedImages if one cannot be read or has other contents.
    """
    return _load(name, folder, _CIFAR100)


def _load(name: str, folder: Path, edition: _Edition) -> Dataset:
    for place in (folder / edition.pickled, folder / edition.binary, folder):
        for suffix in ("", ".bin"):
            if (place / f"{edition.test[0]}{suffix}").is_file():
                train, test = (_part(place, names, suffix, edition) for names in (edition.train, edition.test))
                for part, count in zip((train, test), COUNTS, strict=True):
                    check_count(place, part, count, edition.classes, edition.remedy)
                return in_memory(name, train, test, edition.classes)
    raise MissingImages(f"{edition.title} is not in {folder}; {edition.remedy}")


def _part(place: Path, names: tuple[str, ...], suffix: str, edition: _Edition) -> Part:
    if suffix:
        return joined([_binary(place / f"{name}{suffix}", edition) for name in names])
    return joined([read_batch(place / name, edition.labels_key, SHAPE, edition.remedy) for name in names])


def _binary(path: Path, edition: _Edition) -> Part:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError:
        raise MissingImages(f"{path} is missing; {edition.remedy}") from None
    except OSError as error:
        raise DamagedImages(f"{path} cannot be read ({error.strerror}); {edition.remedy}") from None
    row = edition.label_bytes + SHAPE[0] * SHAPE[1] * SHAPE[2]
    if len(data) == 0 or len(data) % row:
        raise DamagedImages(f"{path} has {len(data)} bytes, which is not a whole number of rows of {row} bytes; {edition.remedy}")
    rows = data.reshape(-1, row)
    return Part(rows[:, edition.label_bytes :].reshape(-1, *SHAPE), rows[:, edition.label_bytes - 1].astype(np.int64))
