"""A study expanded into its boards, with their limits resolved, and its trials."""

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

# Settings by which a method makes its last recommendation feasible, which its paper does not do, and how labels call such an ending.
_ENDINGS = {"exact": "exact", "repair": "repaired"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A study expanded: its boards, its trials, how pages call each method, and what was left out and why."""

    study: Study
    boards: tuple[BoardPlan, ...]
    trials: tuple[Trial, ...]
    labels: dict[str, str]  # a trial's identity -> how pages call its method
    skipped: tuple[str, ...]
    graphs: dict[str, list[Graph]]  # a trial's identity -> the look-up graphs that its search limits come from
    reference: str  # how the study was named


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of a study, found and set up. `file` holds its look-up `graphs`; both are None without any."""

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
        folder: Where the paths of plug-ins, recipes and look-up graphs start.
        reference: How the study was named; errors start with it, unless it is empty.

    Raises:
        StudyError: Whatever is wrong with a method, a limit, a name or a file, in one line.
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
                    raise StudyError(f"'{other}' and '{method.label}' are one method with the same settings; keep one")
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
    """Return what pages call each method: its label, else its name, with its settings where a name stands twice."""
    names = [_name_with_ending(part) for part in parts]
    labels = [
        f"{name} ({', '.join(f'{key}={value}' for key, value in part.settings.items()) or 'defaults'})" if names.count(name) > 1 else name
        for name, part in zip(names, parts, strict=True)
    ]
    for label in labels:
        if labels.count(label) > 1:
            raise StudyError(f"two methods are called '{label}'; give each [[method]] a label of its own")
    return labels


def _name_with_ending(part: MethodPart) -> str:
    """Return a method's label, else its name, with the word for its ending where it has one and the label lacks the word."""
    label = part.label or part.name
    endings = [word for setting, word in _ENDINGS.items() if part.settings.get(setting) is True and word not in label.lower()]
    return ", ".join([label, *endings])


def _lacking(method: _Method, offered: Mapping[str, frozenset[Need]], evaluator: str) -> Iterator[str]:
    """Yield a line for every space in which the evaluator does not offer what a method needs."""
    for space, offer in offered.items():
        if lacking := ", ".join(sorted(need.value for need in method.found.needs - offer)):
            where = "here" if len(offered) == 1 else f"on {space}"
            yield f"method '{method.name}': it needs {lacking}, which the evaluator '{evaluator}' does not offer {where}"


def _first_trials(study: Study, boards: list[BoardPlan], method: _Method, folder: Path) -> Iterator[tuple[Trial, list[int]]]:
    """Yield, for every problem of the boards, a method's trial with its first seed, without look-up graphs, and all its seeds."""
    problem, found = study.problem, method.found
    # A method that draws nothing does the same with every seed, where the answers are the same too.
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
    """Return a trial with its look-up graphs among its settings, and those graphs. The method has no objection to the problem."""
    try:
        read = [] if method.graphs is None else graphs_of(plain, method.graphs, str(method.file))
        trial = plain if method.graphs is None else looked_up(plain, read)
        _check_problem(method.found, trial)
    except ValueError as error:
        raise StudyError(f"'{method.label}': {error}") from None
    return trial, read


def _check_problem(found: FoundMethod, trial: Trial) -> None:
    """Raise the ValueError of a method that objects to a problem, before anything is searched."""
    method: Any = found.make(dict(trial.settings))
    if not hasattr(method, "check_problem"):
        return
    try:
        method.check_problem(Problem(space_of(trial.space), task_of(trial.dataset), trial.device, trial.limits, trial.allowance))
    except ValueError:
        raise
    except Exception as error:  # a plug-in may raise anything
        raise MethodError(f"check_problem of '{found.reference}' failed: {reason_of(error)}") from None
