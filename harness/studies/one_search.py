"""One search, from the words of a command line to its record in a folder: a study of one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from budgetnas.harness.catalogue.catalogue import find_method
from budgetnas.harness.costs.limits import Bounds
from budgetnas.harness.evaluators.registry import Watch, entry_of, names_of, offers, torch_is_installed
from budgetnas.harness.records.store import Store
from budgetnas.harness.records.trial import Record, Trial
from budgetnas.harness.studies.plan import expand
from budgetnas.harness.studies.study import AllowancePart, MethodPart, ProblemPart, Study
from budgetnas.harness.trials.conduct import run_trial
from budgetnas.spaces.devices import device_of
from budgetnas.spaces.registry import space_of


class SearchError(ValueError):
    """A search that cannot be made as requested; the message says why and what to change."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The words of a command line: names, limits as texts, settings by name."""

    method: str
    space: str
    dataset: str
    device: str | None
    limits: Sequence[str]
    evaluator: str
    recipe: str | None
    seed: int
    queries: int
    settings: Mapping[str, Any]


def trial_of(request: SearchRequest) -> tuple[Trial, Bounds]:
    """Return the requested trial and its resolved limits. Paths start in the working folder.

    Raises:
        SearchError: The request lacks a recipe, has one too many, or has a value that no study may have; or the evaluator does not offer
            what the method needs; or the device has no figures of a limited resource.
        StudyError: Whatever is wrong with a method, a limit, a name or a file, as in a study.
    """
    _require_right_recipe(request)
    plan = expand(_study_of(request), Path.cwd(), "")
    if not plan.trials:
        raise SearchError(f"{plan.skipped[0]}{_remedy(request)}")
    # A study runs a method that draws nothing once, with seed 0. A search has the seed that it was given, as its record says.
    return replace(plan.trials[0], seed=request.seed), plan.boards[0].bounds[0]


def _require_right_recipe(request: SearchRequest) -> None:
    kind = entry_of(request.evaluator).recipe
    if kind and request.recipe is None:
        raise SearchError(f"the evaluator '{request.evaluator}' needs --recipe, the name or path of a {kind}")
    if not kind and request.recipe is not None:
        others = " or ".join(names_of(lambda entry: entry.recipe))
        raise SearchError(f"the evaluator '{request.evaluator}' takes no --recipe; leave it out, or choose --evaluator {others}")


def _study_of(request: SearchRequest) -> Study:
    """Return the study of one trial that a request stands for."""
    if reserved := sorted(set(request.settings) & set(MethodPart.model_fields)):
        raise SearchError(f"a setting cannot be called '{reserved[0]}', which means something else in studies; call it otherwise")
    try:
        return Study(
            name="search",
            problem=ProblemPart(
                space=request.space,
                datasets=[request.dataset],
                devices=[] if request.device is None else [request.device],
                limits=[list(request.limits)],
                allowance=AllowancePart(queries=request.queries),
                skip_unsupported=True,
                evaluator=request.evaluator,
                recipe=request.recipe,
            ),
            method=[MethodPart.model_validate({"name": request.method, **request.settings})],
            seeds=[request.seed],
        )
    except ValidationError as error:
        first = error.errors()[0]
        given = "" if first["type"] == "value_error" else f", not {first['input']!r:.60}"
        raise SearchError(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}{given}") from None


def _remedy(request: SearchRequest) -> str:
    """Return what to change where a plan has no trial: the resource, the evaluator, or the installation."""
    space, needs = space_of(request.space), find_method(request.method, Path.cwd()).needs
    if needs <= offers(request.evaluator, space):
        known = ", ".join(device_of(request.device).metrics) if request.device else ""
        return f"; limit what it has ({known}), or name another device"
    if able := names_of(lambda entry: needs <= offers(entry.name, space)):
        return f"; choose --evaluator {' or '.join(able)}"
    return "" if torch_is_installed() else "; without PyTorch nothing is relaxed or trained: run `pip install budgetnas[train]`"


def search(trial: Trial, folder: Path, watch: Watch | None) -> tuple[Record, dict[str, Any], bool]:
    """Return a search's record and timing, made now or found in `folder`, and whether it was found.

    Interrupted, or failed, it goes on from its last checkpoint when it is asked for again with the same folder.
    """
    store = Store(folder)
    with store.locked():
        # A failure is no result to keep here: whoever asks again has mended something, or wants to see it again.
        if trial.identity in store.done() and store.get(trial.identity)["status"] == "ok":
            return store.get(trial.identity), store.timing(trial.identity), True
        record, timing = run_trial(trial, folder, watch)
        store.put(record, timing)
        if record["status"] == "ok":
            store.drop_checkpoints(trial.identity)
        return record, timing, False
