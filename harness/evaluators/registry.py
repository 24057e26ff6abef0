"""What can answer a method's questions, by name. To add an evaluator, write its module and one entry in `EVALUATORS`.

An entry states the facts that the rest of the project asks for: the study model, the planner, the command line and the pages branch on
them, never on a name. Its module is imported when it is first needed, and defines:

- `offers(space) -> frozenset[Need]`: what it can answer about a space on this machine; empty where it can answer nothing.
- `evaluation(trial, workspace, watch) -> Evaluation`: the evaluator of one trial, with the space's costs. `workspace` is the run's folder,
  None to keep nothing. `watch(step, figures)` is called after every step, where there are steps and somebody watches.

A module whose entry names a kind of recipe defines two functions more:

- `training_spec(recipe, task) -> TrainingSpec`: the recipe, named by its name or path, read and checked, with the checksums that become
  part of a trial's identity. It raises the errors of the recipe and of the images.
- `figures(training, dataset) -> Mapping`: what pages print of the recipe: `recipe` (its name), `epochs`, `batch`, `images_trained` and
  `images_judged` (how many images train weights, and how many judge).

A module whose entry says `shares_weights` defines one function more:

- `search_network(trial) -> (channels, cells)`: the size of the network that is searched in, whose costs a method can bound; None for the
  space's own.

Everything that an evaluator does must follow from the trial: its seed, its recipe, its data. Records do not keep where answers came from
but for the evaluator's name, so a change of its answers needs a new name or a new recipe.
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
    """What the project must know of an evaluator before its module is imported.

    Args:
        name: How studies, records and the command line call it. It is part of a trial's identity.
        module: The module, by its full name.
        ranking_class: The class that its records are ranked in. Two classes are never ranked together.
        recipe: The kind of recipe that a study must name, in words; empty for none.
        reads_table: It answers from a table that knows every architecture of the space. So the exact best is known, a relaxation reads the
            whole table, and pages show boards, which rank the classes of queries and of full information.
        seeded: Its answers depend on the trial's seed, so that a method that draws nothing is run with every seed too.
        shares_weights: One network holds all architectures.
        only_last: The last recommendation of a search alone counts, because a search that is resumed does not repeat the earlier ones.
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
    """An evaluator that the project does not have; the message lists those it has."""


def torch_is_installed() -> bool:
    """Return whether this machine can train, without importing anything."""
    try:
        return find_spec("torch") is not None
    except ModuleNotFoundError:  # raised by an import finder that forbids it
        return False


def _no_timing() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A trial's evaluator, the space with its costs, a table's training seconds by index, and what was timed, asked for at the end."""

    evaluator: Evaluator
    costed: CostedSpace
    seconds: Sequence[float] | None = None
    timing: Callable[[], Mapping[str, Any]] = _no_timing


class _Module(Protocol):
    """The module of an evaluator; the docstring of this file describes the functions."""

    def offers(self, space: Space) -> frozenset[Need]: ...

    def evaluation(self, trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation: ...

    def training_spec(self, recipe: str, task: Task) -> TrainingSpec: ...

    def figures(self, training: TrainingSpec, dataset: Dataset) -> Mapping[str, Any]: ...

    def search_network(self, trial: Trial) -> tuple[int | None, int | None]: ...


def entry_of(name: str) -> EvaluatorEntry:
    """Return an evaluator's entry. `UnknownEvaluator` lists those there are."""
    if name not in EVALUATORS:
        raise UnknownEvaluator(f"unknown evaluator '{name}'; choose one of {', '.join(EVALUATORS)}")
    return EVALUATORS[name]


def names_of(fits: Callable[[EvaluatorEntry], object]) -> list[str]:
    """Return the names of the evaluators whose entries fit a condition."""
    return [entry.name for entry in EVALUATORS.values() if fits(entry)]


def alternatives(names: Iterable[str]) -> str:
    """Return names as a message offers them.

    >>> alternatives(["table", "supernet", "training"])
    "'table', 'supernet' or 'training'"
    """
    *most, last = (f"'{name}'" for name in names)
    return f"{', '.join(most)} or {last}" if most else last


def _module(name: str) -> _Module:
    return cast(_Module, importlib.import_module(entry_of(name).module))


def offers(name: str, space: Space) -> frozenset[Need]:
    """Return what an evaluator can answer about the architectures of a space on this machine."""
    return _module(name).offers(space)


def evaluation_of(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    """Return the evaluator of a trial. `workspace` is the run's folder, None to keep nothing; `watch` is called after every step."""
    return _module(trial.evaluator).evaluation(trial, workspace, watch)


def training_spec_of(name: str, recipe: str, task: Task, folder: Path) -> TrainingSpec:
    """Return what a trial trains by a recipe: a name, or a path (*.toml) seen from `folder`; with the checksums of recipe and images.

    `RecipeError`, `MissingImages` and `DamagedImages` say what is wrong, `CannotRetrain` that no images would judge what is trained.
    """
    return _module(name).training_spec(str(folder / recipe) if recipe.endswith(".toml") else recipe, task)


def figures_of(name: str, training: TrainingSpec, dataset: Dataset) -> Mapping[str, Any]:
    """Return what pages print of an evaluator's recipe on a dataset."""
    return _module(name).figures(training, dataset)


def search_network_of(trial: Trial) -> tuple[int | None, int | None] | None:
    """Return the channels and cells of the network that a trial searches in; None where costs are those of the final network alone."""
    return _module(trial.evaluator).search_network(trial) if entry_of(trial.evaluator).shares_weights else None


def ranking_class_of(name: str, needs: frozenset[Need]) -> str:
    """Return the class that the records of a method with these needs are ranked in."""
    from budgetnas.harness.problem import Need

    entry = entry_of(name)
    return FULL_INFORMATION if entry.reads_table and Need.RELAXATION in needs else entry.ranking_class
