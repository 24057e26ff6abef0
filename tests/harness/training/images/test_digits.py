"""The images of digits201 and their split."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from budgetnas.harness.training.images.digits import digits_split
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe

pytestmark = pytest.mark.slow

FIRST = {
    "train": [2, 6, 7, 5, 9, 0, 8, 3, 7, 4, 8, 6],
    "validation": [6, 1, 1, 1, 1, 3, 0, 9, 5, 9, 3, 3],
    "test": [4, 9, 9, 5, 8, 3, 4, 4, 1, 5, 1, 9],
}


def test_the_split_has_each_image_once() -> None:
    from sklearn.datasets import load_digits

    split = digits201_recipe().images()
    parts = (split.train, split.validation, split.test)
    assert [len(part.labels) for part in parts] == [900, 400, 497]
    found = np.concatenate([part.pixels for part in parts]).reshape(1797, 64) * 16
    original = load_digits().data
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, original.tolist()))
    assert found.max() == 16
    assert found.min() == 0
    # Labels belong to their images: the nearest centroid of the training part classifies the test part far better than chance.
    centroids = np.stack([split.train.pixels[split.train.labels == digit].mean(axis=0) for digit in range(10)])
    nearest = ((split.test.pixels[:, None] - centroids[None]) ** 2).sum(axis=(2, 3)).argmin(axis=1)
    assert (nearest == split.test.labels).mean() > 0.85


def test_the_split_never_changes() -> None:
    split = digits201_recipe().images()
    assert split.train.labels[:12].tolist() == FIRST["train"]
    assert split.validation.labels[:12].tolist() == FIRST["validation"]
    assert split.test.labels[:12].tolist() == FIRST["test"]


def test_parts_that_are_not_all_images_are_refused() -> None:
    with pytest.raises(ValueError, match="the parts have 900, 400 and 498 images; give three numbers above 0 that add up to 1797"):
        digits_split(900, 400, 498, 201)


def test_other_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets

    from budgetnas.harness.training.images.digits import MissingImages

    others = sklearn.datasets.load_digits()
    others.images[5, 3, 3] += 1
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: others)
    with pytest.raises(MissingImages, match="not the 1,797 images"):
        digits_split(900, 400, 497, 1)


def test_the_recipe_has_the_documented_values() -> None:
    recipe = digits201_recipe()
    assert (recipe.epochs, recipe.batch, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (6, 64, 0.1, 0.9, 5e-4)
    assert recipe.steps == 84
    assert [recipe.rate(0), recipe.rate(42)] == pytest.approx([0.1, 0.05])
    assert 0 < recipe.rate(83) < 1e-4
    # This checksum is in the path of the builder's intermediate files and in the card of the shipped table.
    assert recipe.checksum == "3b93217cd53837b89b60b48e43b155ea9ad67fa116c26ef80cb4dd474749b1aa"
