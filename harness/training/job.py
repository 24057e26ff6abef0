"""Training a network from nothing: by a recipe, or exactly as the builder of a table did. Nothing is ever trained twice."""

from __future__ import annotations

import fcntl
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.training import result as results
from budgetnas.harness.training.images.dataset import Dataset
from budgetnas.harness.training.images.load import load
from budgetnas.harness.training.progress import Show, silent
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe
from budgetnas.harness.training.recipes.recipe import Recipe, RecipeError, own_recipes, read_recipe
from budgetnas.harness.training.result import Trained
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, Buildable, Enumerable, Space
from budgetnas.spaces.tables.home import data_home
from budgetnas.spaces.task import Task, task_of

SCHEMA = 1  # of an identity: raised when training by the same recipe comes to mean something else
CHECKPOINTS = ("checkpoint.pt", "checkpoint-all.pt")
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

    def run(self, folder: Path, show: Show = silent, announce: Announce | None = None, keep: bool = False) -> Trained:
        """Return the result in a folder, trained now if it is not there, from its checkpoint on if there is one.

        `announce` is told, before anything is trained, about how many seconds are left. The weights stay there as the checkpoint if
        they are to be kept. `BadResult` and `BadCheckpoint` if the folder holds something damaged or of another training.
        """
        with _alone(folder):
            found = results.read(folder, self.identity)
            if found is None:
                found = self._by_recipe(folder, show, announce) if self.recipe else self._by_table()
                results.write(folder, found)
            if not keep:
                for name in CHECKPOINTS:
                    (folder / name).unlink(missing_ok=True)
            return found

    def _by_recipe(self, folder: Path, show: Show, announce: Announce | None) -> Trained:
        from budgetnas.harness.training.stages import fit

        return fit(self, [folder / name for name in CHECKPOINTS], show, announce)

    def _by_table(self) -> Trained:
        trainer = trainer_of(self.space.name, self.task.dataset)
        found = trainer.retrain_seed(cast(Enumerable, self.space).index(self.arch), self.seed)
        import torch

        from budgetnas.harness.training.device import peak_memory_bytes

        return Trained(
            identity=self.identity,
            validation=found.validation,
            test=found.test,
            epochs=(),
            seconds=found.seconds,
            peak_memory_bytes=peak_memory_bytes(torch.device("cpu")),
            diverged=False,
            device="cpu",
            threads=1,
            torch=torch.__version__,
        )


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


def retrain(
    space_name: str,
    arch: Architecture,
    dataset: str,
    recipe: str | Recipe,
    seed: int,
    folder: Path | None = None,
    show: Show = silent,
    images: Path | None = None,
) -> Trained:
    """Return what a network reaches, trained from scratch unless it has been: results are kept by identity in `folder`.

    By default that is `trained` in the data home. Processes that ask for the same training wait for the one that does it.
    """
    job = job_of(space_name, arch, dataset, recipe, seed, images)
    return job.run(kept_in(job, folder), show)


def kept_in(job: Job, folder: Path | None = None) -> Path:
    """Return the folder of one training below the folder of all."""
    return (folder or data_home() / "trained") / identity_of(job.identity)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a folder, and let one process at a time work in it."""
    lock = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CannotRetrain(f"cannot write into {folder}: {error.strerror}; choose another folder with --out") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


__all__ = [
    "CannotRetrain", "Job", "Retrained", "Trained", "Trainer", "can_retrain", "default_recipe", "job_of", "kept_in",
    "retrain", "trainer_of",
]  # fmt: skip
