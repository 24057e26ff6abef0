"""The files of Fashion-MNIST: they are read exactly, and refused if they are damaged or incomplete."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.harness.training.images import idx
from budgetnas.harness.training.images.dataset import DamagedImages, MissingImages, Part


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six training and four test images in torchvision's layout."""
    monkeypatch.setattr(idx, "COUNTS", {"train": 6, "t10k": 4})
    monkeypatch.setattr(idx, "DEBIAN", tmp_path / "nowhere")
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in idx.COUNTS.items():
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(rng.integers(0, 256, (count, 28, 28))))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(count)))
    return tmp_path


def test_pixels_labels_and_normalisation_are_those_of_the_files(folder: Path) -> None:
    found = idx.load_fashion_mnist("fashion-mnist", folder)
    assert isinstance(found.train, Part) and isinstance(found.test, Part)
    raw = (folder / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").read_bytes()[16:]
    assert found.train.pixels.shape == (6, 1, 28, 28)
    assert found.train.pixels.tobytes() == raw
    assert found.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert (len(found.test), found.validation, found.classes) == (4, None, 10)
    pixels = found.train.pixels.astype(float) / 255
    assert found.mean == pytest.approx((pixels.mean(),), rel=1e-12)
    assert found.deviation == pytest.approx((pixels.std(),), rel=1e-12)


def test_compressed_files_give_the_same_images(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    for path in (folder / "FashionMNIST" / "raw").iterdir():
        (packed / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert idx.load_fashion_mnist("fashion-mnist", packed).checksum == idx.load_fashion_mnist("fashion-mnist", folder).checksum


@given(data=st.data())
def test_a_truncated_file_or_a_changed_header_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("idx") / "images"
    whole = idx_bytes(np.arange(12).reshape(3, 2, 2))
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        position, bit = data.draw(st.integers(0, 15)), data.draw(st.integers(0, 7))
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
    with pytest.raises(DamagedImages, match="apt-get install dataset-fashion-mnist"):
        idx.read_idx(path, (3, 2, 2))


def test_a_file_longer_than_its_header_states_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(idx_bytes(np.zeros((3, 2, 2))) + b"\0")
    with pytest.raises(DamagedImages, match="images is too long: expected 28 bytes"):
        idx.read_idx(tmp_path / "images", (3, 2, 2))


def test_a_truncated_archive_is_refused(folder: Path) -> None:
    path = folder / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-12])
    path.unlink()
    with pytest.raises(DamagedImages, match=r"t10k-labels-idx1-ubyte.gz cannot be read .*; get it with"):
        idx.load_fashion_mnist("fashion-mnist", folder)


def test_a_label_out_of_range_is_refused(folder: Path) -> None:
    (folder / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 2, 10])))
    with pytest.raises(DamagedImages, match="has the label 10; expected 0 to 9"):
        idx.load_fashion_mnist("fashion-mnist", folder)


def test_errors_for_a_missing_dataset_or_file_explain_how_to_get_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingImages, match=r"Fashion-MNIST is neither in .*empty nor in .*; get it with `apt-get install"):
        idx.load_fashion_mnist("fashion-mnist", tmp_path / "empty")
    (folder / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(MissingImages, match="t10k-images-idx3-ubyte is missing; get it with"):
        idx.load_fashion_mnist("fashion-mnist", folder)


@pytest.mark.slow
@pytest.mark.skipif(not idx.DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_published_images_of_debian(tmp_path: Path) -> None:
    found = idx.load_fashion_mnist("fashion-mnist", tmp_path)
    assert (len(found.train), len(found.test)) == (60_000, 10_000)
    assert np.bincount(found.train.labels).tolist() == [6_000] * 10
    assert np.bincount(found.test.labels).tolist() == [1_000] * 10
    assert found.mean == pytest.approx((0.2860,), abs=1e-4)  # the commonly quoted value
    assert found.deviation == pytest.approx((0.3530,), abs=1e-4)
    assert found.checksum == "70e0d607e0a058812453b2c9dc4dd5f736595ad6356015eb24387d4dee7ddfc9"
