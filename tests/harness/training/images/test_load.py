"""Datasets by name: the digits are those of the table, and datasets that do not fit their task are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from budgetnas.harness.training.images import load as images
from budgetnas.harness.training.images.dataset import DamagedImages, Dataset, MissingImages, Part, in_memory
from budgetnas.harness.training.images.load import images_folder, load
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe
from budgetnas.spaces.task import TASKS, Task, task_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["digits", "digits201"])
def test_the_digits_are_those_of_the_table(name: str) -> None:
    found, split = load(task_of(name)), digits201_recipe().images()
    for part, expected in ((found.train, split.train), (found.validation, split.validation), (found.test, split.test)):
        assert isinstance(part, Part)
        assert (part.pixels[:, 0].astype(np.float32) / np.float32(found.brightest) == expected.pixels).all()
        assert (part.labels == expected.labels).all()


def test_all_tasks_with_images_have_a_loader() -> None:
    assert set(images.LOADERS) == set(TASKS) - {"closed-form"}
    with pytest.raises(MissingImages, match="there are no images of closed-form, so nothing can be trained on it; choose one of digits"):
        load(task_of("closed-form"))


def test_the_folder_of_images_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    monkeypatch.delenv("BUDGETNAS_IMAGES", raising=False)
    assert images_folder() == tmp_path / "images"
    monkeypatch.setenv("BUDGETNAS_IMAGES", str(tmp_path / "elsewhere"))
    assert images_folder() == tmp_path / "elsewhere"
    with pytest.raises(MissingImages, match=r"CIFAR-10 is not in .*elsewhere; get CIFAR-10 with"):
        load(task_of("cifar10"))


def made(classes: int = 10, channels: int = 1, side: int = 8, label: int = 0) -> Dataset:
    part = Part(np.zeros((4, channels, side, side), np.uint8), np.full(4, label))
    return in_memory("digits", part, part, classes)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (made(classes=11), "the images of digits have 11 classes; its networks have 10"),
        (made(channels=3), r"are 3 x 8 x 8 \(channels, height, width\); its networks take 1 x 8 x 8"),
        (made(side=9), r"are 1 x 9 x 9 \(channels, height, width\); its networks take 1 x 8 x 8"),
        (made(label=10), "have the labels 10 to 10; expected 0 to 9"),
    ],
)
def test_datasets_that_do_not_fit_their_task_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: Dataset, message: str
) -> None:
    monkeypatch.setitem(images.LOADERS, "digits", lambda name, folder: found)  # type: ignore[arg-type]
    with pytest.raises(DamagedImages, match=message):
        load(Task("digits", image_size=8, image_channels=1, classes=10), tmp_path)


def test_the_checksum_depends_on_every_pixel_and_label() -> None:
    def checksum(pixel: int, label: int) -> str:
        part = Part(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64))
        other = Part(part.pixels.copy(), part.labels.copy())
        other.pixels[1, 0, 1, 1], other.labels[1] = pixel, label
        return in_memory("some", part, other, 2).checksum

    assert len({checksum(0, 0), checksum(1, 0), checksum(0, 1)}) == 3
    assert checksum(0, 0) == checksum(0, 0)
