"""A training of a network from scratch, by a recipe or by the trainer of a table: its definition, identity and folder."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.training.images.dataset import Dataset
from budgetnas.harness.training.images.load import load
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe
from budgetnas.harness.training.recipes.recipe import Recipe, RecipeError, own_recipes, read_recipe
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, Buildable, Space
from budgetnas.spaces.tables.home import data_home
from budgetnas.spaces.task import Task, task_of

SCHEMA = 1  # of an identity; raised when training by the same recipe gives other results
Announce = Callable[[float], None]
# For each table whose networks this project can retrain bit for bit: the module that does so, imported on first use, and the recipe,
# which has the name of the dataset.
_TRAINERS = {("nasbench201", "digits201"): "budgetnas.harness.digits201.retraining"}
_TABLE_RECIPES = {("nasbench201", "digits201"): digits201_recipe}


class CannotRetrain(ValueError):
    """A training that is not possible, for this network or on this machine; the message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """A retrained network of a table: accuracy [%] on the validation and the test images, and its training time [processor seconds]."""

    index: int
    seed: int
    validation: float
    test: float
    seconds: float


class Trainer(Protocol):
    """The functions of the module that trains a table's networks."""

    def require(self) -> None:
        """Raise ValueError, with a message for the user, if networks cannot be trained on this machine."""

    def retrain_seed(self, index: int, seed: int) -> Retrained:
        """Return the result of training the network with this index with one seed of the table."""

    def retrain(self, index: int) -> list[Retrained]:
        """Return its results with all seeds of the table."""


def can_retrain(space: str, dataset: str) -> bool:
    """Return whether the project has the trainer of a dataset's table."""
    return (space, dataset) in _TRAINERS


def trainer_of(space: str, dataset: str) -> Trainer:
    """Return the trainer of a dataset's table. Raises CannotRetrain, with the datasets that have one, if there is none."""
    if not can_retrain(space, dataset):
        known = ", ".join(name for of_space, name in _TRAINERS if of_space == space) or "none"
        raise CannotRetrain(f"networks of {space} cannot be retrained on {dataset} yet; choose one of {known}")
    return cast(Trainer, importlib.import_module(_TRAINERS[space, dataset]))


def default_recipe(space: str, dataset: str) -> str:
    """Return the recipe of a table's trainer. Raises RecipeError if the dataset has no such trainer."""
    if can_retrain(space, dataset):
        return dataset
    names = ", ".join(own_recipes())
    raise RecipeError(f"{space} on {dataset} has no default recipe; give --recipe, the path of a TOML file or one of {names}")


@dataclass(frozen=True)
class Job:
    """A training. `arch` is the representative of identical networks. Without a recipe, the trainer of the table is used."""

    space: Space
    arch: Architecture
    task: Task
    dataset: Dataset
    recipe: Recipe | None
    seed: int

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on."""
        recipe = self.recipe or _TABLE_RECIPES[self.space.name, self.task.dataset]()
        return {
            "schema": SCHEMA,
            "space": self.space.name,
            "arch": self.space.encode(self.arch),
            "genes": list(self.arch.genes),
            "dataset": self.task.dataset,
            "images": self.dataset.checksum,
            "recipe": recipe.name,
            "recipe_values": recipe.checksum,
            "seed": self.seed,
        }


def job_of(space_name: str, arch: Architecture, dataset: str, recipe: str | Recipe, seed: int, images: Path | None = None) -> Job:
    """Return the training of an architecture on a dataset. Nothing is trained yet.

    Args:
        space_name: the space, with its parameters.
        arch: the architecture.
        dataset: the dataset.
        recipe: a recipe, its name, or the path of its file.
        seed: from 0 to 2^63 - 1.
        images: the folder of image datasets, by default `images_folder()`.

    Raises:
        CannotRetrain: networks of the space cannot be built, the seed is out of range, or PyTorch is not installed.
        MissingImages: the images are missing.
        DamagedImages: the images are damaged.
        RecipeError: the recipe cannot be read or is invalid.
        InvalidArchitecture: the architecture is not of the space.
        UnknownDataset: there is no such dataset.
    """
    space = space_of(space_name)
    task = task_of(dataset)
    if not isinstance(space, Buildable):
        raise CannotRetrain(f"networks of {space.name} cannot be built, and so not trained; choose another space")
    if not 0 <= seed < 2**63:
        raise CannotRetrain(f"the seed is {seed}; choose 0 to 2^63 - 1")
    of_table = can_retrain(space.name, dataset) and recipe == default_recipe(space.name, dataset)
    if of_table:
        trainer_of(space.name, dataset).require()
    known = None if of_table else recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    if find_spec("torch") is None:
        raise CannotRetrain("PyTorch is not installed, so nothing can be trained; run `pip install budgetnas[train]`")
    return Job(space, space.canonical(arch), task, load(task, images), known, seed)


def kept_in(job: Job, folder: Path | None = None) -> Path:
    """Return the folder of a job's result below `folder`, which is by default `trained` in the data folder."""
    return (folder or data_home() / "trained") / identity_of(job.identity)
