"""The selection of DARTS: several searches run, each recommendation is retrained briefly, and the best by validation is chosen.

All searches and trainings are charged. Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search" (ICLR 2019), section 3.1: of
four searches, the cell with the best validation accuracy after a short training from scratch is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from budgetnas.harness.comparison.retrain_all import Item, train
from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.records.store import RunError, Store
from budgetnas.harness.records.trial import Trial
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture

if TYPE_CHECKING:
    import pandas as pd

    from budgetnas.harness.studies.plan import Plan
    from budgetnas.harness.training.result import Trained

SCHEMA = 1
# The seed of the brief trainings. No search and no comparison uses it: seeds used for selection are never used for evaluation.
SEED = 2_000_000
_NOTHING = {"recommendation": "", "feasible": False, "violation": math.inf, "test": math.nan, "validation": math.nan, "front": []}
Show = Callable[[int, int], None]  # trainings done, and their total number


@dataclass(frozen=True, slots=True)
class Group:
    """Searches of one method on one problem, from which one network is chosen, and the label of the choice on pages."""

    label: str
    trials: tuple[Trial, ...]
    recipe: str
    recipe_checksum: str
    images: str

    @property
    def identity(self) -> str:
        """The sha256 of everything that decides the choice, in hexadecimal."""
        trials = [trial.identity for trial in self.trials]
        return identity_of({"schema": SCHEMA, "trials": trials, "recipe": self.recipe_checksum, "images": self.images, "seed": SEED})


def groups_of(plan: Plan) -> list[Group]:
    """Return the groups of a plan, in the order of its trials; empty if the study has no [selection]."""
    chosen = plan.study.selection
    if chosen is None:
        return []
    recipes = {(board.costed.task.dataset, board.costed.device): board.selection for board in plan.boards}
    of_method: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in plan.trials:
        of_method.setdefault((plan.labels[trial.identity], trial.space, trial.dataset, trial.device, trial.limits), []).append(trial)
    groups = []
    for (label, _, dataset, device, _), trials in of_method.items():
        brief = recipes[dataset, device]
        if brief is None:
            continue
        for start in range(0, len(trials), chosen.of):
            part = tuple(trials[start : start + chosen.of])
            called = f"{label} (best of {len(part)} by brief retraining)"
            groups.append(Group(called, part, brief.recipe, brief.recipe_checksum, brief.images))
    return groups


def select(plan: Plan, store: Store, workers: int, show: Show) -> int:
    """Choose a network from every group that has no choice yet, and return the number of groups.

    Feasible recommendations come before infeasible ones; ties go to the first search. Kept trainings are reused.

    Args:
        plan: The plan.
        store: The run folder, with the records of all searches.
        workers: The number of parallel trainings.
        show: Called with (trainings done, total) after every training.
    """
    groups = groups_of(plan)
    folder = store.root / "selections"
    records = {trial.identity: store.get(trial.identity) for group in groups for trial in group.trials}
    missing = [group for group in groups if not _stands(store, group, records)]
    if not missing:
        return len(groups)
    with store.locked():
        folder.mkdir(exist_ok=True)
        wanted = {group.identity: [_item(records[trial.identity]) for trial in group.trials] for group in missing}
        found: dict[Item, Trained] = {}
        in_all = len({item for items in wanted.values() for item in items if item is not None})
        for recipe in sorted({group.recipe for group in missing}):
            items = [item for group in missing if group.recipe == recipe for item in wanted[group.identity] if item is not None]
            train(list(dict.fromkeys(items)), _read(recipe), workers, found, lambda: show(len(found), in_all))
        for group in missing:
            trained = [None if item is None else found[item] for item in wanted[group.identity]]
            store.write(store.timings / f"{group.identity}.json", _timing(store, group, trained))
            store.write(folder / f"{group.identity}.json", _choice(group, [records[trial.identity] for trial in group.trials], trained))
    return len(groups)


def _stands(store: Store, group: Group, records: dict[str, dict[str, Any]]) -> bool:
    """Return whether a choice exists for the present recommendations. They may differ, because failed searches may have run again."""
    path = store.root / "selections" / f"{group.identity}.json"
    if not path.is_file():
        return False
    try:
        texts = [each["text"] for each in store.read(path)["candidates"]]
    except (KeyError, TypeError):
        raise RunError(f"{path} is damaged; delete it and run the study again") from None
    return texts == [_text(records[trial.identity]) for trial in group.trials]


def _text(record: dict[str, Any]) -> str:
    return str(record["final"]["text"]) if record["final"] else ""


def _read(recipe: str) -> Any:
    from budgetnas.harness.training.recipes.recipe import read_recipe

    return read_recipe(recipe)


def _item(record: dict[str, Any]) -> Item | None:
    """Return the network of a search to train; None if it recommended nothing, or a disconnected architecture."""
    if record["final"] is None:
        return None
    space = space_of(record["trial"]["space"])
    arch: Architecture = space.canonical(space.decode(record["final"]["text"]))
    return (space.name, arch, record["trial"]["dataset"], SEED) if space.connected(arch) else None


def _choice(group: Group, records: Sequence[dict[str, Any]], trained: Sequence[Trained | None]) -> dict[str, Any]:
    candidates = [
        {
            "trial": record["identity"],
            "text": _text(record),
            "feasible": bool(record["final"] and record["final"]["feasible"]),
            "validation": None if training is None else training.validation,
        }
        for record, training in zip(records, trained, strict=True)
    ]
    known = [each for each in candidates if each["validation"] is not None]
    best = max(known, key=lambda each: (each["feasible"], each["validation"]), default=None)
    return {
        "schema": SCHEMA,
        "identity": group.identity,
        "label": group.label,
        "recipe": {"name": group.recipe, "checksum": group.recipe_checksum},
        "seed": SEED,
        "candidates": candidates,
        "chosen": None if best is None else best["trial"],
    }


def _timing(store: Store, group: Group, trained: Sequence[Trained | None]) -> dict[str, Any]:
    """Return the full cost of a choice: the seconds of all its searches and brief trainings, even if another group shares them."""
    each = []
    for trial in group.trials:
        each.append(store.timing(trial.identity))
    searches = sum(float(timing.get("search_seconds", timing.get("trial_seconds", 0.0))) for timing in each)
    trainings = sum(training.seconds for training in trained if training is not None)
    peaks = [float(timing["search_memory_bytes"]) for timing in each if "search_memory_bytes" in timing]
    peaks += [float(training.peak_memory_bytes) for training in trained if training is not None]
    return {
        "search_seconds": searches + trainings,
        "selection_seconds": trainings,
        "search_memory_bytes": max(peaks, default=0.0),
        "device": next((timing["device"] for timing in each if "device" in timing), ""),
    }


def planned(plan: Plan) -> dict[str, Any]:
    """Return the entry of plan.json for the selections: the label and the trials of each group, by its identity."""
    return {group.identity: {"label": group.label, "trials": [trial.identity for trial in group.trials]} for group in groups_of(plan)}


def with_selections(store: Store, plan: dict[str, Any], records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with one more row for every choice: the row of the chosen search, with the label of the group.

    Its seed is the number of the group, and its queries and simulated seconds are the sums over the group. If no search of the group
    recommended a network to choose, the row has no recommendation.
    """
    import pandas as pd

    by_identity = {row["identity"]: row for row in records.to_dict("records")}
    rows: list[dict[Any, Any]] = []
    counted: dict[tuple[Any, ...], int] = {}
    for identity, each in plan.get("selections", {}).items():
        path = store.root / "selections" / f"{identity}.json"
        if not path.is_file() or not set(each["trials"]) <= set(by_identity):
            continue
        try:
            chosen = store.read(path)["chosen"]
            row = by_identity[chosen if chosen is not None else each["trials"][0]]
        except (KeyError, TypeError):
            raise RunError(f"{path} is damaged; delete it and run the study again") from None
        nothing = (
            {} if chosen is not None else {"recommendation": "", "feasible": False, "violation": math.inf, "status": "ok", "failure": ""}
        )
        place = (each["label"], row["space"], row["dataset"], row["device"], row["problem"])
        counted[place] = counted.get(place, -1) + 1
        spent = {name: sum(by_identity[trial][name] for trial in each["trials"]) for name in ("queries", "simulated_seconds")}
        rows.append({**row, "identity": identity, "method": each["label"], "seed": counted[place], "report": [], **spent, **nothing})
    lists = {name: records[name].dtype for name in ("front", "report")}
    return pd.concat([records, pd.DataFrame(rows).astype(lists)], ignore_index=True) if rows else records
