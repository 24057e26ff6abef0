"""Expands a study into its boards, with their resolved limits, and its trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetnas.harness.catalogue.catalogue import FoundMethod, MethodError, find_method
from budgetnas.harness.evaluators.registry import entry_of, offers
from budgetnas.harness.lookup.files import read_graphs
from budgetnas.harness.lookup.graphs import Graph, graphs_of, looked_up, without_file
from budgetnas.harness.problem import Allowance, Need, Problem
from budgetnas.harness.records.trial import Trial, reason_of
from budgetnas.harness.studies.board_plan import BoardPlan, board_plans_of, spaces_of
from budgetnas.harness.studies.study import MethodPart, Study, StudyError
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.task import task_of

# Settings that make the last recommendation of a method feasible, which its paper does not do, with their words in labels.
_ENDINGS = {"exact": "exact", "repair": "repaired"}


@dataclass(frozen=True, slots=True)
class Plan:
    """An expanded study: its boards, its trials, the labels of the methods on pages, and the reasons for everything skipped."""

    study: Study
    boards: tuple[BoardPlan, ...]
    trials: tuple[Trial, ...]
    labels: dict[str, str]  # identity of a trial -> label of its method on pages
    skipped: tuple[str, ...]
    graphs: dict[str, list[Graph]]  # identity of a trial -> the look-up graphs that give its search limits
    reference: str  # the path or name that the study was read from


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of a study with its settings. `file` is the file of its look-up `graphs`; both are None if it uses none."""

    name: str
    label: str
    found: FoundMethod
    settings: dict[str, Any]
    file: str | None
    graphs: list[Graph] | None


def expand(study: Study, folder: Path, reference: str) -> Plan:
    """Return the plan of a study.

    Args:
        study: The study.
        folder: The folder from which paths of plug-ins, recipes and look-up graphs start.
        reference: The path or name of the study; errors start with it, unless it is empty.

    Raises:
        StudyError: A method, a limit, a name or a file cannot be used.
    """
    try:
        return _plan(study, folder, reference)
    except ValueError as error:
        raise StudyError(f"{reference}: {error}" if reference else str(error)) from None


def _plan(study: Study, folder: Path, reference: str) -> Plan:
    methods = [_method(part, label, folder) for part, label in zip(study.method, _labels(study.method), strict=True)]
    boards, skipped = board_plans_of(study, folder)
    offered = {space.name: offers(study.problem.evaluator, space) for space in spaces_of(study)}
    trials: dict[str, Trial] = {}
    labels: dict[str, str] = {}
    graphs: dict[str, list[Graph]] = {}
    for method in methods:
        skipped += _lacking(method, offered, study.problem.evaluator)
        able = [board for board in boards if method.found.needs <= offered[board.costed.space.name]]
        for plain, seeds in _first_trials(study, able, method, folder):
            first, read = _checked(plain, method)
            for trial in first.with_seeds(seeds):
                if (other := labels.get(trial.identity)) is not None:
                    raise StudyError(f"'{other}' and '{method.label}' are the same method with the same settings; keep one")
                trials[trial.identity] = trial
                labels[trial.identity] = method.label
                if read:
                    graphs[trial.identity] = read
    return Plan(study, tuple(boards), tuple(trials.values()), labels, tuple(skipped), graphs, reference)


def _method(part: MethodPart, label: str, folder: Path) -> _Method:
    found = find_method(part.name, folder)
    settings, file = without_file(part.settings, found.cls)
    return _Method(part.name, label, found, found.settings(settings), file, None if file is None else read_graphs(folder / file))


def _labels(parts: list[MethodPart]) -> list[str]:
    """Return the label of each method on pages: its label in the study, else its name, with its settings if the name occurs twice."""
    names = [_name_with_ending(part) for part in parts]
    labels = [
        f"{name} ({', '.join(f'{key}={value}' for key, value in part.settings.items()) or 'defaults'})" if names.count(name) > 1 else name
        for name, part in zip(names, parts, strict=True)
    ]
    for label in labels:
        if labels.count(label) > 1:
            raise StudyError(f"two methods are called '{label}'; give each [[method]] a different label")
    return labels


def _name_with_ending(part: MethodPart) -> str:
    """Return a method's label, else its name, followed by the words of its `_ENDINGS` that the label lacks."""
    label = part.label or part.name
    endings = [word for setting, word in _ENDINGS.items() if part.settings.get(setting) is True and word not in label.lower()]
    return ", ".join([label, *endings])


def _lacking(method: _Method, offered: Mapping[str, frozenset[Need]], evaluator: str) -> Iterator[str]:
    """Yield a line for every space on which the evaluator does not offer what a method needs."""
    for space, offer in offered.items():
        if lacking := ", ".join(sorted(need.value for need in method.found.needs - offer)):
            where = "here" if len(offered) == 1 else f"on {space}"
            yield f"method '{method.name}': it needs {lacking}, which the evaluator '{evaluator}' does not offer {where}"


def _first_trials(study: Study, boards: list[BoardPlan], method: _Method, folder: Path) -> Iterator[tuple[Trial, list[int]]]:
    """Yield, for every problem of the boards, the method's trial with the first seed, without look-up graphs, and the list of all seeds."""
    problem, found = study.problem, method.found
    # A deterministic method runs with one seed only, unless the answers of the evaluator depend on the seed.
    once = found.deterministic and problem.validation == "mean" and not entry_of(problem.evaluator).seeded
    seeds = [0] if once else study.seed_list
    for board in boards:
        for bounds in board.bounds:
            yield (
                Trial(
                    space=board.costed.space.name,
                    dataset=board.costed.task.dataset,
                    device=board.costed.device,
                    limits=bounds.limits,
                    allowance=Allowance(problem.allowance.queries, problem.allowance.seconds),
                    validation=problem.validation,
                    method=found.reference,
                    settings=tuple(sorted(method.settings.items())),
                    version=found.version,
                    table=board.costed.checksum,
                    seed=seeds[0],
                    folder=folder if found.plugin else None,
                    training=board.training,
                    evaluator=problem.evaluator,
                ),
                seeds,
            )


def _checked(plain: Trial, method: _Method) -> tuple[Trial, list[Graph]]:
    """Return a trial with its look-up graphs in its settings, and those graphs. Raises `StudyError` if the method rejects the problem."""
    try:
        read = [] if method.graphs is None else graphs_of(plain, method.graphs, str(method.file))
        trial = plain if method.graphs is None else looked_up(plain, read)
        _check_problem(method.found, trial)
    except ValueError as error:
        raise StudyError(f"'{method.label}': {error}") from None
    return trial, read


def _check_problem(found: FoundMethod, trial: Trial) -> None:
    """Raise the method's ValueError if it rejects the problem of a trial, before any search starts."""
    method: Any = found.make(dict(trial.settings))
    if not hasattr(method, "check_problem"):
        return
    try:
        method.check_problem(Problem(space_of(trial.space), task_of(trial.dataset), trial.device, trial.limits, trial.allowance))
    except ValueError:
        raise
    except Exception as error:  # a plug-in may raise anything
        raise MethodError(f"check_problem of '{found.reference}' failed: {reason_of(error)}") from None
