"""Runs one trial, a method on a problem with a seed, and returns its record."""

from __future__ import annotations

import inspect
import math
import random
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from budgetnas.harness.catalogue.catalogue import FoundMethod, MethodError, find_method
from budgetnas.harness.costs.costed_space import CostedSpace
from budgetnas.harness.costs.oracle import oracle
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, finite, tabulated_space_of
from budgetnas.harness.evaluators.registry import Evaluation, Watch, entry_of, evaluation_of, ranking_class_of
from budgetnas.harness.problem import AllowanceSpent, Architecture, Limit, Method, Problem
from budgetnas.harness.records.histories import write_history
from budgetnas.harness.records.ranking_classes import QUERIES
from budgetnas.harness.records.store import RunError
from budgetnas.harness.records.trial import SCHEMA, Record, Trial, reason_of
from budgetnas.harness.trials.meter import Key, Meter, Runaway
from budgetnas.spaces.tables.columnar import TableError


def run_trial(trial: Trial, workspace: Path | None = None, watch: Watch | None = None) -> tuple[Record, dict[str, Any]]:
    """Run a trial and return its record and its timings.

    Args:
        trial: The trial.
        workspace: The run folder, for checkpoints and histories; with None, nothing is saved and the search cannot be resumed.
        watch: Called after every step of a search in a supernet, or after every answer of a search that trains.

    Returns:
        The record, and the timings, which depend on the machine. If the method raises, the record is failed and holds the reason.

    Raises:
        TableError: The table, the source of the method, the recipe or the images have changed since the run was planned.
        RunError: A file of the run cannot be used.
    """
    if trial.table and tabulated_space_of(trial.space, trial.dataset, trial.device).checksum != trial.table:
        raise TableError(f"the table of {trial.dataset} changed since the run was planned; start the run again")
    found = find_method(trial.method, trial.folder)
    if found.version != trial.version:
        raise TableError(f"the source of method '{trial.method}' changed since the run was planned; start the run again")
    # A method should not use the global generators. They are seeded here, so that earlier trials in this process cannot affect this one.
    random.seed(trial.identity)
    np.random.seed(int(trial.identity[:8], 16))
    started = time.perf_counter()
    evaluation = evaluation_of(trial, workspace, watch)
    record = _conducted(found, trial, evaluation, workspace)
    return record, {"trial_seconds": time.perf_counter() - started} | dict(evaluation.timing())


def conduct(found: FoundMethod, trial: Trial) -> Record:
    """Run the trial with the method `found` and return the record; nothing is saved."""
    return _conducted(found, trial, evaluation_of(trial, None), None)


def _conducted(found: FoundMethod, trial: Trial, evaluation: Evaluation, workspace: Path | None) -> Record:
    costed = evaluation.costed
    problem = Problem(costed.space, costed.task, trial.device, trial.limits, trial.allowance)
    meter = Meter(evaluation.evaluator, evaluation.seconds, costed.space, trial.allowance)
    outcome = _search(found, trial, problem, meter)
    if workspace is not None and meter.relaxations:
        write_history(workspace, trial.identity, meter.relaxations)
    return _record(found, trial, problem, costed, meter, outcome)


@dataclass(slots=True)
class _Outcome:
    """The result of a search."""

    recommendations: list[tuple[int, float, tuple[Key, ...]]]  # (queries, seconds, architectures) at every change
    report: Mapping[str, float]
    failure: str = ""


def _search(found: FoundMethod, trial: Trial, problem: Problem, meter: Meter) -> _Outcome:
    outcome = _Outcome([], {})
    try:
        method: Method = found.make(dict(trial.settings))
        search: Any = method.search(problem, meter, trial.rng())
        if not isinstance(search, Iterable):
            raise TypeError(f"search returned {search!r}; expected a generator, or another iterable, of recommendations")
        outcome.report = _listen(iter(search), meter, outcome, entry_of(trial.evaluator).only_last)
    except AllowanceSpent:
        pass  # the normal end of a search that does not track its own allowance
    except RunError:
        raise  # for example a damaged checkpoint, which is not the method's fault
    except (Exception, SystemExit, Runaway) as error:
        outcome.failure = reason_of(error) + (_place(error, found) if found.plugin else "")
    return outcome


def _place(error: BaseException, found: FoundMethod) -> str:
    """Return the line of a plug-in's file at which an error occurred, as ' (file.py:17)'; '' if the traceback does not name the file."""
    file = inspect.getsourcefile(found.cls)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(str(file)).name}:{lines[-1]})" if lines else ""


def _listen(search: Iterator[Any], meter: Meter, outcome: _Outcome, only_last: bool) -> Mapping[str, float]:
    """Run the search, store every change of its recommendation in `outcome`, and return the report of the search.

    With `only_last`, only the last recommendation is stored: a search in a supernet asks no queries that could date its recommendations,
    and a resumed one does not repeat the earlier ones. Its history holds the alphas of every stage.
    """
    while True:
        try:
            recommended = next(search)
        except StopIteration as end:
            return {str(name): float(value) for name, value in dict(end.value or {}).items()}
        if isinstance(recommended, Architecture):
            recommended = (recommended,)
        if not isinstance(recommended, Iterable):
            raise TypeError(f"search yielded {recommended!r}; expected a tuple of architectures")
        keys = tuple([meter.key(arch) for arch in recommended])
        if keys and (not outcome.recommendations or outcome.recommendations[-1][2] != keys):
            if only_last:
                outcome.recommendations.clear()
            outcome.recommendations.append((meter.queries, meter.seconds, keys))


