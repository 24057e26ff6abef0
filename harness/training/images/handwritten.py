"""The digits of scikit-learn, in the parts of the benchmark digits201: 900 to train on, 400 to choose by, 497 to report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from budgetnas.harness.training.images.dataset import Dataset, Part, in_memory
from budgetnas.harness.training.images.digits import BRIGHTEST, Images
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe


def load_digits(name: str, folder: Path) -> Dataset:
    """Return the digits; no files are needed. `MissingImages` without scikit-learn, or with another version's images."""
    split = digits201_recipe().images()
    train, validation, test = (_part(images) for images in (split.train, split.validation, split.test))
    return in_memory(name, train, test, classes=10, brightest=BRIGHTEST, validation=validation)


def _part(images: Images) -> Part:
    return Part(np.rint(images.pixels[:, None] * BRIGHTEST).astype(np.uint8), images.labels)
