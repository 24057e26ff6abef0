"""The batch files of CIFAR and ImageNet16: pickles of Python 2 and 3 and binary rows give the same images; errors are one line."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from budgetnas.harness.training.images import cifar, imagenet16
from budgetnas.harness.training.images.dataset import DamagedImages, Dataset, MissingImages, Part

Write = Callable[[Path, np.ndarray, "list[int]"], None]


def python2_batch(path: Path, rows: np.ndarray, labels: list[int], key: str = "labels") -> None:
    """Write a file as Python 2 does: protocol 2, byte strings with the opcodes for text, and the array as its raw string."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    shape = b"M" + struct.pack("<H", rows.shape[0]) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86"
    data_type = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + shape + data_type + b"\x89" + text(rows.tobytes()) + b"tb"
    listed = b"](" + b"".join(b"M" + struct.pack("<H", label) for label in labels) + b"e"
    path.write_bytes(b"\x80\x02}(" + text(b"data") + array + text(key.encode()) + listed + b"u.")


def python3_batch(path: Path, rows: np.ndarray, labels: list[int], key: str = "labels") -> None:
    path.write_bytes(pickle.dumps({"data": rows, key: labels, "batch_label": "a batch", "filenames": ["a", "b"]}))


def rows_and_labels(seed: int, count: int, side: int, classes: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3 * side * side)).astype(np.uint8), rng.integers(0, classes, count).tolist()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "COUNTS", (15, 3))


def write_cifar10(folder: Path, write: Write) -> None:
    folder.mkdir(parents=True)
    for number in range(1, 6):
        write(folder / f"data_batch_{number}", *rows_and_labels(number, 3, 32, 10))
    write(folder / "test_batch", *rows_and_labels(6, 3, 32, 10))


def cifar10_binary(path: Path, rows: np.ndarray, labels: list[int]) -> None:
    path.with_name(f"{path.name}.bin").write_bytes(
        b"".join(bytes([label]) + row.tobytes() for row, label in zip(rows, labels, strict=True))
    )


def test_all_three_forms_of_cifar10_give_the_same_images(tmp_path: Path, counts: None) -> None:
    for name, write, folder in (
        ("2", python2_batch, cifar._CIFAR10.pickled),
        ("3", python3_batch, cifar._CIFAR10.pickled),
        ("binary", cifar10_binary, cifar._CIFAR10.binary),
    ):
        write_cifar10(tmp_path / name / folder, write)
    found = [cifar.load_cifar10("cifar10", tmp_path / name) for name in ("2", "3", "binary")]
    assert len({each.checksum for each in found}) == 1
    check_first_image(found[0], rows_and_labels(1, 3, 32, 10), 32)
    # Files directly in the folder are found too.
    assert cifar.load_cifar10("cifar10", tmp_path / "2" / "cifar-10-batches-py").checksum == found[0].checksum


def check_first_image(found: Dataset, given: tuple[np.ndarray, list[int]], side: int) -> None:
    assert isinstance(found.train, Part)
    red, last = given[0][0].reshape(3, side, side)[0], given[0][0].reshape(3, side, side)[2]
    assert (found.train.pixels[0, 0] == red).all() and (found.train.pixels[0, 2] == last).all()
    assert found.train.labels[:3].tolist() == given[1]


