"""Outcomes of trials: they are checked against the exact optimum, and have chance accuracy if no feasible network was delivered."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetnas.leaderboards.boards.context import Board, BoardProblem, Key
from budgetnas.leaderboards.shared.documents import LeaderboardError
from budgetnas.leaderboards.shared.nested_columns import ROW, flat, front_points, nested

Floats = NDArray[np.float64]

COLUMNS = (
    "identity",
    "space",
    "dataset",
    "device",
    "problem",
    "resource",
    "method",
    "settings",
    "ranking_class",
    "deterministic",
    "seed",
    "status",
    "failure",
    "feasible",
    "violation",
    "test",
    "validation",
    "regret",
    "queries",
    "repeats",
    "cost_questions",
    "simulated_seconds",
    "graph_seconds",
    "recommendation",
    "params",
    "macs",
    "cycles",
    "latency_ms",
    "energy_mj",
    "front",
    "report",
)
BOARD_COLUMNS = ["space", "dataset", "device"]
QUERIES = "queries"
FULL_INFORMATION = "full information"
CLASSES = (QUERIES, FULL_INFORMATION)
TOLERANCE = 1e-9
# Records may be rounded. A regret with a larger error was computed with another table.
REGRET_TOLERANCE = 1e-6


def _check_columns(records: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in records.columns]
    if missing:
        raise LeaderboardError(f"the records lack the columns {', '.join(missing)}; read them with this version of budgetnas")
    if records.empty:
        raise LeaderboardError("there are no records to rank; run the study first")
    unknown = sorted(set(records["ranking_class"]) - set(CLASSES))
    if unknown:
        raise LeaderboardError(f"unknown ranking class '{unknown[0]}'; use one of {', '.join(CLASSES)}")


def _check_methods(records: pd.DataFrame) -> None:
    """Raise LeaderboardError if one name has different settings, or if a trial occurs twice."""
    for name, column in (("settings", "settings"), ("ranking classes", "ranking_class"), ("values of deterministic", "deterministic")):
        per_method = records.groupby(["method", *BOARD_COLUMNS])[column].nunique()
        if (per_method > 1).any():
            method = per_method.index[int(np.argmax(per_method.to_numpy() > 1))][0]
            raise LeaderboardError(
                f"the method '{method}' has {per_method.max()} different {name} on one board; give each variant a different label"
            )
    trial = [*BOARD_COLUMNS, "problem", "method", "seed"]
    twice = records[records.duplicated(trial)]
    if len(twice):
        row = twice.iloc[0]
        raise LeaderboardError(f"'{row['method']}' has two records for seed {row['seed']} of {row['problem']}; rank one run at a time")


def _reason(status: str, failure: str, feasible: bool, recommendation: str, violation: float) -> str:
    """Return why a trial counts as chance, or '' if it does not."""
    if status == "failed":
        return str(failure or "failed without a reason").strip().splitlines()[0]
    if feasible:
        return ""
    if not recommendation:
        return "found no feasible network"
    return "recommended a network that breaks a limit" if math.isfinite(violation) else "recommended a disconnected or unsupported network"


def _check_row(row: Mapping[Hashable, Any], highest: float, problem: BoardProblem, board: Board) -> None:
    """Raise `LeaderboardError` if a feasible trial cannot be; `highest` is the best test accuracy that it reports [%], or NaN."""
    where = f"'{row['method']}' (seed {row['seed']}) on {board.stem} {problem.label}"
    remedy = "the records and the context come from different tables; run the study again"
    if problem.best_by_test is None:
        raise LeaderboardError(f"{where} is feasible, but the context has no feasible cell: {remedy}")
    best = problem.best_by_test.test
    if math.isnan(highest):
        raise LeaderboardError(f"{where} is feasible but has no test accuracy; run the trial again")
    if highest > best + TOLERANCE:
        raise LeaderboardError(f"{where} reports {highest!r} % test, above the exact optimum of {best!r} %: {remedy}")
    expected = max(0.0, best - row["test"])
    if not abs(row["regret"] - expected) <= REGRET_TOLERANCE:
        raise LeaderboardError(f"{where} records a regret of {row['regret']!r}, but it is {expected!r}: {remedy}")


@dataclass(frozen=True, slots=True)
class _Places:
    """The boards and problems of a table, and which of them each trial is of."""

    of_trial: NDArray[np.int64]
    found: Sequence[tuple[Board, BoardProblem]]

    def each(self, values: Sequence[float]) -> Floats:
        """Return each trial's value, from those of the places."""
        return np.asarray(values, dtype=np.float64)[self.of_trial]


def _places(table: pd.DataFrame, boards: Sequence[Board]) -> _Places:
    by_key: Mapping[Key, Board] = {board.key: board for board in boards}
    groups = table.groupby([*BOARD_COLUMNS, "problem"], sort=False)
    found = []
    for *key, label in table[[*BOARD_COLUMNS, "problem"]].drop_duplicates().itertuples(index=False):
        if tuple(key) not in by_key:
            raise LeaderboardError(
                f"no context file for {' '.join(part for part in key if part)}; run the study again, which keeps existing results"
            )
        board = by_key[tuple(key)]
        found.append((board, board.problem(label)))
    return _Places(groups.ngroup().to_numpy().astype(np.int64), found)


