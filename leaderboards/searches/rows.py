"""Searches that trained, as they count: one row a problem and method, and what went wrong with single searches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from budgetnas.leaderboards.boards.outcomes import BOARD_COLUMNS, COLUMNS
from budgetnas.leaderboards.shared.documents import LeaderboardError
from budgetnas.leaderboards.shared.nested_columns import reported_figures
from budgetnas.leaderboards.shared.statistics import LEVEL, Estimate, Interval

# What the harness adds to the columns of every record.
SEARCH_COLUMNS = (
    "search_seconds", "search_memory_bytes", "machine", "history", "early_stopped", "queried", "network", "connected", "skip_share",
    "retrained_test", "retrained_validation",
)  # fmt: skip
RESOURCES = ("latency_ms", "energy_mj", "params", "macs", "cycles")
# From this share of skip connections among kept edges on, a cell is said to have collapsed.
COLLAPSED = 0.5
# Of two figures Student's t gives an interval as wide as the scale.
FEWEST_FIGURES = 3


def check(table: pd.DataFrame) -> None:
    """Raise `LeaderboardError` if a column is missing, or there is nothing to show."""
    missing = [name for name in (*COLUMNS, *SEARCH_COLUMNS) if name not in table.columns]
    if missing:
        raise LeaderboardError(f"the searches lack the columns {', '.join(missing)}; read them with this version of the command")
    if table.empty:
        raise LeaderboardError("there are no searches to show; run the study first")


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A method on one problem: means over its searches. Accuracies in percent, costs in the unit of their names, memory in bytes.

    `violation` is the mean sum of relative excesses of recommendations that break a limit, disconnected and unsupported ones left out.
    `regret` is of the feasible ones. `distinct` counts networks, identical ones once. `looked_up` is how many searches the look-up graph
    that they read took, and `graph_seconds` a search's share of its seconds; both NaN without one.
    """

    method: str
    searches: int
    distinct: int
    feasible_share: float
    violation: float
    costs: Mapping[str, float]
    queried: Estimate
    regret: float
    early_stopped: float
    validation: Estimate
    test: Estimate
    seconds: float
    memory: float
    looked_up: float
    graph_seconds: float


def search_rows(table: pd.DataFrame, chance: float) -> list[SearchRow]:
    """Return a row for each method of one problem, by retrained test accuracy, then queried, then early-stopped; the best first."""
    rows = [_row(str(method), searches, chance) for method, searches in table.groupby("method", sort=True)]
    return sorted(rows, key=lambda row: [-_number(value) for value in (row.test.value, row.queried.value, row.early_stopped)])


def _number(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _row(method: str, searches: pd.DataFrame, chance: float) -> SearchRow:
    rows = searches.to_dict("records")
    reported = reported_figures(searches["report"])
    infeasible = searches[~searches["feasible"].astype(bool) & np.isfinite(searches["violation"])]
    return SearchRow(
        method=method,
        searches=len(searches),
        distinct=len(set(searches["network"]) - {""}),
        feasible_share=float(searches["feasible"].mean()),
        violation=_mean(infeasible["violation"]),
        costs={name: _mean(searches[name]) for name in RESOURCES},
        queried=over_searches([(_trainable(row), _one(row["queried"])) for row in rows], chance),
        regret=_mean(searches["regret"]),
        early_stopped=_mean(searches["early_stopped"]),
        validation=over_searches([(_trainable(row), row["retrained_validation"]) for row in rows], chance),
        test=over_searches([(_trainable(row), row["retrained_test"]) for row in rows], chance),
        seconds=_mean(searches["search_seconds"]),
        memory=_mean(searches["search_memory_bytes"]),
        looked_up=_mean(value or math.nan for value in reported.loc[reported["figure"] == "lookup_searches", "value"]),
        graph_seconds=_mean(searches["graph_seconds"]),
    )


def _trainable(row: Mapping[Any, Any]) -> str:
    """Return the network that a search delivered; '' if there is none, or one whose output does not depend on the image."""
    return str(row["network"]) if row["connected"] else ""


def _one(value: float) -> list[float]:
    return [] if math.isnan(value) else [value]


def _mean(values: Any) -> float:
    known = [float(value) for value in values if not math.isnan(float(value))]
    return sum(known) / len(known) if known else math.nan


def over_searches(figures: Sequence[tuple[str, Sequence[float]]], chance: float) -> Estimate:
    """Return the mean over searches of the means over seeds [%], with its 95 % interval by Student's t.

    `figures` has, for every search, its network and the accuracies with each evaluation seed. The spread of the searches' means holds that
    of the seeds; where all searches found one network, whose trainings they share, the interval is over its seeds. A search without a
    network ('') counts with `chance`; one of whose network nothing is known is left out. No value where nothing is known of any, and no
    interval from fewer than `FEWEST_FIGURES`; it is cut at 0 and 100.
    """
    known = [(network, [float(value) for value in seeds] or [chance]) for network, seeds in figures if len(seeds) or not network]
    if not any(network for network, _ in known):
        return Estimate(math.nan)
    means = [float(np.mean(seeds)) for _, seeds in known]
    sample = means if len({network for network, _ in known}) > 1 else known[0][1]
    return Estimate(float(np.mean(means)), _interval(sample, float(np.mean(means))))


def _interval(sample: Sequence[float], mean: float) -> Interval | None:
    from scipy.stats import t

    if len(sample) < FEWEST_FIGURES:
        return None
    half = float(t.ppf(0.5 + LEVEL / 2, len(sample) - 1) * np.std(sample, ddof=1) / math.sqrt(len(sample)))
    return Interval(max(mean - half, 0.0), min(mean + half, 100.0))  # of a percentage


def accuracy_of(row: Mapping[Any, Any]) -> float:
    """Return the accuracy [%] that pictures show of a search: retrained on test images, else queried, else early-stopped; NaN if none."""
    if len(row["retrained_test"]):
        return float(np.mean(row["retrained_test"]))
    queried = float(row["queried"])
    return float(row["early_stopped"]) if math.isnan(queried) else queried


def kind_of_accuracy(table: pd.DataFrame) -> str:
    """Return what `accuracy_of` is for these searches, '' where nothing is known of any; a picture must not mix kinds."""
    if any(len(seeds) for seeds in table["retrained_test"]):
        return "retrained test accuracy"
    if table["queried"].notna().any():
        return "queried test accuracy"
    return "early-stopped validation accuracy" if table["early_stopped"].notna().any() else ""


def flags(table: pd.DataFrame) -> list[tuple[str, str, int, str]]:
    """Return (method, problem, seed, what is wrong) of every search that failed, collapsed, or delivered nothing that is connected."""
    found = []
    for row in table.sort_values([*BOARD_COLUMNS, "problem", "method", "seed"]).to_dict("records"):
        place = row["problem"] + (f" on {row['device']}" if row["device"] else "")
        said = []
        if row["status"] == "failed":
            said.append(f"failed: {str(row['failure']).strip() or 'without a reason'}")
        elif not row["network"]:
            said.append("recommended nothing")
        elif not row["connected"]:
            said.append("recommended a disconnected network")
        if row["skip_share"] >= COLLAPSED:
            said.append(f"skip connections are {100 * row['skip_share']:.0f} % of the kept edges")
        found += [(str(row["method"]), place, int(row["seed"]), text) for text in said]
    return found
