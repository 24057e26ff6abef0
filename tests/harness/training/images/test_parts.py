"""The training, validation and test images of a recipe; and its differences from the recipe of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from budgetnas.harness.training.images.dataset import Dataset, Part, in_memory
from budgetnas.harness.training.images.parts import parts_of
from budgetnas.harness.training.recipes.recipe import Override, Recipe, Subset, Validation, read_recipe
from budgetnas.harness.training.recipes.table_recipes import difference_line, differences, table_recipe


def recipe(**changes: Any) -> Recipe:
    return read_recipe("rcnet-cifar100").model_copy(update=changes)


def numbered(first: int, count: int) -> Part:
    pixels = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    return Part(pixels, np.arange(count) % 2)


def dataset(validation: bool = False) -> Dataset:
    return in_memory("cifar10", numbered(0, 40), numbered(100, 20), 2, validation=numbered(200, 10) if validation else None)


def numbers(part: Any) -> set[int]:
    return set(part.pixels[:, 0, 0, 0].tolist())


def test_a_share_of_the_training_images_is_for_validation() -> None:
    parts = parts_of(dataset(), recipe(validation=Validation(share=0.25)))
    assert (len(parts.train), len(parts.validation or ()), len(parts.test), parts.everything) == (30, 10, 20, None)
    assert numbers(parts.train) | numbers(parts.validation) == set(range(40))


def test_with_a_share_of_the_test_images_all_training_images_are_trained_on() -> None:
    parts = parts_of(dataset(), recipe(validation=Validation(part="test", share=0.5)))
    assert (len(parts.train), len(parts.validation or ()), len(parts.test)) == (40, 10, 10)
    assert numbers(parts.test) | numbers(parts.validation) == set(range(100, 120))


def test_per_class_takes_ten_images_of_each_class() -> None:
    parts = parts_of(dataset(validation=True), recipe(validation=Validation(per_class=10)))
    assert (len(parts.train), len(parts.validation or ())) == (20, 20)
    assert np.bincount(parts.validation.labels).tolist() == [10, 10]  # type: ignore[union-attr]


def test_a_dataset_keeps_its_validation_part_and_a_share_of_0_gives_none() -> None:
    assert numbers(parts_of(dataset(validation=True), recipe()).validation) == set(range(200, 210))
    nothing = parts_of(dataset(), recipe(validation=Validation(share=0.0)))
    assert nothing.validation is None and len(nothing.train) == 40


def test_with_test_on_all_a_second_network_trains_on_all_images() -> None:
    validation = Validation(share=0.5, test_on_all=True)
    parts = parts_of(dataset(), recipe(on={"cifar10": Override(validation=validation)}, images=Subset(train=30)))
    assert (len(parts.train), len(parts.validation or ()), len(parts.everything or ())) == (20, 20, 30)


def test_subsets_apply_to_each_part() -> None:
    parts = parts_of(dataset(), recipe(validation=Validation(share=0.5), images=Subset(train=6, validation=4, test=2)))
    assert (len(parts.train), len(parts.validation or ()), len(parts.test)) == (6, 4, 2)
    assert np.bincount(parts.train.labels).tolist() == [3, 3]


def test_the_recipe_of_the_table_has_no_differences() -> None:
    assert differences("nasbench201", "cifar100", read_recipe("nasbench201-200")) == []
    assert "by the same recipe as the table" in difference_line("nasbench201", "cifar100", read_recipe("nasbench201-200"))
    assert differences("darts", "cifar10", read_recipe("smoke")) == [] and table_recipe("darts", "cifar10") is None


def test_differences_have_both_values() -> None:
    assert differences("nasbench201", "ImageNet16-120", read_recipe("nasbench201-12")) == ["epochs 12, not 200"]
    found = differences("nasbench201", "digits201", read_recipe("smoke"))
    expected = (
        "epochs 3, not 6",
        "batch 32, not 64",
        "learning rate 0.05, not 0.1",
        "optimiser clip 5, not none",
        "augmentation crop 1, not 0",
    )
    assert found[:5] == list(expected) and found[5] == "training images 1000, not all"


@pytest.mark.parametrize("name", ["darts-cifar10", "rcdarts-cifar10", "rcnet-cifar100", "darts-imagenet", "rcnet-imagenet"])
def test_recipes_of_papers_that_train_on_all_images_have_no_validation_images(name: str) -> None:
    assert parts_of(dataset(), read_recipe(name)).validation is None
