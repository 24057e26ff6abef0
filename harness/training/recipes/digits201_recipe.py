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
    """How a network is trained: every value that its accuracy depends on. The TOML file says what each means."""

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
        """Weight steps in all."""
        return self.epochs * (self.train // self.batch)

    @property
    def checksum(self) -> str:
        """The sha256 of all values."""
        return identity_of(asdict(self))

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: half a cosine from `learning_rate` towards zero."""
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))

    def images(self) -> Split:
        """Return the images, split; `MissingImages` where they cannot be had."""
        return digits_split(self.train, self.validation, self.test, self.split_seed)


@cache
def digits201_recipe() -> Recipe:
    """Return the recipe that the shipped table was made with."""
    text = files("budgetnas.harness.training").joinpath("recipes", "digits201.toml").read_text(encoding="utf-8")
    values: dict[str, Any] = tomllib.loads(text)
    split = values.pop("split")
    values |= {"split_seed": split.pop("seed"), **split, "seeds": tuple(values["seeds"])}
    unknown = sorted(set(values) ^ {field.name for field in fields(Recipe)})
    if unknown:
        raise ValueError(f"recipes/digits201.toml: {', '.join(unknown)} is missing or unknown")
    return Recipe(**values)
