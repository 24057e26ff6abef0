"""Training a network from nothing: by a recipe, or exactly as the builder of a table did. Nothing is ever trained twice."""

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

SCHEMA = 1  # of an identity: raised when training by the same recipe comes to mean something else
Announce = Callable[[float], None]
# For every table whose networks this project can train again to the bit: the module that does, imported when it is first asked for, and
# its recipe, which is named after the dataset.
_TRAINERS = {("nasbench201", "digits201"): "budgetnas.harness.digits201.retraining"}
_TABLE_RECIPES = {("nasbench201", "digits201"): digits201_recipe}


class CannotRetrain(ValueError):
    """A dataset that cannot be trained here, or a machine that lacks what training needs; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """A network of a table trained again: accuracy [%] on the validation and the test images, and what it took [processor seconds]."""

    index: int
    seed: int
    validation: float
    test: float
    seconds: float


class Trainer(Protocol):
    """What the module of a table's trainer offers."""

    def require(self) -> None:
        """Raise a `ValueError` for people unless networks can be trained on this machine."""

    def retrain_seed(self, index: int, seed: int) -> Retrained:
        """Return what the network with an index reaches with a seed of the table."""

    def retrain(self, index: int) -> list[Retrained]:
        """Return what it reaches with every seed of the table."""


def can_retrain(space: str, dataset: str) -> bool:
    """Return whether the project has the trainer with which the table of a dataset was made."""
    return (space, dataset) in _TRAINERS


def trainer_of(space: str, dataset: str) -> Trainer:
    """Return what the table of a dataset was made with. `CannotRetrain` lists the datasets that have such a trainer."""
    if not can_retrain(space, dataset):
        known = ", ".join(name for of_space, name in _TRAINERS if of_space == space) or "none"
        raise CannotRetrain(f"networks of {space} cannot be retrained on {dataset} yet; choose one of {known}")
    return cast(Trainer, importlib.import_module(_TRAINERS[space, dataset]))


def default_recipe(space: str, dataset: str) -> str:
    """Return the recipe of a table's own trainer, where there is one. `RecipeError` asks for a recipe elsewhere."""
    if can_retrain(space, dataset):
        return dataset
    raise RecipeError(f"say how to train {space} on {dataset} with --recipe: the path of a TOML file, or one of {', '.join(own_recipes())}")


@dataclass(frozen=True)
class Job:
    """A training that can be asked for. `arch` is the representative of identical networks; no recipe means the table's own trainer."""

    space: Space
    arch: Architecture
    task: Task
    dataset: Dataset
    recipe: Recipe | None
    seed: int

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that the result depends on."""
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
    """Return the training of an architecture on a dataset by a recipe, a name, a path or the recipe itself; nothing is trained yet.

    `CannotRetrain` for spaces whose networks cannot be built, bad seeds and without PyTorch; `MissingImages`, `DamagedImages`,
    `RecipeError`, `InvalidArchitecture` and `UnknownDataset` as they say.
    """
    space = space_of(space_name)
    task = task_of(dataset)
    if not isinstance(space, Buildable):
        raise CannotRetrain(f"networks of {space.name} cannot be built, so none can be trained")
    if not 0 <= seed < 2**63:
        raise CannotRetrain(f"the seed {seed} cannot be used; choose 0 to 2^63 - 1")
    of_table = can_retrain(space.name, dataset) and recipe == default_recipe(space.name, dataset)
    if of_table:
        trainer_of(space.name, dataset).require()
    known = None if of_table else recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    if find_spec("torch") is None:
        raise CannotRetrain("PyTorch is not installed, so nothing can be trained; run `pip install budgetnas[train]`")
    return Job(space, space.canonical(arch), task, load(task, images), known, seed)


def kept_in(job: Job, folder: Path | None = None) -> Path:
    """Return the folder of one training below the folder of all."""
    return (folder or data_home() / "trained") / identity_of(job.identity)
