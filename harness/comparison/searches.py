"""Reads the searches of a run that trained into a table: records, timings, the steps of each search and retrained accuracies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from budgetnas.harness.comparison.retrain_all import RetrainedCandidate
from budgetnas.harness.costs.costed_space import costed_space_of
from budgetnas.harness.records.histories import read_history
from budgetnas.harness.records.ranking_classes import TRAINING
from budgetnas.harness.records.store import RunError, Store
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, Relaxable, Space

if TYPE_CHECKING:
    import pandas as pd

COMPARISON = "compare.json"  # in the run's folder; holds the last comparison, wherever its page was written
_LAST_SHARE = 0.1  # of the kept steps; a single step's loss is that of one batch


def write_comparison(store: Store, retrained: Sequence[RetrainedCandidate], command: str) -> None:
    """Write the comparison for the pages of a run: recipe, command, and every network's accuracies [%] by evaluation seed."""
    networks = [
        {
            "space": one.candidate.space,
            "dataset": one.candidate.dataset,
            "genes": list(one.candidate.arch.genes),
            "seeds": [training.identity["seed"] for training in one.trainings],
            "test": [training.test for training in one.trainings],
            "validation": [training.validation for training in one.trainings],
            "epochs": len(one.trainings[0].epochs),
            "diverged": sum(training.diverged for training in one.trainings),
        }
        for one in retrained
    ]
    recipe = retrained[0].trainings[0].identity["recipe"]
    store.write(store.root / COMPARISON, {"recipe": recipe, "command": command, "networks": networks})


def read_comparison(store: Store) -> dict[str, Any]:
    """Return what `write_comparison` wrote, without networks if there is no comparison. Raises `RunError` if the file is damaged."""
    path = store.root / COMPARISON
    if not path.is_file():
        return {"recipe": "", "networks": []}
    found = store.read(path)
    try:
        _by_network(found)
    except (KeyError, TypeError):
        raise RunError(f"{path} is not a comparison; delete it and run `budgetnas compare` again") from None
    return dict(found)


def _by_network(comparison: Mapping[str, Any]) -> dict[tuple[str, str, tuple[int, ...]], Mapping[str, Any]]:
    return {(each["space"], each["dataset"], tuple(each["genes"])): each for each in comparison["networks"]}


def history_of(store: Store, identity: str) -> list[dict[str, float | None]]:
    """Return the steps that a trial kept, each as `{"step": ..., figure: value, ...}`; an empty list if the trial has no history."""
    found = read_history(store.root, identity)
    return found["steps"] if found else []


def last_figures(steps: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the mean of every figure over the last tenth of the kept steps; unknown figures are left out.

    >>> last_figures([{"step": step, "loss": float(step)} for step in range(20)])["loss"]
    18.5
    """
    last = steps[-max(1, math.ceil(_LAST_SHARE * len(steps))) :]
    names = {name for row in last for name in row}
    known = {name: [value for row in last if (value := row.get(name)) is not None] for name in sorted(names)}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def searched(store: Store, records: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the records with the columns that the pages of searches need, and the comparison behind `retrained_*`.

    Returns:
        The records, with these columns added, and the content of the comparison as `read_comparison` returns it.

        - `search_seconds`, `search_memory_bytes`, `machine`: measured, NaN or '' if unknown.
        - `network`: the text of the representative of identical networks, `connected`: whether it is connected.
        - `skip_share`: the share of skip connections among the edges that the network keeps, NaN if the space has no edges.
        - `history`: the steps, as `history_of` returns them.
        - `retrained_test`, `retrained_validation`: accuracies [%] by evaluation seed, empty if the network was not retrained.
        - `early_stopped`: validation accuracy [%] after the search's own training, or NaN; `queried`: a table's test accuracy [%], or NaN.
    """
    comparison = read_comparison(store)
    known = _by_network(comparison)
    rows = [_row(store, row, known) for row in records.to_dict("records")]
    return records.assign(**{name: [row[name] for row in rows] for name in rows[0]}), comparison


def _row(store: Store, row: Mapping[Any, Any], known: Mapping[tuple[str, str, tuple[int, ...]], Mapping[str, Any]]) -> dict[str, Any]:
    timing = _timing(store, row["identity"])
    found: dict[str, Any] = {
        "search_seconds": float(timing.get("search_seconds", row["simulated_seconds"] or timing.get("trial_seconds", math.nan))),
        "search_memory_bytes": float(timing.get("search_memory_bytes", math.nan)),
        "machine": str(timing.get("device", "")),
        "history": history_of(store, row["identity"]),
        "early_stopped": row["validation"] if row["ranking_class"] == TRAINING else math.nan,
        "queried": math.nan,
    }
    of_network: Mapping[str, Any] = {}
    network, connected, skip_share = "", False, math.nan
    if row["recommendation"]:
        space = space_of(row["space"])
        arch = space.decode(row["recommendation"])
        canonical = space.canonical(arch)
        network, connected, skip_share = space.encode(canonical), space.connected(arch), _skip_share(space, arch)
        of_network = known.get((row["space"], row["dataset"], canonical.genes), {})
        found["queried"] = costed_space_of(row["space"], row["dataset"]).accuracy_of(canonical).get("test", math.nan)
    return found | {
        "network": network,
        "connected": connected,
        "skip_share": skip_share,
        "retrained_test": list(of_network.get("test", [])),
        "retrained_validation": [value for value in of_network.get("validation", []) if value is not None],
    }


def _skip_share(space: Space, arch: Architecture) -> float:
    if not isinstance(space, Relaxable):
        return math.nan
    cells = zip(space.searched, space.one_hot(arch), strict=True)
    kept = [cell.operations[int(row.argmax())] for cell, rows in cells for row in rows if row.any()]
    return kept.count("skip_connect") / max(len(kept) - kept.count("none"), 1)


def _timing(store: Store, identity: str) -> dict[str, Any]:
    """Return the timing of a trial or a selection; it is empty if the process ended before it was measured."""
    path: Path = store.timings / f"{identity}.json"
    return dict(store.read(path)) if path.is_file() else store.timing(identity)
