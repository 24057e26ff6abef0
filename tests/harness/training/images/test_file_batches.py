"""Images in files: the published layouts are read and checked, and batches do not depend on the number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

import torch

from budgetnas.harness.training.images.augment import Normalisation
from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.images.batches import batches, in_order
from budgetnas.harness.training.images.dataset import DamagedImages, FolderPart, MissingImages
from budgetnas.harness.training.images.file_batches import FileBatches
from budgetnas.harness.training.images.folders import load_imagenet, load_tiny_imagenet
from budgetnas.harness.training.images.load import load
from budgetnas.spaces.task import Task

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
CLASSES = ("n01", "n02", "n03")


def picture(path: Path, seed: int, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)).save(path)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with the layout of Tiny ImageNet and three classes, with lossless pictures."""
    root = tmp_path / "tiny-imagenet-200"
    for label, name in enumerate(CLASSES):
        for number in range(3):
            picture(root / "train" / name / "images" / f"{name}_{number}.png", 10 * label + number)
    for number, name in enumerate(reversed(CLASSES)):
        picture(root / "val" / "images" / f"val_{number}.png", 100 + number)
        with (root / "val" / "val_annotations.txt").open("a") as listing:
            listing.write(f"val_{number}.png\t{name}\t0\t0\t10\t10\n")
    return tmp_path


def test_tiny_imagenet_is_read_as_published(tiny: Path) -> None:
    found = load_tiny_imagenet("tiny-imagenet", tiny)
    assert isinstance(found.train, FolderPart)
    assert found.train.files[3:5] == ("train/n02/images/n02_0.png", "train/n02/images/n02_1.png")
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.test.labels.tolist() == [2, 1, 0]
    pixels, labels = next(in_order(found, found.test, CPU).epoch(0))
    assert labels.tolist() == [2, 1, 0]
    expected = np.random.default_rng(100).integers(0, 256, (64, 64, 3)).astype(np.uint8).transpose(2, 0, 1)
    mean, deviation = np.array(found.mean)[:, None, None], np.array(found.deviation)[:, None, None]
    np.testing.assert_allclose(pixels[0].numpy(), (expected / 255 - mean) / deviation, atol=1e-5)


@pytest.mark.parametrize("augmentation", [Augmentation(crop=4, flip=True, cutout=16), Augmentation(resized_crop=True, jitter=0.4)], ids=str)
def test_batches_do_not_depend_on_the_number_of_workers(tiny: Path, augmentation: Augmentation) -> None:
    data = load_tiny_imagenet("tiny-imagenet", tiny)
    assert isinstance(data.train, FolderPart)
    normalise = Normalisation(data.brightest, data.mean, data.deviation, CPU)
    made = [FileBatches(data.train, data.name, 4, augmentation, CPU, 7, normalise, workers=workers) for workers in (0, 2)]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    alone, beside = (list(each.epoch(1)) for each in made)
    assert torch.equal(torch.get_rng_state(), state)
    assert [pixels.shape for pixels, _ in alone] == [(4, 3, 64, 64), (4, 3, 64, 64)]
    for (pixels, labels), (others, other_labels) in zip(alone, beside, strict=True):
        assert torch.equal(pixels, others) and torch.equal(labels, other_labels)
    later = next(made[0].epoch(2))
    assert not torch.equal(later[0], alone[0][0])


def test_imagenet_has_one_folder_per_class(tmp_path: Path) -> None:
    for part, count in (("train", 2), ("val", 1)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                picture(tmp_path / "imagenet" / part / name / f"{part}{number}.JPEG", label, side=300)
    found = load_imagenet("imagenet", tmp_path)
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    pixels, _ = next(batches(found, found.train, 2, seed=0, device=CPU, augmentation=Augmentation(resized_crop=True)).epoch(0))
    assert pixels.shape == (2, 3, 224, 224)
    assert next(in_order(found, found.test, CPU).epoch(0))[0].shape == (3, 3, 224, 224)
    with pytest.raises(DamagedImages, match="the images of imagenet have 3 classes; its networks have 1000"):
        load(Task("imagenet", image_size=224, image_channels=3, classes=1000), tmp_path)


def test_missing_or_damaged_files_are_one_line_errors(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingImages, match=r"ImageNet is not in .*; get ImageNet .* from https://image-net.org"):
        load_imagenet("imagenet", tmp_path)
    root = tiny / "tiny-imagenet-200"
    listing = root / "val" / "val_annotations.txt"
    whole = listing.read_text()
    listing.write_text("../../secret.png\tn01\n")
    with pytest.raises(DamagedImages, match=r"line 1: '../../secret.png\tn01' does not begin with the name of an image and a class"):
        load_tiny_imagenet("tiny-imagenet", tiny)
    listing.write_text(whole + "val_9.png\tn01\n")
    with pytest.raises(DamagedImages, match=r"val_9.png is listed but cannot be read"):
        load_tiny_imagenet("tiny-imagenet", tiny)
    listing.write_text(whole)
    broken = root / "val" / "images" / "val_1.png"
    broken.write_bytes(broken.read_bytes()[:300])
    found = load_tiny_imagenet("tiny-imagenet", tiny)
    normalise = Normalisation(found.brightest, found.mean, found.deviation, CPU)
    assert isinstance(found.test, FolderPart)
    with pytest.raises(DamagedImages, match=r"val_1.png is not a complete image"):
        list(FileBatches(found.test, found.name, 4, Augmentation(), CPU, None, normalise, workers=0).epoch(0))
    listing.unlink()
    with pytest.raises(MissingImages, match=r"val_annotations.txt is missing or not a text file; get it from http"):
        load_tiny_imagenet("tiny-imagenet", tiny)
    # A checksum depends on names, sizes and labels.
    assert found.checksum != load_again(tiny, whole, broken).checksum


def load_again(tiny: Path, listing: str, broken: Path):  # type: ignore[no-untyped-def]
    (tiny / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text(listing)
    broken.write_bytes(broken.read_bytes() + b"\0")
    return load_tiny_imagenet("tiny-imagenet", tiny)
