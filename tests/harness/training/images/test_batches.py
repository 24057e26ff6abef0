"""Batches: they equal those of a slow reference that handles one image at a time, and an epoch is the same in every call."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch

from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.images.batches import CannotAugment, batches, in_order
from budgetnas.harness.training.images.dataset import Dataset, Part, in_memory
from budgetnas.harness.training.images.order import generator_of, order_of
from budgetnas.harness.training.images.splits import CannotSplit

CPU = torch.device("cpu")


def images(count: int, channels: int = 3, side: int = 7, seed: int = 0) -> Part:
    rng = np.random.default_rng(seed)
    return Part(rng.integers(0, 256, (count, channels, side, side)).astype(np.uint8), np.arange(count) % 5)


def dataset(count: int = 23) -> Dataset:
    return in_memory("some", images(count), images(4, seed=1), classes=5)


def slow(data: Dataset, part: Part, batch: int, seed: int, augmentation: Augmentation, epoch: int) -> list[tuple[np.ndarray, list[int]]]:
    """Return the batches of an epoch, made one image at a time, pixel by pixel, from the same random numbers."""
    rng = generator_of(seed, epoch)
    count, channels, side = len(part), part.pixels.shape[1], part.pixels.shape[2]
    order = order_of(count, rng)
    uniforms = rng.random((5, count))
    done = []
    for position, number in enumerate(order):
        row, column = (int(uniforms[i, position] * (2 * augmentation.crop + 1)) for i in (0, 1))
        flipped = augmentation.flip and uniforms[2, position] < 0.5
        cut_row, cut_column = (int(uniforms[i, position] * side) for i in (3, 4))
        result = np.zeros((channels, side, side), np.float32)
        for y in range(side):
            for x in range(side):
                from_x = side - 1 - x if flipped else x
                at_y, at_x = y + row - augmentation.crop, from_x + column - augmentation.crop
                inside = 0 <= at_y < side and 0 <= at_x < side
                start_y, start_x = cut_row - augmentation.cutout // 2, cut_column - augmentation.cutout // 2
                cut = start_y <= y < start_y + augmentation.cutout and start_x <= x < start_x + augmentation.cutout
                for channel in range(channels):
                    value = float(part.pixels[number, channel, at_y, at_x]) if inside else 0.0
                    normal = (value / 255 - data.mean[channel]) / data.deviation[channel]
                    result[channel, y, x] = 0.0 if cut else normal
        done.append((result, int(part.labels[number])))
    return [
        (np.stack([image for image, _ in done[start : start + batch]]), [label for _, label in done[start : start + batch]])
        for start in range(0, count, batch)
    ]


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), Augmentation(flip=True), Augmentation(crop=2), Augmentation(crop=3, flip=True, cutout=4), Augmentation(cutout=3)],
    ids=str,
)
def test_equal_to_the_slow_reference(augmentation: Augmentation) -> None:
    data = dataset()
    assert isinstance(data.train, Part)
    found = batches(data, data.train, 8, seed=3, device=CPU, augmentation=augmentation)
    for epoch in (0, 2):
        expected = slow(data, data.train, 8, 3, augmentation, epoch)
        for (pixels, labels), (slow_pixels, slow_labels) in zip(found.epoch(epoch), expected, strict=True):
            np.testing.assert_allclose(pixels.numpy(), slow_pixels, rtol=1e-5, atol=1e-5)
            assert labels.tolist() == slow_labels


def test_an_epoch_is_the_same_in_every_call_and_epochs_and_seeds_differ() -> None:
    data = dataset()
    found = batches(data, data.train, 8, seed=3, device=CPU, augmentation=Augmentation(crop=2, flip=True, cutout=2))
    first = [pixels for pixels, _ in found.epoch(5)]
    list(found.epoch(0))
    torch.manual_seed(1)
    assert all(torch.equal(again, once) for (again, _), once in zip(found.epoch(5), first, strict=True))
    other = batches(data, data.train, 8, seed=4, device=CPU)
    assert not torch.equal(next(iter(other.epoch(5)))[1], next(iter(found.epoch(5)))[1])
    assert not torch.equal(next(iter(found.epoch(6)))[1], next(iter(found.epoch(5)))[1])


def test_an_epoch_has_each_image_once_except_for_a_single_remaining_one() -> None:
    data = dataset(25)
    found = batches(data, data.train, 8, seed=0, device=CPU)
    assert (found.steps, found.images) == (3, 25)
    assert [len(labels) for _, labels in found.epoch(0)] == [8, 8, 8]
    found = batches(data, data.train, 7, seed=0, device=CPU)
    assert [len(labels) for _, labels in found.epoch(0)] == [7, 7, 7, 4]
    labels = torch.cat([labels for _, labels in found.epoch(0)])
    assert sorted(labels.tolist()) == sorted(data.train.labels.tolist())
    assert [len(labels) for _, labels in batches(data, data.train, 1000, seed=0, device=CPU).epoch(0)] == [25]


def test_in_order_has_all_images_normalised_but_not_augmented() -> None:
    data = dataset(9)
    assert isinstance(data.train, Part)
    found = in_order(data, data.train, CPU, batch=8)
    pixels, labels = (torch.cat(each) for each in zip(*found.epoch(0), strict=True))
    assert labels.tolist() == data.train.labels.tolist()
    # They are normalised by the exact mean and standard deviation of the training part, which is this part.
    np.testing.assert_allclose(pixels.numpy().mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(pixels.numpy().std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_too_few_images_and_unavailable_augmentation_are_refused() -> None:
    data = dataset()
    with pytest.raises(CannotSplit, match="training needs at least 2 images, and there are 1"):
        batches(data, data.train.take([0]), 8, seed=0, device=CPU)
    with pytest.raises(CannotAugment, match="resized_crop, jitter and hue_jitter are for images in files"):
        batches(data, data.train, 8, seed=0, device=CPU, augmentation=Augmentation(resized_crop=True))
