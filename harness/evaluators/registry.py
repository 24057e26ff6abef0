"""The registry of evaluators by name. To add an evaluator, write its module and one entry in `EVALUATORS`.

An entry states the facts that the rest of the project needs. The study model, the planner, the command line and the pages branch on these
facts, never on a name. The module of the entry is imported at its first use, and defines:

- `offers(space) -> frozenset[Need]`: the kinds of questions that it can answer about a space on this machine; empty if it can answer none.
- `evaluation(trial, workspace, watch) -> Evaluation`: the evaluator of one trial, with the costs of the space. `workspace` is the run
  folder, or None to save nothing. `watch(step, figures)`, if given, is called after every step.

If the entry has a `recipe`, the module also defines:

- `training_spec(recipe, task) -> TrainingSpec`: the checked recipe, given by its name or path, with the checksums that become part of a
  trial's identity. It raises the errors of the recipe and of the images.
- `figures(training, dataset) -> Mapping`: the facts about the recipe on pages: `recipe` (its name), `epochs`, `batch`, and the numbers of
  images that train weights (`images_trained`) and that evaluate them (`images_judged`).

If the entry has `shares_weights = True`, the module also defines:

- `search_network(trial) -> (channels, cells)`: the size of the search network, whose costs a method can bound. None stands for the value
  of the space.

Everything that an evaluator does must follow from the trial: its seed, its recipe and its data. A record holds only the name of the
evaluator, so a change of its answers needs a new name or a new recipe.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from budgetnas.harness.records.ranking_classes import FULL_INFORMATION, QUERIES, SUPERNET, TRAINING

if TYPE_CHECKING:
    from budgetnas.harness.costs.costed_space import CostedSpace
    from budgetnas.harness.problem import Evaluator, Need, Step
    from budgetnas.harness.records.trial import TrainingSpec, Trial
    from budgetnas.harness.training.images.dataset import Dataset
    from budgetnas.spaces.space import Space
    from budgetnas.spaces.task import Task

Watch: TypeAlias = "Callable[[Step, Mapping[str, float]], None]"  # called after every step of a search, with its figures


@dataclass(frozen=True, slots=True)
class EvaluatorEntry:
    """The facts about an evaluator that are known before its module is imported.

    Args:
        name: Its name in studies, in records and on the command line. It is part of a trial's identity.
        module: The full name of its module.
        ranking_class: The ranking class of its records. Records of different classes are never ranked together.
        recipe: The kind of recipe that a study must name, in words; empty if it needs none.
        reads_table: Whether it answers from a table of all architectures of the space. Then the exact best is known, a relaxation reads the
            whole table, and pages show boards, which rank the classes of queries and of full information.
        seeded: Whether its answers depend on the trial's seed. Then deterministic methods also run with every seed.
        shares_weights: Whether one network contains all architectures.
        only_last: Whether only the last recommendation of a search is recorded, because a resumed search does not repeat the earlier ones.
    """

    name: str
    module: str
    ranking_class: str
    recipe: str = ""
    reads_table: bool = False
    seeded: bool = True
    shares_weights: bool = False
    only_last: bool = False


EVALUATORS: dict[str, EvaluatorEntry] = {
    entry.name: entry
    for entry in (
        EvaluatorEntry("table", "budgetnas.harness.evaluators.table", QUERIES, reads_table=True, seeded=False),
        EvaluatorEntry(
            "supernet",
            "budgetnas.harness.evaluators.supernet",
            SUPERNET,
            recipe="search recipe",
            shares_weights=True,
            only_last=True,
        ),
        EvaluatorEntry("training", "budgetnas.harness.evaluators.training", TRAINING, recipe="training recipe"),
    )
}


class UnknownEvaluator(ValueError):
    """Raised for an unknown name of an evaluator. The message lists the known ones."""


def torch_is_installed() -> bool:
    """Return whether PyTorch is installed, without importing it."""
    try:
        return find_spec("torch") is not None
    except ModuleNotFoundError:  # raised by an import finder that forbids it
        return False


def _no_timing() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluator of a trial and its data.

    Args:
        evaluator: The evaluator.
        costed: The space with its costs.
        seconds: The training seconds of a table by index; None without a table.
        timing: Returns the timings of the evaluator; called once, after the search.
    """

    evaluator: Evaluator
    costed: CostedSpace
    seconds: Sequence[float] | None = None
    timing: Callable[[], Mapping[str, Any]] = _no_timing


class _Module(Protocol):
    """The module of an evaluator. The docstring of this file describes its functions."""

    def offers(self, space: Space) -> frozenset[Need]: ...

    def evaluation(self, trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation: ...

    def training_spec(self, recipe: str, task: Task) -> TrainingSpec: ...

    def figures(self, training: TrainingSpec, dataset: Dataset) -> Mapping[str, Any]: ...

    def search_network(self, trial: Trial) -> tuple[int | None, int | None]: ...


def entry_of(name: str) -> EvaluatorEntry:
    """Return the entry of an evaluator. Raises `UnknownEvaluator` for an unknown name."""
    if name not in EVALUATORS:
        raise UnknownEvaluator(f"unknown evaluator '{name}'; choose one of {', '.join(EVALUATORS)}")
    return EVALUATORS[name]


def names_of(fits: Callable[[EvaluatorEntry], object]) -> list[str]:
    """Return the names of the evaluators whose entries satisfy a condition."""
    return [entry.name for entry in EVALUATORS.values() if fits(entry)]


def alternatives(names: Iterable[str]) -> str:
    """Return names as a list of alternatives for messages.

    >>> alternatives(["table", "supernet", "training"])
    "'table', 'supernet' or 'training'"
    """
    *most, last = (f"'{name}'" for name in names)
    return f"{', '.join(most)} or {last}" if most else last


def _module(name: str) -> _Module:
    return cast(_Module, importlib.import_module(entry_of(name).module))


def offers(name: str, space: Space) -> frozenset[Need]:
    """Return the kinds of questions that an evaluator can answer about a space on this machine."""
    return _module(name).offers(space)


def evaluation_of(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    """Return the evaluator of a trial. `workspace` is the run folder, or None to save nothing; `watch` is called after every step."""
    return _module(trial.evaluator).evaluation(trial, workspace, watch)


def training_spec_of(name: str, recipe: str, task: Task, folder: Path) -> TrainingSpec:
    """Return a recipe with its checksum and the checksum of the images.

    Args:
        name: The name of the evaluator.
        recipe: The name of the recipe, or its path (*.toml) relative to `folder`.
        task: The task.
        folder: The folder from which paths start.

    Raises:
        RecipeError: The recipe cannot be read or is invalid.
        MissingImages, DamagedImages: The images are missing or damaged.
        CannotRetrain: The recipe leaves no images for validation.
    """
    return _module(name).training_spec(str(folder / recipe) if recipe.endswith(".toml") else recipe, task)


def figures_of(name: str, training: TrainingSpec, dataset: Dataset) -> Mapping[str, Any]:
    """Return the facts about an evaluator's recipe on a dataset that pages show."""
    return _module(name).figures(training, dataset)


def search_network_of(trial: Trial) -> tuple[int | None, int | None] | None:
    """Return the channels and cells of the search network of a trial; None if the evaluator has no separate search network."""
    return _module(trial.evaluator).search_network(trial) if entry_of(trial.evaluator).shares_weights else None


def ranking_class_of(name: str, needs: frozenset[Need]) -> str:
    """Return the ranking class for the records of a method with these needs."""
    from budgetnas.harness.problem import Need

    entry = entry_of(name)
    return FULL_INFORMATION if entry.reads_table and Need.RELAXATION in needs else entry.ranking_class
