"""One search, from the words of a command line to its record in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from budgetnas.harness.catalogue.catalogue import MethodError, find_method
from budgetnas.harness.costs.costed_space import Terrain, terrain_of
from budgetnas.harness.costs.limits import Bounds, require_attainable, resolve
from budgetnas.harness.costs.tabulated_space import Landscape
from budgetnas.harness.evaluators.registry import Watch, offers, torch_is_installed
from budgetnas.harness.lookup.files import read_graphs
from budgetnas.harness.lookup.graphs import graphs_of, looked_up, without_file
from budgetnas.harness.problem import Allowance
from budgetnas.harness.records.store import Store
from budgetnas.harness.records.trial import Record, Trial
from budgetnas.harness.studies.plan import check_problem, training_of
from budgetnas.harness.trials.conduct import run_trial
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Enumerable
from budgetnas.spaces.tables.home import open_table

Kind = Literal["table", "supernet", "training"]


class SearchError(ValueError):
    """A search that cannot be made as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for: names, limits as texts, settings by name."""

    method: str
    space: str
    dataset: str
    device: str | None
    limits: Sequence[str]
    evaluator: Kind
    recipe: str | None
    seed: int
    queries: int
    settings: Mapping[str, Any]


def trial_of(asked: Asked) -> tuple[Trial, Bounds]:
    """Return the trial that is asked for, and its limits resolved. What is wrong is said in one line, as a study's would be."""
    if (asked.evaluator == "table") != (asked.recipe is None):
        raise SearchError("a search in a supernet or by training needs --recipe, and one on a table takes none")
    space = space_of(asked.space)
    found = find_method(asked.method, Path.cwd())
    lacking = found.needs - offers(asked.evaluator, space)
    if lacking:
        needs = ", ".join(sorted(need.value for need in lacking))
        hint = "" if torch_is_installed() else "; without PyTorch nothing is relaxed or trained: run `pip install budgetnas[train]`"
        offer = f"which the evaluator '{asked.evaluator}' does not offer for {space.name}"
        raise MethodError(f"method '{asked.method}' needs {needs}, {offer}{hint}")
    if asked.evaluator == "table" and not isinstance(space, Enumerable):
        raise SearchError(f"'{space.name}' has no table, its architectures are too many; search it with --evaluator supernet or training")
    if asked.evaluator == "table":
        open_table(asked.space, asked.dataset)
    terrain: Terrain = terrain_of(asked.space, asked.dataset, asked.device)
    if asked.evaluator == "table" and isinstance(terrain, Landscape):
        terrain.require_complete()
    bounds = resolve(terrain, asked.limits)
    if asked.evaluator != "table":
        require_attainable(terrain, bounds)
    settings, file = without_file(asked.settings, found.cls)
    trial = Trial(
        space=space.name,
        dataset=asked.dataset,
        device=asked.device,
        limits=bounds.limits,
        allowance=Allowance(asked.queries),
        validation="mean",
        method=found.reference,
        settings=tuple(sorted(found.settings(settings).items())),
        version=found.version,
        table=terrain.checksum,
        seed=asked.seed,
        folder=Path.cwd() if found.plugin else None,
        training=None if asked.evaluator == "table" else training_of(asked.evaluator, asked.recipe or "", asked.dataset, Path.cwd()),
    )
    if file is not None:
        trial = looked_up(trial, graphs_of(trial, read_graphs(Path(file)), file))
    check_problem(found, trial)
    return trial, bounds


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
