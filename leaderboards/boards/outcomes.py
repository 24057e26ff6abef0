"""Outcomes of trials: they are checked against the exact optimum, and have chance accuracy if no feasible network was delivered."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetnas.leaderboards.boards.context import Board, BoardProblem, Key
from budgetnas.leaderboards.shared.documents import LeaderboardError

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


def _reason(row: Mapping[Hashable, Any]) -> str:
    """Return the reason why a trial counts with chance accuracy, or '' if it does not."""
    if row["status"] == "failed":
        return str(row["failure"] or "failed without a reason").strip().splitlines()[0]
    if row["feasible"]:
        return ""
    if not row["recommendation"]:
        return "found no feasible network"
    return (
        "recommended a network that breaks a limit"
        if math.isfinite(row["violation"])
        else "recommended a disconnected or unsupported network"
    )


def _check_row(row: Mapping[Hashable, Any], problem: BoardProblem, board: Board) -> None:
    tests = [row["test"], *(point["test"] for point in row["front"] if point["feasible"])]
    highest = max(tests)
    where = f"'{row['method']}' (seed {row['seed']}) on {board.stem} {problem.label}"
    remedy = "the records and the context come from different tables; run the study again"
    if problem.best_by_test is None:
        raise LeaderboardError(f"{where} is feasible, but the context has no feasible cell: {remedy}")
    best = problem.best_by_test.test
    if any(map(math.isnan, tests)):
        raise LeaderboardError(f"{where} is feasible but has no test accuracy; run the trial again")
    if highest > best + TOLERANCE:
        raise LeaderboardError(f"{where} reports {highest!r} % test, above the exact optimum of {best!r} %: {remedy}")
    expected = max(0.0, best - row["test"])
    if not abs(row["regret"] - expected) <= REGRET_TOLERANCE:
        raise LeaderboardError(f"{where} records a regret of {row['regret']!r}, but it is {expected!r}: {remedy}")


def _points(front: Sequence[Mapping[str, Any]], resource: str) -> list[tuple[float, float]]:
    """Return the (cost, test accuracy [%]) of the feasible recommendations with a known cost."""
    return [(point[resource], point["test"]) for point in front if point["feasible"] and not math.isnan(point[resource])]


def outcomes(records: pd.DataFrame, boards: Sequence[Board]) -> pd.DataFrame:
    """Return the records, sorted, with the columns `reason`, `counted_test` [%], `counted_regret` [points], `points` and `gpu_hours`.

    `reason` is '' for a trial with a feasible recommendation. Every other trial counts with the board's chance accuracy and the
    corresponding regret; no trial is left out. `points` has the feasible recommendations as (cost in the board's unit, test accuracy [%]).

    Args:
        records: one row per trial, with the columns `COLUMNS`.
        boards: the boards of the run.

    Raises:
        LeaderboardError: a column is missing, a trial occurs twice, a board or problem has no context, a method's name has different
            settings, or a result is better than the exact optimum.
    """
    _check_columns(records)
    by_key: Mapping[Key, Board] = {board.key: board for board in boards}
    table = records.loc[:, list(COLUMNS)].copy()
    for name in ("device", "failure", "recommendation"):
        table[name] = table[name].astype(object).where(table[name].notna(), "")
    table["feasible"] = table["feasible"].fillna(False).astype(bool) & (table["status"] == "ok")
    table["front"] = [front if isinstance(front, list) else [] for front in table["front"]]
    _check_methods(table)
    columns: dict[str, list[Any]] = {"reason": [], "counted_test": [], "counted_regret": [], "points": []}
    for row in table.to_dict("records"):
        key = (row["space"], row["dataset"], row["device"])
        if key not in by_key:
            raise LeaderboardError(
                f"no context file for {' '.join(part for part in key if part)}; run the study again, which keeps existing results"
            )
        board = by_key[key]
        problem = board.problem(row["problem"])
        if row["feasible"]:
            _check_row(row, problem, board)
        test = row["test"] if row["feasible"] else board.chance
        columns["reason"].append(_reason(row))
        columns["counted_test"].append(test)
        # If no cell keeps the limits, all methods have a regret of 0.
        columns["counted_regret"].append(max(0.0, problem.best_by_test.test - test) if problem.best_by_test else 0.0)
        columns["points"].append(_points(row["front"], board.resource) if row["feasible"] else [])
    table = table.assign(**columns, gpu_hours=table["simulated_seconds"] / 3600.0)
    return table.sort_values([*BOARD_COLUMNS, "problem", "method", "seed"], kind="stable").reset_index(drop=True)


def of_class(table: pd.DataFrame, ranking_class: str) -> pd.DataFrame:
    """Return the outcomes of one ranking class."""
    return table[table["ranking_class"] == ranking_class]


def of_board(table: pd.DataFrame, board: Board) -> pd.DataFrame:
    """Return the outcomes of one board."""
    return table[(table["space"] == board.space) & (table["dataset"] == board.dataset) & (table["device"] == board.device)]


def samples_by_method(table: pd.DataFrame, column: str) -> dict[str, NDArray[np.float64]]:
    """Return each method's values of `column`, (trials,), in the order of seeds; methods are in the order of names."""
    return {str(method): group[column].to_numpy(dtype=np.float64) for method, group in table.groupby("method", sort=True)}
