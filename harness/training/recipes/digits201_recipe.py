"""The recipe of digits201, read from `recipes/digits201.toml`."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.training.images.digits import Split, digits_split


@dataclass(frozen=True, slots=True)
class Recipe:
    """All values that a trained network's accuracy depends on. The TOML file explains them."""

    name: str
    version: int
    seeds: tuple[int, ...]
    epochs: int
    batch: int
    learning_rate: float
    momentum: float
    weight_decay: float
    norm_momentum: float
    norm_epsilon: float
    split_seed: int
    train: int
    validation: int
    test: int

    @property
    def steps(self) -> int:
        """The number of training steps."""
        return self.epochs * (self.train // self.batch)

    @property
    def checksum(self) -> str:
        """The sha256 of all values."""
        return identity_of(asdict(self))

    def rate(self, step: int) -> float:
        """Return the learning rate in a step, counted from 0. It falls from `learning_rate` towards zero along half a cosine."""
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))

    def images(self) -> Split:
        """Return the images, split. Raises MissingImages if scikit-learn is not installed or has other images."""
        return digits_split(self.train, self.validation, self.test, self.split_seed)


@cache
def digits201_recipe() -> Recipe:
    """Return the recipe of the shipped table."""
    text = files("budgetnas.harness.training").joinpath("recipes", "digits201.toml").read_text(encoding="utf-8")
    values: dict[str, Any] = tomllib.loads(text)
    split = values.pop("split")
    values |= {"split_seed": split.pop("seed"), **split, "seeds": tuple(values["seeds"])}
    unknown = sorted(set(values) ^ {field.name for field in fields(Recipe)})
    if unknown:
        raise ValueError(f"recipes/digits201.toml: missing or unknown keys: {', '.join(unknown)}")
    return Recipe(**values)
