"""A single search, from a request on the command line to its record in a folder. It is a study of one trial."""

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
    """Raised if a search cannot be run as requested. The message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The request on the command line: names, limits as texts, and settings by name."""

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
    """Return the requested trial and its resolved limits. Paths start from the working folder.

    Raises:
        SearchError: A recipe is missing or superfluous, a value is not allowed in a study, the evaluator does not offer what the method
            needs, or the device has no figures of a limited resource.
        StudyError: A method, a limit, a name or a file cannot be used, as in a study.
    """
    _require_right_recipe(request)
    plan = expand(_study_of(request), Path.cwd(), "")
    if not plan.trials:
        raise SearchError(f"{plan.skipped[0]}{_remedy(request)}")
    # A study runs a deterministic method once, with seed 0. A search uses the requested seed, and its record holds that seed.
    return replace(plan.trials[0], seed=request.seed), plan.boards[0].bounds[0]


def _require_right_recipe(request: SearchRequest) -> None:
    kind = entry_of(request.evaluator).recipe
    if kind and request.recipe is None:
        raise SearchError(f"the evaluator '{request.evaluator}' needs --recipe, the name or path of a {kind}")
    if not kind and request.recipe is not None:
        others = " or ".join(names_of(lambda entry: entry.recipe))
        raise SearchError(f"the evaluator '{request.evaluator}' takes no --recipe; leave it out, or choose --evaluator {others}")


def _study_of(request: SearchRequest) -> Study:
    """Return a study that has the requested trial only."""
    if reserved := sorted(set(request.settings) & set(MethodPart.model_fields)):
        raise SearchError(
            f"a setting cannot be called '{reserved[0]}', because studies use this key for something else; rename the setting"
        )
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
    """Return the remedy for a plan without a trial: change the resource, the evaluator or the installation."""
    space, needs = space_of(request.space), find_method(request.method, Path.cwd()).needs
    if needs <= offers(request.evaluator, space):
        known = ", ".join(device_of(request.device).metrics) if request.device else ""
        return f"; limit a resource that it has ({known}), or name another device"
    if able := names_of(lambda entry: needs <= offers(entry.name, space)):
        return f"; choose --evaluator {' or '.join(able)}"
    return "" if torch_is_installed() else "; relaxations and training need PyTorch: run `pip install budgetnas[train]`"


def search(trial: Trial, folder: Path, watch: Watch | None) -> tuple[Record, dict[str, Any], bool]:
    """Run a search, unless `folder` has its record, and return (record, timing, whether the record was found).

    If a search was interrupted or failed, calling this again with the same folder resumes it from its last checkpoint.
    """
    store = Store(folder)
    with store.locked():
        # A failed search runs again: the user has fixed its cause, or wants to see the error again.
        if trial.identity in store.done() and store.get(trial.identity)["status"] == "ok":
            return store.get(trial.identity), store.timing(trial.identity), True
        record, timing = run_trial(trial, folder, watch)
        store.put(record, timing)
        if record["status"] == "ok":
            store.drop_checkpoints(trial.identity)
        return record, timing, False
