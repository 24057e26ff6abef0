"""What can answer a method's questions, by name: a table, a supernet, training from scratch. Imported when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from budgetnas.harness.costs.costed_space import Terrain
from budgetnas.harness.problem import Evaluator, Need, Step
from budgetnas.spaces.space import Space

if TYPE_CHECKING:
    from budgetnas.harness.records.trial import Trial

Watch: TypeAlias = Callable[[Step, Mapping[str, float]], None]  # is told of every step of a search, with its figures

# A module for each, with two functions: `offers(space)` says what it can answer about a space, `evaluation(trial, workspace, watch)`
# makes one.
EVALUATORS = {
    "table": "budgetnas.harness.evaluators.table",
    "supernet": "budgetnas.harness.evaluators.supernet",
    "training": "budgetnas.harness.evaluators.training",
}


class UnknownEvaluator(ValueError):
    """An evaluator that the project does not have; the message lists those it has."""


def torch_is_installed() -> bool:
    """Return whether this machine can train, without importing anything."""
    try:
        return find_spec("torch") is not None
    except ModuleNotFoundError:  # what a finder that forbids it raises
        return False


def _no_timing() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A trial's evaluator, the terrain its costs come from, a table's training seconds by index, and what a clock said afterwards."""

    evaluator: Evaluator
    terrain: Terrain
    seconds: Sequence[float] | None = None
    timing: Callable[[], Mapping[str, Any]] = _no_timing


def _module(kind: str) -> Any:
    if kind not in EVALUATORS:
        raise UnknownEvaluator(f"unknown evaluator '{kind}'; choose one of {', '.join(EVALUATORS)}")
    return importlib.import_module(EVALUATORS[kind])


def offers(kind: str, space: Space) -> frozenset[Need]:
    """Return what an evaluator can answer about the architectures of a space on this machine."""
    found: frozenset[Need] = _module(kind).offers(space)
    return found


def evaluation_of(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    """Return what answers a trial's questions. `workspace` is the run's folder, None to keep nothing; `watch` sees a supernet's steps."""
    made: Evaluation = _module(trial.evaluator).evaluation(trial, workspace, watch)
    return made