def test_cifar100_has_fine_labels(tmp_path: Path, counts: None) -> None:
    pickled, binary = tmp_path / "pickled" / "cifar-100-python", tmp_path / "binary" / "cifar-100-binary"
    for folder in (pickled, binary):
        folder.mkdir(parents=True)
    for name, count in (("train", 15), ("test", 3)):
        rows, labels = rows_and_labels(count, count, 32, 100)
        python2_batch(pickled / name, rows, labels, key="fine_labels")
        content = b"".join(bytes([label // 5, label]) + row.tobytes() for row, label in zip(rows, labels, strict=True))
        (binary / f"{name}.bin").write_bytes(content)
    found = cifar.load_cifar100("cifar100", tmp_path / "pickled")
    assert found.checksum == cifar.load_cifar100("cifar100", tmp_path / "binary").checksum
    assert found.train.labels.tolist() == rows_and_labels(15, 15, 32, 100)[1]
    assert found.classes == 100


def test_imagenet16_keeps_the_first_120_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [1, 120, 121, 1000]
    rows, _ = rows_and_labels(0, 4, 16, 1)
    for name in (*imagenet16.TRAIN, *imagenet16.TEST):
        python3_batch(tmp_path / name, rows, labels)
    monkeypatch.setattr(imagenet16, "COUNTS", (20, 2))
    found = imagenet16.load_imagenet16("ImageNet16-120", tmp_path)
    assert isinstance(found.train, Part)
    assert found.train.labels.tolist() == [0, 119] * 10
    assert (found.train.pixels[1] == rows[1].reshape(3, 16, 16)).all()
    python3_batch(tmp_path / "val_data", rows, [0, 1, 2, 3])
    with pytest.raises(DamagedImages, match=r"val_data has the labels -1 to 2; expected 0 to 999; get ImageNet16 from"):
        imagenet16.load_imagenet16("ImageNet16-120", tmp_path)


# An array whose raw bytes are a text with a character above 255.
TEXT_NO_BYTES = (
    b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01K\x01\x86"
    b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R\x89X\x02\x00\x00\x00\xc4\x80tbu."
)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"data": Evil(), "labels": []}), "print; only numbers, strings, plain containers and numeric arrays are read"),
        (pickle.dumps([1]), "is not a batch of images: it has a value of type list, not a dictionary"),
        (pickle.dumps({"labels": [1]}), "'data' is not an array; expected rows of 3072 bytes, one per image"),
        (
            pickle.dumps({"data": np.zeros((2, 3072)), "labels": [1, 2]}),
            r"'data' is an array of type float64 and shape \(2, 3072\); expected rows of 3072 bytes",
        ),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}), "'labels' is not a list of 2 whole numbers"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": ["1"]}), "'labels' is not a list of 1 whole numbers"),
        (TEXT_NO_BYTES, "with data that are not the raw bytes of a numeric data type"),
        (b"\x80\x02}(U\x04da", "cut off, damaged or not a pickle"),
        (b"", "cut off, damaged or not a pickle"),
    ],
)
def test_a_damaged_batch_is_a_one_line_error_and_its_code_is_not_executed(
    tmp_path: Path, counts: None, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder, python3_batch)
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(DamagedImages, match=message) as raised:
        cifar.load_cifar10("cifar10", tmp_path)
    assert "data_batch_3" in str(raised.value) and "torchvision.datasets.CIFAR10(FOLDER, download=True)" in str(raised.value)
    assert "\n" not in str(raised.value) and capsys.readouterr().out == ""


def test_errors_for_missing_datasets_and_batches_explain_how_to_get_them(tmp_path: Path, counts: None) -> None:
    with pytest.raises(MissingImages, match=r"CIFAR-100 is not in .*; get CIFAR-100 with torchvision.datasets.CIFAR100\(FOLDER"):
        cifar.load_cifar100("cifar100", tmp_path)
    with pytest.raises(MissingImages, match=r"ImageNet16-120 is not in .*; get ImageNet16 from https://image-net.org"):
        imagenet16.load_imagenet16("ImageNet16-120", tmp_path)
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder, python3_batch)
    (folder / "data_batch_5").unlink()
    with pytest.raises(MissingImages, match="data_batch_5 is missing; get CIFAR-10 with"):
        cifar.load_cifar10("cifar10", tmp_path)


def test_a_dataset_of_another_size_is_refused(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py", python3_batch)
    with pytest.raises(DamagedImages, match="has 15 images; expected 50000"):
        cifar.load_cifar10("cifar10", tmp_path)


def test_a_truncated_binary_file_is_refused(tmp_path: Path, counts: None) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-bin", cifar10_binary)
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedImages, match=r"data_batch_2.bin has 9218 bytes, which is not a whole number of rows of 3073 bytes"):
        cifar.load_cifar10("cifar10", tmp_path)
