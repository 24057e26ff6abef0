"""A study expanded: its problems with their limits resolved, and its trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from budgetnas.harness.catalogue.catalogue import FoundMethod, MethodError, find_method
from budgetnas.harness.costs.costed_space import Terrain, terrain_of
from budgetnas.harness.costs.limits import Bounds, parse_limits, require_attainable, resolve_all
from budgetnas.harness.costs.tabulated_space import landscape_of
from budgetnas.harness.evaluators.registry import offers
from budgetnas.harness.lookup.files import read_graphs
from budgetnas.harness.lookup.graphs import Graph, graphs_of, looked_up, without_file
from budgetnas.harness.problem import Allowance, Need, Problem
from budgetnas.harness.records.trial import TrainingSpec, Trial, reason_of
from budgetnas.harness.studies.study import MethodPart, Study, StudyError
from budgetnas.spaces.devices import DEVICE_RESOURCES, UnknownDevice, device_of
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Space
from budgetnas.spaces.task import task_of

_MENDED = {"exact": "exact", "repair": "repaired"}  # a setting by which a method makes its recommendation feasible, and its word on pages


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of problems of a plan: a space, a dataset and a device with their resolved limits."""

    terrain: Terrain
    bounds: tuple[Bounds, ...]
    training: TrainingSpec | None = None
    selection: TrainingSpec | None = None  # the brief one by which one network of several searches is chosen


@dataclass(frozen=True, slots=True)
class Plan:
    """A study expanded: its boards, its trials, how each method is called on pages, and what was left out and why."""

    study: Study
    cells: tuple[Cell, ...]
    trials: tuple[Trial, ...]
    labels: dict[str, str]  # a trial's identity -> how pages call its method
    skipped: tuple[str, ...]
    graphs: dict[str, list[Graph]]  # a trial's identity -> the look-up graphs that its search limits come from
    reference: str  # how the study was named


def expand(study: Study, folder: Path, reference: str) -> Plan:
    """Return the plan of a study. Whatever is wrong with a method, a limit or a name is a `StudyError` that names the study."""
    try:
        methods = [(part, find_method(part.name, folder)) for part in study.method]
        given = [without_file(part.settings, found.cls) for part, found in methods]
        settings = [found.settings(plain) for (_, found), (plain, _) in zip(methods, given, strict=True)]
        graphs = [None if file is None else read_graphs(folder / file) for _, file in given]
        cells, skipped = _cells(study, folder)
        offered = {space.name: offers(study.problem.evaluator, space) for space in _spaces(study)}
    except (MethodError, ValueError) as error:
        raise StudyError(f"{reference}: {error}") from None
    labels = _labels(study, reference)
    trials: dict[str, Trial] = {}
    called: dict[str, str] = {}
    read: dict[str, list[Graph]] = {}
    for (part, found), chosen, label, (_, file), looked in zip(methods, settings, labels, given, graphs, strict=True):
        skipped += _lacking(part.name, found, offered, study.problem.evaluator)
        able = [cell for cell in cells if found.needs <= offered[cell.terrain.space.name]]
        for plain, seeds in _first_trials(study, able, found, chosen, folder):
            try:
                of_trial = [] if looked is None else graphs_of(plain, looked, str(file))
                first = plain if looked is None else looked_up(plain, of_trial)
                check_problem(found, first)
            except ValueError as error:
                raise StudyError(f"{reference}: '{label}': {error}") from None
            for trial in first.with_seeds(seeds):
                if trial.identity in trials:
                    raise StudyError(
                        f"{reference}: '{called[trial.identity]}' and '{label}' are one method with the same settings; keep one"
                    )
                trials[trial.identity] = trial
                called[trial.identity] = label
                if of_trial:
                    read[trial.identity] = of_trial
    return Plan(study, tuple(cells), tuple(trials.values()), called, tuple(skipped), read, reference)


def check_problem(found: FoundMethod, trial: Trial) -> None:
    """Let a method that can object to a problem do so before anything is searched: ValueError, with its reason."""
    method: Any = found.make(dict(trial.settings))
    if not hasattr(method, "check_problem"):
        return
    try:
        method.check_problem(Problem(space_of(trial.space), task_of(trial.dataset), trial.device, trial.limits, trial.allowance))
    except ValueError:
        raise
    except Exception as error:  # a plug-in may raise what it likes
        raise MethodError(f"check_problem of '{found.reference}' failed: {reason_of(error)}") from None


def _spaces(study: Study) -> list[Space]:
    """Return the spaces of a study, each once, however it is written."""
    return list({space.name: space for space in map(space_of, study.problem.spaces)}.values())


def _lacking(method: str, found: FoundMethod, offered: Mapping[str, frozenset[Need]], evaluator: str) -> Iterator[str]:
    """Yield a line for every space in which the evaluator does not offer what a method needs."""
    for space, offer in offered.items():
        if lacking := ", ".join(sorted(need.value for need in found.needs - offer)):
            where = "here" if len(offered) == 1 else f"on {space}"
            yield f"method '{method}': it needs {lacking}, which the evaluator '{evaluator}' does not offer {where}"