def _check_rows(table: pd.DataFrame, points: pd.DataFrame, places: _Places) -> None:
    """Raise `LeaderboardError` for the first feasible trial that cannot be; `points` are the feasible trials' feasible recommendations."""
    best = places.each([problem.best_by_test.test if problem.best_by_test else math.nan for _, problem in places.found])
    tests = table["test"].to_numpy(np.float64)
    highest = tests.copy()
    with np.errstate(invalid="ignore"):
        np.maximum.at(highest, points[ROW].to_numpy(), points["test"].to_numpy(np.float64))  # NaN stays
    expected = np.maximum(0.0, best - tests)
    right = (highest <= best + TOLERANCE) & (np.abs(table["regret"].to_numpy(np.float64) - expected) <= REGRET_TOLERANCE)
    for index in np.flatnonzero(table["feasible"].to_numpy(bool) & ~right):
        board, problem = places.found[places.of_trial[index]]
        _check_row(table.iloc[int(index)].to_dict(), float(highest[index]), problem, board)


def _points(points: pd.DataFrame, places: _Places) -> pd.Series:
    """Return, for each trial, its recommendations in `points` as cost, in the unit of its board's resource, and test accuracy [%]."""
    cost = np.full(len(points), math.nan)
    resources = np.asarray([board.resource for board, _ in places.found])[places.of_trial[points[ROW].to_numpy()]]
    for resource in np.unique(resources):
        mine = resources == resource
        cost[mine] = points.loc[mine, resource].to_numpy(np.float64)
    known = ~np.isnan(cost)
    entries = {"cost": cost[known], "test": points["test"].to_numpy(np.float64)[known]}
    return nested(entries, points[ROW].to_numpy()[known], len(places.of_trial))


def outcomes(records: pd.DataFrame, boards: Sequence[Board]) -> pd.DataFrame:
    """Return the records, sorted, with the columns `reason`, `counted_test` [%], `counted_regret` [points], `points` and `gpu_hours`.

    `reason` is '' for a trial with a feasible recommendation. Every other trial counts with the board's chance accuracy and the regret that
    goes with it; none is left out. `points`, in the place of `front`, lists the feasible recommendations: `cost` in the board's unit and
    `test` accuracy [%].
    Raises ValueError if a column is missing, a trial is there twice, a board or problem has no context, a method's name means two things,
    or anything is better than the exact optimum.
    """
    _check_columns(records)
    table = records.loc[:, list(COLUMNS)].reset_index(drop=True)
    for name in ("device", "failure", "recommendation"):
        table[name] = table[name].astype(object).where(table[name].notna(), "")
    table["feasible"] = table["feasible"].fillna(False).astype(bool) & (table["status"] == "ok")
    _check_methods(table)
    places = _places(table, boards)
    points = front_points(table.pop("front"))
    points = points[points["feasible"].astype(bool) & table["feasible"].to_numpy(bool)[points[ROW].to_numpy()]]
    _check_rows(table, points, places)
    test = np.where(table["feasible"], table["test"], places.each([board.chance for board, _ in places.found]))
    # Where no cell keeps the limits there is nothing to miss: every method ties at no regret.
    best = places.each([problem.best_by_test.test if problem.best_by_test else -math.inf for _, problem in places.found])
    table = table.assign(
        reason=list(map(_reason, *(table[name] for name in ("status", "failure", "feasible", "recommendation", "violation")))),
        counted_test=test,
        counted_regret=np.maximum(0.0, best - test),
        points=_points(points, places),
        gpu_hours=table["simulated_seconds"] / 3600.0,
    )
    return table.sort_values([*BOARD_COLUMNS, "problem", "method", "seed"], kind="stable").reset_index(drop=True)


def points_by_seed(trials: pd.DataFrame) -> list[Floats]:
    """Return the points of each seed over all of its trials, shape (n, 2): cost and test accuracy [%]; seeds in ascending order."""
    seeds, found = pd.factorize(trials["seed"], sort=True, use_na_sentinel=False)
    points = flat(trials["points"])
    seed_of_point = seeds[points[ROW].to_numpy()]
    order = np.argsort(seed_of_point, kind="stable")
    ends = np.cumsum(np.bincount(seed_of_point, minlength=len(found)))
    return np.split(points[["cost", "test"]].to_numpy(np.float64)[order], ends[:-1])


def of_class(table: pd.DataFrame, ranking_class: str) -> pd.DataFrame:
    """Return the outcomes of one ranking class."""
    return table[table["ranking_class"] == ranking_class]


def of_board(table: pd.DataFrame, board: Board) -> pd.DataFrame:
    """Return the outcomes of one board."""
    return table[(table["space"] == board.space) & (table["dataset"] == board.dataset) & (table["device"] == board.device)]


def samples_by_method(table: pd.DataFrame, column: str) -> dict[str, NDArray[np.float64]]:
    """Return each method's values of `column`, (trials,), in the order of seeds; methods are in the order of names."""
    return {str(method): group[column].to_numpy(dtype=np.float64) for method, group in table.groupby("method", sort=True)}
