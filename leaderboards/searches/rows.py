"""The figures of searches that trained: one row per problem and method, and flags of single searches."""

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

# The columns that the harness adds to those of every record.
SEARCH_COLUMNS = (
    "search_seconds", "search_memory_bytes", "machine", "history", "early_stopped", "queried", "network", "connected", "skip_share",
    "retrained_test", "retrained_validation",
)  # fmt: skip
RESOURCES = ("latency_ms", "energy_mj", "params", "macs", "cycles")
# A cell counts as collapsed if skip connections are at least this share of its kept edges.
COLLAPSED = 0.5
# With two values, the interval by Student's t would be as wide as the scale.
FEWEST_FIGURES = 3


def check(table: pd.DataFrame) -> None:
    """Raise LeaderboardError if a column is missing, or if there are no rows."""
    missing = [name for name in (*COLUMNS, *SEARCH_COLUMNS) if name not in table.columns]
    if missing:
        raise LeaderboardError(f"the searches lack the columns {', '.join(missing)}; read them with this version of budgetnas")
    if table.empty:
        raise LeaderboardError("there are no searches to show; run the study first")


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A method on one problem, as means over its searches. Accuracies are in percent, costs in the units of their names, memory in bytes.

    Attributes:
        distinct: the number of different networks; identical ones count once.
        violation: sum of relative excesses, over searches that break a limit, without disconnected and unsupported networks.
        regret: over feasible recommendations [points].
        looked_up: the searches for the look-up graph that the searches read; NaN without one.
        graph_seconds: the seconds of those searches, divided among the method's searches; NaN without a graph.
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
    """Return a row per method of one problem, the best first, by retrained test accuracy, then queried, then early-stopped."""
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
    """Return the network that a search delivered; '' if there is none, or if it is disconnected."""
    return str(row["network"]) if row["connected"] else ""


def _one(value: float) -> list[float]:
    return [] if math.isnan(value) else [value]


def _mean(values: Any) -> float:
    known = [float(value) for value in values if not math.isnan(float(value))]
    return sum(known) / len(known) if known else math.nan


def over_searches(figures: Sequence[tuple[str, Sequence[float]]], chance: float) -> Estimate:
    """Return the mean over searches of the means over seeds [%], with its 95 % interval by Student's t, cut at 0 and 100.

    The spread over searches includes that of the evaluation seeds. If all searches found the same network, they share its trainings, and
    the interval is over evaluation seeds. There is no interval for fewer than `FEWEST_FIGURES` values. The value is NaN if no network has
    an accuracy.

    Args:
        figures: for each search, its network and the accuracies with each evaluation seed. A search without a network ('') counts with
            `chance`. A search with a network but without accuracies is left out.
        chance: chance accuracy [%].
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
    return Interval(max(mean - half, 0.0), min(mean + half, 100.0))  # it is a percentage


def accuracy_of(row: Mapping[Any, Any]) -> float:
    """Return the accuracy [%] of a search in pictures: retrained test accuracy, or queried, or early-stopped; NaN if all are unknown."""
    if len(row["retrained_test"]):
        return float(np.mean(row["retrained_test"]))
    queried = float(row["queried"])
    return float(row["early_stopped"]) if math.isnan(queried) else queried


def kind_of_accuracy(table: pd.DataFrame) -> str:
    """Return the kind of accuracy for a picture of these searches, which must not mix kinds; '' if no accuracy is known."""
    if any(len(seeds) for seeds in table["retrained_test"]):
        return "retrained test accuracy"
    if table["queried"].notna().any():
        return "queried test accuracy"
    return "early-stopped validation accuracy" if table["early_stopped"].notna().any() else ""


def flags(table: pd.DataFrame) -> list[tuple[str, str, int, str]]:
    """Return (method, problem, seed, what happened) for each search that failed, collapsed, or delivered no connected network."""
    found = []
    for row in table.sort_values([*BOARD_COLUMNS, "problem", "method", "seed"]).to_dict("records"):
        place = row["problem"] + (f" on {row['device']}" if row["device"] else "")
        remarks = []
        if row["status"] == "failed":
            remarks.append(f"failed: {str(row['failure']).strip() or 'without a reason'}")
        elif not row["network"]:
            remarks.append("recommended no network")
        elif not row["connected"]:
            remarks.append("recommended a disconnected network")
        if row["skip_share"] >= COLLAPSED:
            remarks.append(f"skip connections are {100 * row['skip_share']:.0f} % of the kept edges")
        found += [(str(row["method"]), place, int(row["seed"]), text) for text in remarks]
    return found