def _labels(study: Study, reference: str) -> list[str]:
    """Return what pages call each method: its label, else its name, with its settings where a name stands twice.

    A recommendation that a method mends at its end, which its paper does not, is told from the paper's by the label, whoever wrote it.
    """
    names = [_mended(part) for part in study.method]
    labels = [
        f"{name} ({', '.join(f'{key}={value}' for key, value in part.settings.items()) or 'defaults'})" if names.count(name) > 1 else name
        for name, part in zip(names, study.method, strict=True)
    ]
    for label in labels:
        if labels.count(label) > 1:
            raise StudyError(f"{reference}: two methods are called '{label}'; give each [[method]] a label of its own")
    return labels


def _mended(part: MethodPart) -> str:
    """Return a method's label, else its name, that says whether its ending is exact or repaired."""
    label = part.label or part.name
    told = [word for setting, word in _MENDED.items() if part.settings.get(setting) is True and word not in label.lower()]
    return ", ".join([label, *told])


def _cells(study: Study, folder: Path) -> tuple[list[Cell], list[str]]:
    problem = study.problem
    groups = [[group] if isinstance(group, str) else group for group in problem.limits]
    cells: list[Cell] = []
    skipped: list[str] = []
    for dataset in dict.fromkeys(problem.datasets):
        for device in dict.fromkeys(problem.devices) or [None]:
            wanted = groups
            if device is not None:
                wanted = [group for group in groups if not _unsupported(group, device)]
                for group in groups:
                    if group not in wanted:
                        line = f"{dataset} on {device}, limit {','.join(group)}: the device has no {_unsupported(group, device)}"
                        if not problem.skip_unsupported:
                            raise UnknownDevice(f"{line}; leave it out, or set problem.skip_unsupported = true")
                        skipped.append(line)
            if wanted:
                cells += [_cell(study, space.name, dataset, device, wanted, folder) for space in _spaces(study)]
    return cells, skipped


def _cell(study: Study, space: str, dataset: str, device: str | None, groups: list[list[str]], folder: Path) -> Cell:
    """Return a space, dataset and device with their limits resolved, and what is trained there."""
    problem = study.problem
    if problem.evaluator == "table":
        landscape = landscape_of(space, dataset, device)
        landscape.require_complete()
        return Cell(landscape, tuple(resolve_all(landscape, groups)))
    terrain = terrain_of(space, dataset, device)
    bounds = tuple(resolve_all(terrain, groups))
    for each in bounds:
        require_attainable(terrain, each)  # a search that trains for hours must not be what finds out
    training = training_of(problem.evaluator, problem.recipe or "", dataset, folder)
    selection = training_of("training", study.selection.recipe, dataset, folder) if study.selection else None
    return Cell(terrain, bounds, training, selection)


def training_of(evaluator: Literal["supernet", "training"], recipe: str, dataset: str, folder: Path) -> TrainingSpec:
    """Return what a trial trains, by a recipe's name or its path seen from `folder`, with the checksums of recipe and images.

    `RecipeError`, `MissingImages` and `DamagedImages` say what is wrong, `CannotRetrain` that nothing would judge what is trained.
    """
    from budgetnas.harness.evaluators.training import require_validation
    from budgetnas.harness.training.images.load import load
    from budgetnas.harness.training.recipes.recipe import read_recipe
    from budgetnas.harness.training.recipes.search_recipe import read_search_recipe

    reference = str(folder / recipe) if recipe.endswith(".toml") else recipe
    read: Any = read_search_recipe if evaluator == "supernet" else read_recipe
    found, images = read(reference), load(task_of(dataset))
    if evaluator == "training":
        require_validation(found, images)
    return TrainingSpec(evaluator, reference, found.checksum, images.checksum)


def _unsupported(group: list[str], device: str) -> str:
    """Return the first resource of a group of limits that a device has no figures of, or ''."""
    named = [limit.resource for limit in parse_limits(group)]
    return next((name for name in named if name in DEVICE_RESOURCES and name not in device_of(device).metrics), "")


def _first_trials(
    study: Study, cells: list[Cell], found: FoundMethod, settings: dict[str, Any], folder: Path
) -> Iterator[tuple[Trial, Sequence[int]]]:
    """Yield, for every problem, the trial of the first seed, and all seeds."""
    problem = study.problem
    # A method that draws nothing does the same for every seed, unless the table shows it another training seed.
    once = found.deterministic and problem.validation == "mean" and problem.evaluator == "table"
    seeds = [0] if once else study.seed_list
    for cell in cells:
        for bounds in cell.bounds:
            yield (
                Trial(
                    space=cell.terrain.space.name,
                    dataset=cell.terrain.task.dataset,
                    device=cell.terrain.device,
                    limits=bounds.limits,
                    allowance=Allowance(problem.allowance.queries, problem.allowance.seconds),
                    validation=problem.validation,
                    method=found.reference,
                    settings=tuple(sorted(settings.items())),
                    version=found.version,
                    table=cell.terrain.checksum,
                    seed=seeds[0],
                    folder=folder if found.plugin else None,
                    training=cell.training,
                ),
                seeds,
            )
