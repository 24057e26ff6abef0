"""Where relaxed searches lost their limits: the expected cost of the mixture at the end, and the cost of the delivered network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import TypeAlias

import pandas as pd

from budgetnas.leaderboards.shared.nested_columns import ROW, reported_figures
from budgetnas.leaderboards.shared.tables import escape, markdown_table, number, percent

Place: TypeAlias = tuple[str, str, str, str]  # space, dataset, device, problem
_EXPECTED = "expected_"


def upper_limits(space: str, dataset: str, device: str, bounds: Iterable[tuple[str, str, float]]) -> dict[Place, dict[str, float]]:
    """Return the upper limits by resource for each problem of a board.

    Args:
        space: the board's space.
        dataset: its dataset.
        device: its device.
        bounds: (problem, resource, upper limit) of all limits on the board; an infinite or zero upper limit is left out.
    """
    found: dict[Place, dict[str, float]] = {}
    for problem, resource, upper in bounds:
        if 0.0 < upper < math.inf:
            found.setdefault((space, dataset, device, problem), {})[resource] = upper
    return found


def expectation_table(table: pd.DataFrame, uppers: Mapping[Place, Mapping[str, float]]) -> str:
    """Return the Markdown table with a row per method: expected and delivered cost over the limit, and the shares that kept it.

    It counts each upper limit of each search that reported its expected cost (`expected_RESOURCE`). A disconnected network keeps no limit.
    If no search reported an expected cost, the result is ''.
    """
    pairs: dict[str, list[tuple[float, float, bool]]] = {}
    figures = reported_figures(table["report"])
    figures = figures[figures["figure"].str.startswith(_EXPECTED)]
    searches = table.drop(columns="report").iloc[figures[ROW]].to_dict("records")
    for row, figure, expected in zip(searches, figures["figure"], figures["value"], strict=True):
        limits = uppers.get((str(row["space"]), str(row["dataset"]), str(row["device"]), str(row["problem"])), {})
        resource = str(figure).removeprefix(_EXPECTED)
        if resource in limits and not math.isnan(delivered := row[resource]):
            upper = limits[resource]
            keeps = delivered <= upper and row["violation"] < math.inf
            pairs.setdefault(str(row["method"]), []).append((expected / upper, delivered / upper, keeps))
    rows = [
        [
            escape(method),
            f"{len(each)}",
            _spread([expected for expected, _, _ in each]),
            percent(sum(expected <= 1.0 for expected, _, _ in each) / len(each)),
            _spread([delivered for _, delivered, _ in each]),
            percent(sum(keeps for _, _, keeps in each) / len(each)),
        ]
        for method, each in sorted(pairs.items())
    ]
    header = ["method", "searches x limits", "expected cost / limit", "kept limit", "delivered cost / limit", "kept limit and connected"]
    return markdown_table(header, rows) if rows else ""


def _spread(values: list[float]) -> str:
    return f"{number(median(values))} [{number(min(values))}, {number(max(values))}]"
