"""The evaluator `training`: trains every requested architecture from scratch by a recipe, and evaluates it on validation images.

Results are kept in the folder `trained` of the data home, under everything that they depend on: the space, the representative of identical
networks, the images, the recipe and the seed. So no network is trained twice, not even by another trial, in another run, or after a search
was killed. `budgetnas retrain` keeps its results in the same folder.

A single search (`budgetnas search`) trains the networks of a batch in parallel, in one process for each core or GPU. A worker of a run,
which runs beside other trials, trains them one after another.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from budgetnas.harness.costs.costed_space import CostedSpace, costed_space_of
from budgetnas.harness.evaluators.registry import Evaluation, Watch, torch_is_installed
from budgetnas.harness.problem import Architecture, Need, Relaxation, Step, SupernetOptions
from budgetnas.harness.processes.parallel import map_in_processes
from budgetnas.harness.records.trial import TrainingSpec
from budgetnas.harness.training.images.dataset import Dataset
from budgetnas.harness.training.images.load import load
from budgetnas.harness.training.images.parts import parts_of
from budgetnas.harness.training.job import CannotRetrain, job_of, kept_in
from budgetnas.harness.training.recipes.recipe import Recipe, read_recipe
from budgetnas.harness.training.result import FILE
from budgetnas.harness.training.retrain import retrain
from budgetnas.spaces.space import Buildable, Space
from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.tables.home import data_home

if TYPE_CHECKING:
    from budgetnas.harness.records.trial import Trial
    from budgetnas.spaces.task import Task


Show: TypeAlias = Callable[[int, float], None]


class Answer(NamedTuple):
    """The part of a training's result that a method may use: the validation accuracy [%], and the charged seconds."""

    validation: float
    seconds: float  # of wall-clock time, when the network was trained
    kept: bool  # whether the network was trained before


