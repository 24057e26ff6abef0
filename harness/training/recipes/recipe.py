"""Recipes: how a network is trained from scratch. A recipe is a TOML file; its values are checked, and hashed into identities."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.toml_files import TomlFiles, TomlTable
from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.spaces.task import TASKS

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
MOST_THREADS = 256


class RecipeError(ValueError):
    """A recipe that cannot be read or is invalid; the message names the file, the key and the expected value."""


_FILES = TomlFiles(RecipeError, "recipe")


class Optimiser(TomlTable):
    """`[optimiser]`: stochastic gradient descent. `clip` is the largest allowed norm of the whole gradient."""

    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Share = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] | None = None


class Schedule(TomlTable):
    """`[schedule]`: how the learning rate falls.

    `cosine` falls to zero along half a cosine, and changes after each step or epoch, as given by `each`. `steps` multiplies the rate by
    `factor` at each of the epochs `at`, and `exponential` at every epoch.
    """

    kind: Literal["cosine", "steps", "exponential"]
    each: Literal["step", "epoch"] = "epoch"
    at: list[Count] = Field(default_factory=list)
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _says_what_its_kind_needs(self) -> Schedule:
        if (self.kind == "steps") != bool(self.at) or self.at != sorted(set(self.at)):
            raise ValueError("expected `at`, epochs in ascending order, with kind = 'steps' and only there")
        return self

    def share(self, epoch: int, epochs: int, done: float) -> float:
        """Return the learning rate as a share of its first value.

        Args:
            epoch: the current epoch, from 0.
            epochs: the number of epochs.
            done: the part of the current epoch that is done, from 0 to 1.
        """
        if self.kind == "cosine":
            passed = epoch + (done if self.each == "step" else 0.0)
            return 0.5 * (1.0 + math.cos(math.pi * passed / epochs))
        if self.kind == "steps":
            return self.factor ** sum(epoch >= each for each in self.at)
        return self.factor**epoch


class Validation(TomlTable):
    """`[validation]`: the images for validation accuracy.

    They are a `share` of the training or test images (`part`), or `per_class` images of each class of the training images. With neither,
    there are no validation images, and the network trains on all training images. A dataset with a validation part uses that part, unless
    `per_class` is given. With `test_on_all`, test accuracy is that of a second network, trained on all training images.
    """

    part: Literal["train", "test"] = "train"
    share: Share = 0.1
    per_class: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    test_on_all: bool = False

    @model_validator(mode="after")
    def _is_one_rule(self) -> Validation:
        if self.per_class and self.part == "test":
            raise ValueError("per_class is of the training images; leave out part = 'test'")
        if self.test_on_all and self.part == "test":
            raise ValueError("with part = 'test' all training images are trained on anyway; leave out test_on_all")
        return self


class Subset(TomlTable):
    """`[images]`: a limit on the number of images of each part, by default none. They are drawn with `seed`; classes keep their shares."""

    train: Count | None = None
    validation: Count | None = None
    test: Count | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class Override(TomlTable):
    """`[on.DATASET.augmentation]` and `[on.DATASET.validation]`: replace the recipe's tables for one dataset."""

    augmentation: Augmentation | None = None
    validation: Validation | None = None


class Recipe(TomlTable):
    """Everything that a training depends on besides the network, the images and the seed.

    Attributes:
        auxiliary_weight: weight of the loss of the auxiliary head, if the space has one.
        drop_path: the probability that a path is dropped; it rises linearly from 0 towards this value.
        threads: processor threads. Their number affects the rounding of sums.
        precision: `bf16` is PyTorch's automatic mixed precision, on a GPU.
        judge_each: validation accuracy is measured every so many epochs, and after the last.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Count
    source: str
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch: Annotated[int, Field(ge=2, le=1_000_000)]
    optimiser: Optimiser
    schedule: Schedule
    label_smoothing: Share = 0.0
    auxiliary_weight: Annotated[float, Field(ge=0)] = 0.0
    drop_path: Share = 0.0
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = 1
    precision: Literal["full", "bf16"] = "full"
    channels_last: bool = False
    deterministic: bool = False
    judge_each: Count = 1
    augmentation: Augmentation = Augmentation()
    validation: Validation = Validation()
    images: Subset = Subset()
    on: dict[str, Override] = Field(default_factory=dict)

    @field_validator("on")
    @classmethod
    def _of_datasets_there_are(cls, on: dict[str, Override]) -> dict[str, Override]:
        for dataset in on:
            if dataset not in TASKS:
                raise ValueError(f"unknown dataset '{dataset}'; choose one of {', '.join(TASKS)}")
        return on

    @property
    def checksum(self) -> str:
        """The sha256 of all values, including defaults, but without `source`."""
        return identity_of({name: value for name, value in self.hashed_values().items() if name != "source"})

    def augmentation_on(self, dataset: str) -> Augmentation:
        """Return the augmentation for a dataset."""
        return (self.on.get(dataset) or Override()).augmentation or self.augmentation

    def validation_on(self, dataset: str) -> Validation:
        """Return the validation rule for a dataset."""
        return (self.on.get(dataset) or Override()).validation or self.validation

    def rate(self, epoch: int, step: int, steps: int) -> float:
        """Return the learning rate in a step of an epoch, both counted from 0, with `steps` per epoch."""
        return self.optimiser.learning_rate * self.schedule.share(epoch, self.epochs, step / steps)

    def path_drop(self, epoch: int) -> float:
        """Return the probability that a path is dropped in an epoch, counted from 0."""
        return self.drop_path * epoch / self.epochs


@cache
def own_recipes() -> tuple[str, ...]:
    """Return the names of the project's training recipes."""
    found = []
    for entry in _folder().iterdir():
        if entry.name.endswith(".toml"):
            try:
                found.append(_parsed(entry.name, entry.read_text(encoding="utf-8")).name)
            except RecipeError:  # another kind of recipe: of a table, of a search
                continue
    return tuple(sorted(found))


def read_recipe(reference: str) -> Recipe:
    """Return the recipe with this name, if the project has it, or the one in the TOML file at this path.

    Raises RecipeError, with the file, the key and the expected value, if it cannot be read or is invalid.
    """
    if reference in own_recipes():
        return _parsed(reference, _folder().joinpath(f"{reference}.toml").read_text(encoding="utf-8"))
    return _parsed(reference, _FILES.text(reference, own_recipes()))


def _folder() -> Any:
    return resources.files("budgetnas.harness.training").joinpath("recipes")


def _parsed(reference: str, text: str) -> Recipe:
    return _FILES.parsed(reference, text, Recipe)