def _record(found: FoundMethod, trial: Trial, problem: Problem, costed: CostedSpace, meter: Meter, outcome: _Outcome) -> Record:
    front = _last(problem, costed, meter, outcome)
    final = _choose(front)
    best = _oracle(costed, trial.limits)
    optimum = best["best_by_test"]["test"] if best and best["best_by_test"] else None
    return _ranking_class(trial, found) | {
        "schema": SCHEMA,
        "identity": trial.identity,
        "trial": trial.payload(),
        "status": "failed" if outcome.failure else "ok",
        "failure": outcome.failure,
        "queries": meter.queries,
        "repeats": meter.repeats,
        "simulated_seconds": meter.seconds,
        "questions": [[kind, keys] for kind, keys in meter.questions()],
        "recommendations": [{"queries": q, "simulated_seconds": s, "architectures": list(keys)} for q, s, keys in outcome.recommendations],
        "front": front,
        "final": final,
        "oracle": best,
        "regret": max(optimum - final["test"], 0.0) if final and final["feasible"] and optimum is not None else None,
        "report": {name: value if math.isfinite(value) else None for name, value in outcome.report.items()},
    }


def _ranking_class(trial: Trial, found: FoundMethod | None) -> dict[str, str]:
    """Return the entry of a record for the ranking class of a trial; empty for the class of queries."""
    ranking_class = ranking_class_of(trial.evaluator, frozenset() if found is None else found.needs)
    return {} if ranking_class == QUERIES else {"ranking_class": ranking_class}


def _oracle(costed: CostedSpace, limits: tuple[Limit, ...]) -> dict[str, Any] | None:
    """Return the exact best of the problem, or None without a table of accuracies."""
    if not isinstance(costed, TabulatedSpace):
        return None
    best = oracle(costed, limits)
    return {
        "feasible": best.feasible,
        "best_by_test": _described(costed, best.best_by_test),
        "best_by_validation": _described(costed, best.best_by_validation),
    }


def _last(problem: Problem, costed: CostedSpace, meter: Meter, outcome: _Outcome) -> list[dict[str, Any]]:
    """Return the judged architectures of the last recommendation, each once; without one, the best feasible architecture asked about."""
    keys: tuple[Key, ...] = outcome.recommendations[-1][2] if outcome.recommendations else ()
    if not keys:
        asked = sorted(meter.answers.items(), key=lambda entry: (-entry[1], entry[0]))
        keys = next(((key,) for key, _ in asked if _judged(problem, costed, meter, key)["feasible"]), ())
    return [_judged(problem, costed, meter, key) for key in dict.fromkeys(keys)]


def _judged(problem: Problem, costed: CostedSpace, meter: Meter, key: Key) -> dict[str, Any]:
    """Return an architecture with its costs, its accuracies, and its violation of the limits (None if infinite).

    Accuracies that are neither in a table nor answers to the search are None.
    """
    arch, cost = meter.architecture(key), costed.cost_of(meter.architecture(key))
    known = costed.accuracy_of(arch)
    violation = problem.violation(arch, cost)
    return {
        "architecture": key if isinstance(key, int) else list(key),
        "text": problem.space.encode(arch),
        "feasible": violation == 0.0,
        "violation": None if violation == math.inf else violation,
        "cost": finite(cost),
        # The answer that the search got; if it did not ask about the architecture, the mean in the table.
        "validation": meter.answers.get(key, known.get("validation")),
        "asked": key in meter.answers,
        "test": known.get("test"),
    }


def _choose(front: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the final recommendation: the best by validation among the feasible ones, or among all if none is feasible.

    Ties go to the lowest index or genes.
    """
    if not front:
        return None
    feasible = [entry for entry in front if entry["feasible"]]
    return min(feasible or front, key=lambda entry: (-(entry["validation"] or 0.0), entry["architecture"]))


def _described(tabulated: TabulatedSpace, index: int | None) -> dict[str, Any] | None:
    if index is None:
        return None
    return {"architecture": index, "test": float(tabulated.test[index]), "validation": float(tabulated.validation[index])}


def failed_record(trial: Trial, reason: str) -> Record:
    """Return the record of a trial whose process ended, hung or ran out of memory before it could return one.

    If the method can no longer be found, the ranking class is that of the evaluator.
    """
    try:
        found = find_method(trial.method, trial.folder)
    except MethodError:
        found = None
    return _ranking_class(trial, found) | {
        "schema": SCHEMA, "identity": trial.identity, "trial": trial.payload(), "status": "failed", "failure": reason,
        "queries": 0, "repeats": 0, "simulated_seconds": 0.0, "questions": [], "recommendations": [], "front": [], "final": None,
        "oracle": None, "regret": None, "report": {},
    }  # fmt: skip