class TrainingEvaluator:
    """Answers by training. A network that diverges has the accuracy of guessing. Test accuracies are discarded."""

    offers = frozenset({Need.ACCURACY})

    def __init__(self, costed: CostedSpace, recipe: Recipe, seed: int, folder: Path, processes: int = 1, show: Show | None = None):
        """Create the evaluator.

        Args:
            costed: The space with its costs.
            recipe: The training recipe.
            seed: The seed of the search, which also draws the initial weights of every network and the order of its images.
            folder: The folder with all results.
            processes: The number of networks trained in parallel.
            show: Called after every answer with the number of answers and the validation accuracy [%].
        """
        self._costed, self._processes, self._show = costed, processes, show
        what = (costed.space.name, costed.task.dataset, recipe, seed, folder)
        self._train, self._is_kept = partial(_trained, *what), partial(_kept, *what)
        self._answers: dict[Architecture, Answer] = {}  # by the representative of identical networks

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return all known resources, each in the unit that its name gives; NaN means 'not supported'."""
        return self._costed.cost_of(arch)

    def accuracy(self, arch: Architecture) -> float:
        """Return the validation accuracy [%] after the last epoch of the recipe."""
        return self.accuracies([arch])[0]

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        """Return the validation accuracies [%] of a batch. New networks are trained in parallel, each once."""
        wanted = [self._costed.space.canonical(arch) for arch in archs]
        new = [arch for arch in dict.fromkeys(wanted) if arch not in self._answers]
        kept = [arch for arch in new if self._is_kept(arch)]
        missing = [arch for arch in new if arch not in kept]
        # Processes are started only for networks that must be trained.
        trained = map_in_processes(self._train, missing, min(self._processes, len(missing)) or 1)
        for arch, answer in chain(map_in_processes(self._train, kept, 1), trained):
            self._answers[arch] = answer
            if self._show is not None:
                self._show(len(self._answers), answer.validation)
        return [self._answers[arch].validation for arch in wanted]

    def seconds_of(self, arch: Architecture) -> float:
        """Return the seconds that the training behind the answer for `arch` took when it was made."""
        return self._answers[self._costed.space.canonical(arch)].seconds

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Relaxation:
        """Raise `NotImplementedError`: there is no supernet."""
        raise NotImplementedError("this evaluator offers accuracy only; ask evaluator.offers first")

    def timing(self) -> Mapping[str, Any]:
        """Return the number of networks trained for this search, and the number of those trained before."""
        kept = sum(answer.kept for answer in self._answers.values())
        return {"networks_trained": len(self._answers) - kept, "networks_kept": kept}


def _trained(space: str, dataset: str, recipe: Recipe, seed: int, folder: Path, arch: Architecture) -> Answer:
    found = retrain(space, arch, dataset, recipe, seed, folder)
    if found.validation is None:
        raise _unvalidated(recipe, dataset)
    return Answer(found.validation, found.seconds, found.kept)


def _kept(space: str, dataset: str, recipe: Recipe, seed: int, folder: Path, arch: Architecture) -> bool:
    return (kept_in(job_of(space, arch, dataset, recipe, seed), folder) / FILE).exists()


def training_spec(recipe: str, task: Task) -> TrainingSpec:
    """Return a training recipe, given by name or path, with its checksum and the checksum of the task's images.

    Raises:
        RecipeError: The recipe cannot be read or is invalid.
        MissingImages: The images are not on this machine.
        CannotRetrain: The recipe leaves no images for validation.
    """
    found, images = read_recipe(recipe), load(task)
    require_validation(found, images)
    return TrainingSpec(recipe, found.checksum, images.checksum)


def figures(training: TrainingSpec, dataset: Dataset) -> Mapping[str, Any]:
    """Return the facts about a training recipe, with the numbers of images that train a network and that validate it."""
    recipe = read_recipe(training.recipe)
    parts = parts_of(dataset, recipe)
    return {
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "images_trained": len(parts.train),
        "images_judged": 0 if parts.validation is None else len(parts.validation),
    }


def require_validation(recipe: Recipe, dataset: Dataset) -> None:
    """Raise `CannotRetrain` if a recipe leaves no images for validation."""
    rule = recipe.validation_on(dataset.name)
    if dataset.validation is None and not rule.per_class and not rule.share:
        raise _unvalidated(recipe, dataset.name)


def _unvalidated(recipe: Recipe, dataset: str) -> CannotRetrain:
    return CannotRetrain(f"the recipe {recipe.name} leaves no images of {dataset} for validation; give it a [validation]")


def offers(space: Space) -> frozenset[Need]:
    """Return the kinds of questions that training can answer: none if the space builds no networks or PyTorch is not installed."""
    return TrainingEvaluator.offers if isinstance(space, Buildable) and torch_is_installed() else frozenset()


def evaluation(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    """Return the evaluator of a trial that trains. Without a workspace, results are kept in a temporary folder and deleted at the end.

    Raises:
        TableError: The recipe or the images have changed since the run was planned.
        CannotRetrain: The trial has no recipe.
    """
    if trial.training is None:
        raise CannotRetrain("a trial that trains needs a recipe")
    costed = costed_space_of(trial.space, trial.dataset, trial.device)
    recipe = read_recipe(trial.training.recipe)
    for what, now, planned in (
        (f"the recipe {trial.training.recipe}", recipe.checksum, trial.training.recipe_checksum),
        (f"the images of {trial.dataset}", load(costed.task).checksum, trial.training.images),
    ):
        if now != planned:
            raise TableError(f"{what} changed since the run was planned; start the run again")

    def show(answers: int, validation: float) -> None:
        if watch is not None:
            most = max(answers, trial.allowance.queries or answers)
            watch(Step(answers - 1, most, answers - 1, most), {"validation": validation})

    if workspace is not None:
        evaluator = TrainingEvaluator(costed, recipe, trial.seed, data_home() / "trained", _processes(), show)
        return Evaluation(evaluator, costed, timing=evaluator.timing)
    scratch = tempfile.TemporaryDirectory(prefix="budgetnas-")
    evaluator = TrainingEvaluator(costed, recipe, trial.seed, Path(scratch.name), _processes(), show)

    def timing() -> Mapping[str, Any]:
        scratch.cleanup()
        return evaluator.timing()

    return Evaluation(evaluator, costed, timing=timing)


def _processes() -> int:
    """Return how many networks are trained in parallel: 1 in a worker of a run, else one for each GPU, or for each core without a GPU."""
    if multiprocessing.parent_process() is not None:
        return 1
    import torch

    return torch.cuda.device_count() or os.cpu_count() or 1
