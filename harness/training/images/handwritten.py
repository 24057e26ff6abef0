"""scikit-learn's digits, in the parts of the benchmark digits201: 900 training, 400 validation and 497 test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from budgetnas.harness.training.images.dataset import Dataset, Part, in_memory
from budgetnas.harness.training.images.digits import BRIGHTEST, Images
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe


def load_digits(name: str, folder: Path) -> Dataset:
    """Return the digits. They need no files. Raises MissingImages if scikit-learn is not installed or has other images."""
    split = digits201_recipe().images()
    train, validation, test = (_part(images) for images in (split.train, split.validation, split.test))
    return in_memory(name, train, test, classes=10, brightest=BRIGHTEST, validation=validation)


def _part(images: Images) -> Part:
    return Part(np.rint(images.pixels[:, None] * BRIGHTEST).astype(np.uint8), images.labels)
