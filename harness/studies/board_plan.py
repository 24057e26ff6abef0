"""The boards of a study: its spaces, datasets and devices, each with its resolved limits and its recipes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from budgetnas.harness.costs.costed_space import CostedSpace, costed_space_of
from budgetnas.harness.costs.limits import Bounds, parse_limits, require_attainable, resolve_all
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.registry import alternatives, entry_of, names_of, training_spec_of
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR
from budgetnas.harness.records.trial import TrainingSpec
from budgetnas.harness.studies.study import Study, StudyError
from budgetnas.spaces.devices import DEVICE_RESOURCES, UnknownDevice, device_of
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Enumerable, Space
from budgetnas.spaces.task import task_of


@dataclass(frozen=True, slots=True)
class BoardPlan:
    """One board of a plan: a space, a dataset and a device, with the resolved limits, the evaluator and the recipes."""

    costed: CostedSpace
    bounds: tuple[Bounds, ...]
    evaluator: str = DEFAULT_EVALUATOR
    training: TrainingSpec | None = None
    selection: TrainingSpec | None = None  # the brief training that chooses one network of several searches


def spaces_of(study: Study) -> list[Space]:
    """Return the spaces of a study, each once, even if two names stand for the same space."""
    return list({space.name: space for space in map(space_of, study.problem.spaces)}.values())


def board_plans_of(study: Study, folder: Path) -> tuple[list[BoardPlan], list[str]]:
    """Return the boards of a study, and a line for every group of limits that is skipped because a device has no figures of a resource.

    Args:
        study: The study.
        folder: The folder from which paths of recipes start.

    Raises:
        UnknownDevice: A group of limits would be skipped, and the study does not set `skip_unsupported`.
        ValueError: A name, a limit, a table, a recipe or the images cannot be used; the class of the error depends on the cause.
    """
    problem = study.problem
    boards: list[BoardPlan] = []
    left_out: list[str] = []
    for dataset in dict.fromkeys(problem.datasets):
        for device in dict.fromkeys(problem.devices) or [None]:
            groups = [[group] if isinstance(group, str) else group for group in problem.limits]
            supported = [group for group in groups if device is None or not _unsupported(group, device)]
            lines = [] if device is None else _left_out(groups, dataset, device)
            if lines and not problem.skip_unsupported:
                raise UnknownDevice(f"{lines[0]}; leave it out, or set problem.skip_unsupported = true")
            left_out += lines
            if supported:
                boards += [_board_plan(study, space, dataset, device, supported, folder) for space in spaces_of(study)]
    return boards, left_out


def _left_out(groups: list[list[str]], dataset: str, device: str) -> list[str]:
    lacking = [(group, _unsupported(group, device)) for group in groups]
    return [f"{dataset} on {device}, limit {','.join(group)}: the device has no {name}" for group, name in lacking if name]


def _unsupported(group: list[str], device: str) -> str:
    """Return the first resource in a group of limits of which the device has no figures, or ''."""
    named = [limit.resource for limit in parse_limits(group)]
    return next((name for name in named if name in DEVICE_RESOURCES and name not in device_of(device).metrics), "")


def _board_plan(study: Study, space: Space, dataset: str, device: str | None, groups: list[list[str]], folder: Path) -> BoardPlan:
    """Return the board of a space, a dataset and a device."""
    problem, entry = study.problem, entry_of(study.problem.evaluator)
    costed = _with_whole_table(space, dataset, device) if entry.reads_table else costed_space_of(space.name, dataset, device)
    bounds = tuple(resolve_all(costed, groups))
    if not entry.reads_table:
        for each in bounds:
            require_attainable(costed, each)  # checked now, not after hours of training
    training = training_spec_of(entry.name, problem.recipe or "", task_of(dataset), folder) if entry.recipe else None
    selection = _selection(study.selection.recipe, dataset, folder) if study.selection else None
    return BoardPlan(costed, bounds, entry.name, training, selection)


def _with_whole_table(space: Space, dataset: str, device: str | None) -> CostedSpace:
    """Return a space with its table. Raises `StudyError` or `TableError` unless the table has all architectures."""
    if not isinstance(space, Enumerable):
        others = alternatives(names_of(lambda entry: not entry.reads_table))
        raise StudyError(f"'{space.name}' has no table, because it has too many architectures; choose another evaluator: {others}")
    tabulated = tabulated_space_of(space.name, dataset, device)
    tabulated.require_complete()
    return tabulated


def _selection(recipe: str, dataset: str, folder: Path) -> TrainingSpec:
    """Return the brief training of a selection, in which each network is trained from scratch by a training recipe."""
    from budgetnas.harness.evaluators.training import training_spec

    return training_spec(str(folder / recipe) if recipe.endswith(".toml") else recipe, task_of(dataset))
