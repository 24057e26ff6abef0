"""The evaluator `supernet`: the costs of a space, and a relaxation with trained weights. It does not answer questions about accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from budgetnas.harness.costs.costed_space import CostedSpace, costed_space_of
from budgetnas.harness.costs.tabulated_space import TabulatedSpace
from budgetnas.harness.evaluators.registry import Evaluation, Watch, torch_is_installed
from budgetnas.harness.problem import Architecture, Need, Relaxation, SupernetOptions
from budgetnas.harness.records.store import checkpoint_folder
from budgetnas.harness.records.trial import TrainingSpec
from budgetnas.harness.training.job import CannotRetrain
from budgetnas.spaces.devices import DEVICE_RESOURCES
from budgetnas.spaces.space import Relaxable, Space

if TYPE_CHECKING:
    from budgetnas.harness.evaluators.supernet_relaxation import SupernetRelaxation
    from budgetnas.harness.evaluators.table_relaxation import TableRelaxation
    from budgetnas.harness.records.trial import Trial
    from budgetnas.harness.training.images.dataset import Dataset
    from budgetnas.spaces.task import Task


class SupernetEvaluator:
    """Trains a supernet for a method that needs its relaxation. The method learns about accuracy only through the validation loss."""

    offers = frozenset({Need.RELAXATION, Need.WEIGHTS})

    def __init__(self, trial: Trial, costed: CostedSpace, folder: Path | None, watch: Watch | None = None):
        self._trial, self._costed, self._folder, self._watch = trial, costed, folder, watch
        self._made: SupernetRelaxation | None = None

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return all known resources, each in the unit that its name gives; NaN means 'not supported'."""
        return self._costed.cost_of(arch)

    def accuracy(self, arch: Architecture) -> float:
        """Raise `NotImplementedError`: single architectures are not trained."""
        raise NotImplementedError("a supernet offers its relaxation only; ask evaluator.offers first")

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        """Raise `NotImplementedError`: single architectures are not trained."""
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Relaxation:
        """Return the relaxation of the supernet. Training begins with its first step."""
        from budgetnas.harness.evaluators.supernet_inputs import SupernetInputs
        from budgetnas.harness.evaluators.supernet_relaxation import SupernetRelaxation
        from budgetnas.harness.training.images.load import load
        from budgetnas.harness.training.recipes.search_recipe import read_search_recipe

        trial, space = self._trial, self._costed.space
        if trial.training is None or not isinstance(space, Relaxable):
            raise CannotRetrain(f"the space '{space.name}' has no supernet; search it with another evaluator")
        inputs = SupernetInputs(
            space=space,
            task=self._costed.task,
            recipe=read_search_recipe(trial.training.recipe),
            dataset=load(self._costed.task),
            resources=tuple(self._costed.resources),
            table=self._of_devices(),
            identity=_identity(trial),
            folder=self._folder,
            watch=self._watch,
        )
        self._made = SupernetRelaxation(inputs, options, rng, deviation)
        return self._made

    def _of_devices(self) -> TableRelaxation | None:
        """Return the relaxation of a table's costs on the device, without accuracies; None if no table has such costs."""
        from budgetnas.harness.evaluators.table_relaxation import relaxation_of_table

        names = [name for name in self._costed.resources if name in DEVICE_RESOURCES]
        if not names or not isinstance(self._costed, TabulatedSpace):
            return None
        costs = {name: self._costed.resource(name).tolist() for name in names}
        nothing = [0.0] * self._costed.space.size
        return relaxation_of_table(self._costed.space, self._costed.task, nothing, costs, SupernetOptions(), np.random.default_rng(0), 0.0)

    def timing(self) -> Mapping[str, Any]:
        """Return the timings of the search; empty if there was none."""
        return {} if self._made is None else self._made.timing()


def _identity(trial: Trial) -> dict[str, Any]:
    """Return the identity of a trial's checkpoint. Its keys and values appear in the error for a checkpoint of another search."""
    payload = trial.payload()
    training = payload["training"]
    return {
        "space": trial.space,
        "dataset": trial.dataset,
        "images": training["images"],
        "recipe": f"{trial.training.recipe if trial.training else ''} {training['recipe'][:12]}",
        "method": trial.method,
        "seed": trial.seed,
        "trial": trial.identity,
    }


def training_spec(recipe: str, task: Task) -> TrainingSpec:
    """Return a search recipe, given by name or path, with its checksum and the checksum of the task's images.

    Raises:
        RecipeError: The recipe cannot be read or is invalid.
        MissingImages: The images are not on this machine.
    """
    from budgetnas.harness.training.images.load import load
    from budgetnas.harness.training.recipes.search_recipe import read_search_recipe

    return TrainingSpec(recipe, read_search_recipe(recipe).checksum, load(task).checksum)


def figures(training: TrainingSpec, dataset: Dataset) -> Mapping[str, Any]:
    """Return the facts about a search recipe. One half of its images trains the weights, the other half the architecture variables."""
    from budgetnas.harness.training.recipes.search_recipe import read_search_recipe

    recipe = read_search_recipe(training.recipe)
    used = min(recipe.images.train or len(dataset.train), len(dataset.train))
    return {
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "images_trained": used - used // 2,
        "images_judged": used // 2,
    }


def search_network(trial: Trial) -> tuple[int | None, int | None]:
    """Return the channels and cells of a trial's supernet, from the method's settings, else from the recipe.

    None stands for the value of the space.
    """
    from budgetnas.harness.training.recipes.search_recipe import read_search_recipe

    if trial.training is None:
        raise CannotRetrain("a search in a supernet needs a search recipe; give the trial one")
    settings, recipe = dict(trial.settings), read_search_recipe(trial.training.recipe)
    return settings.get("channels") or recipe.channels, settings.get("cells") or recipe.cells


def offers(space: Space) -> frozenset[Need]:
    """Return the kinds of questions that a supernet can answer: none if the space has no supernet or PyTorch is not installed."""
    return SupernetEvaluator.offers if isinstance(space, Relaxable) and torch_is_installed() else frozenset()


def evaluation(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    """Return the evaluator of a trial that searches in a supernet. Its checkpoints are saved in the run folder."""
    costed = costed_space_of(trial.space, trial.dataset, trial.device)
    folder = None if workspace is None else checkpoint_folder(workspace, trial.identity)
    evaluator = SupernetEvaluator(trial, costed, folder, watch)
    return Evaluation(evaluator, costed, timing=evaluator.timing)
