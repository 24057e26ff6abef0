"""Recipes: the papers' values, checksums, and one-line messages for errors in a file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from budgetnas.harness.training.recipes.recipe import Recipe, RecipeError, own_recipes, read_recipe

SHORT = """
name = "short"
version = 1
source = "a test"
epochs = 4
batch = 8
[optimiser]
learning_rate = 1
[schedule]
kind = "cosine"
"""
PUBLISHED = {
    # name: epochs, batch, learning rate, weight decay, nesterov, clip, auxiliary weight, dropped paths
    "nasbench201-200": (200, 256, 0.1, 5e-4, True, None, 0.0, 0.0),
    "nasbench201-12": (12, 256, 0.1, 5e-4, True, None, 0.0, 0.0),
    "darts-cifar10": (600, 96, 0.025, 3e-4, False, 5.0, 0.4, 0.2),
    "rcdarts-cifar10": (600, 96, 0.025, 3e-4, False, 5.0, 0.4, 0.3),
    "darts-imagenet": (250, 128, 0.1, 3e-5, False, 5.0, 0.4, 0.0),
    "rcnet-cifar100": (200, 128, 0.1, 4e-5, True, None, 0.0, 0.0),
    "rcnet-imagenet": (400, 256, 0.01, 4e-5, True, None, 0.0, 0.0),
    "rcas-early": (10, 128, 0.1, 4e-5, True, None, 0.0, 0.0),
}


def test_the_recipes_have_the_values_of_the_papers() -> None:
    assert set(own_recipes()) >= {*PUBLISHED, "smoke"} and "digits201" not in own_recipes()
    for name, expected in PUBLISHED.items():
        recipe = read_recipe(name)
        assert recipe.name == name and recipe.source and recipe.optimiser.momentum == 0.9
        found = (recipe.epochs, recipe.batch, recipe.optimiser.learning_rate, recipe.optimiser.weight_decay)
        assert (*found, recipe.optimiser.nesterov, recipe.optimiser.clip, recipe.auxiliary_weight, recipe.drop_path) == expected


def test_learning_rates_follow_their_schedules() -> None:
    cosine = read_recipe("nasbench201-200")
    assert cosine.rate(0, 0, 10) == 0.1
    assert cosine.rate(100, 0, 10) == pytest.approx(0.05)
    assert cosine.rate(50, 5, 10) == pytest.approx(0.05 * (1 + math.cos(math.pi * 50.5 / 200)))
    by_epoch = read_recipe("darts-cifar10")
    assert by_epoch.rate(300, 9, 10) == by_epoch.rate(300, 0, 10) == pytest.approx(0.0125)
    steps = read_recipe("rcas-early")
    assert [steps.rate(epoch, 0, 1) for epoch in range(10)] == pytest.approx([0.1] * 4 + [0.01] * 3 + [0.001] * 2 + [0.0001])
    exponential = read_recipe("darts-imagenet")
    assert exponential.rate(249, 3, 10) == pytest.approx(0.1 * 0.97**249)
    assert [by_epoch.path_drop(epoch) for epoch in (0, 300)] == pytest.approx([0, 0.1])
    assert read_recipe("rcdarts-cifar10").path_drop(300) == pytest.approx(0.15)


def test_some_values_apply_to_one_dataset_only() -> None:
    recipe = read_recipe("nasbench201-200")
    assert (recipe.augmentation_on("cifar100").crop, recipe.augmentation_on("ImageNet16-120").crop) == (4, 2)
    assert recipe.validation_on("cifar10").test_on_all and recipe.validation_on("cifar10").part == "train"
    assert recipe.validation_on("cifar100").part == recipe.validation_on("ImageNet16-120").part == "test"


def read(tmp_path: Path, text: str) -> Recipe:
    (tmp_path / "own.toml").write_text(text)
    return read_recipe(str(tmp_path / "own.toml"))


def test_a_checksum_depends_on_all_values_but_not_on_how_they_are_written(tmp_path: Path) -> None:
    first = read(tmp_path, SHORT)
    assert read(tmp_path, SHORT + "each = 'epoch'\n[images]\nseed = 0\n").checksum == first.checksum
    assert read(tmp_path, SHORT.replace("a test", "another source")).checksum == first.checksum
    changes = ("epochs = 5", "batch = 9", "learning_rate = 2", "kind = 'exponential'", "version = 2", "name = 'other'")
    changed = [
        read(tmp_path, "\n".join(change if line.startswith(change.split()[0]) else line for line in SHORT.splitlines())).checksum
        for change in changes
    ]
    changed += [read(tmp_path, f"threads = 2\n{SHORT}").checksum, read(tmp_path, f"{SHORT}[augmentation]\nflip = true\n").checksum]
    assert len({first.checksum, *changed}) == len(changes) + 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = [", "own.toml is not TOML:"),
        ("", "own.toml: name: Field required"),
        (SHORT.replace("epochs = 4", "epoch = 4"), "own.toml: epoch: there is no such key; expected one of name, version, source, epochs,"),
        (SHORT.replace("epochs = 4", "epochs = 0"), "own.toml: epochs: Input should be greater than or equal to 1, not 0"),
        (SHORT.replace("epochs = 4", "epochs = '4'"), "own.toml: epochs: Input should be a valid integer, not '4'"),
        (SHORT.replace("= 1\n[", "= nan\n["), "own.toml: optimiser.learning_rate: Input should be a finite number, not nan"),
        (SHORT.replace('"cosine"', '"linear"'), "schedule.kind: Input should be 'cosine', 'steps' or 'exponential', not 'linear'"),
        (SHORT.replace('"cosine"', '"steps"'), "schedule: expected `at`, epochs in ascending order, with kind = 'steps' and only there"),
        (SHORT + "at = [2]", "schedule: expected `at`"),
        (SHORT.replace('"cosine"', '"steps"') + "at = [3, 2]", "schedule: expected `at`, epochs in ascending order"),
        (SHORT + "[augmentation]\nmirror = true", "augmentation.mirror: there is no such key; expected one of crop, flip, cutout,"),
        (SHORT + "[on.cifar10.validation]\nshares = 0.1", "on.cifar10.validation.shares: there is no such key; expected one of part,"),
        (SHORT + "[validation]\npart = 'test'\nper_class = 3", "validation: per_class is of the training images"),
        (SHORT + "[on.cifra10.validation]\nshare = 0.1", "on: unknown dataset 'cifra10'; choose one of cifar10,"),
        (SHORT + "[validation]\nshare = 1.0", "validation.share: Input should be less than 1, not 1.0"),
    ],
)  # fmt: skip
def test_an_error_in_a_recipe_is_one_line_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        read(tmp_path, text)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_files_that_cannot_be_read_are_errors_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no recipe smok; give the path of a TOML file, or one of .*smoke"):
        read_recipe("smok")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        read_recipe(str(tmp_path))
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"own.toml cannot be read: it is not text"):
        read_recipe(str(tmp_path / "own.toml"))
