"""The ranking of methods over all problems of a board of searches. A search without a feasible network counts with chance accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from budgetnas.leaderboards.searches.rows import accuracy_of, kind_of_accuracy, over_searches
from budgetnas.leaderboards.shared.statistics import Estimate, ranks
from budgetnas.leaderboards.shared.tables import NO_INTERVAL, escape, estimate, markdown_table, number, percent


@dataclass(frozen=True, slots=True)
class SearchStanding:
    """A method over a board's problems: `rank` is its average rank by mean score, where 1 is the best, and `score` is in percent."""

    method: str
    rank: float
    score: Estimate
    feasible_share: float
    searches: int
    seconds: float  # mean of a search
    graph_seconds: float  # seconds of the look-up graphs per search, not included in `seconds`; NaN without graphs


def score_of(row: Mapping[Any, Any], chance: float, retrained: bool) -> float:
    """Return the score of a search [%]: the accuracy of its network if it is feasible, else `chance`. NaN if it is not known yet.

    With `retrained`, only retrained accuracies are used, so that kinds are not mixed.
    """
    if not row["feasible"]:
        return chance
    return math.nan if retrained and not len(row["retrained_test"]) else accuracy_of(row)


def search_standings(table: pd.DataFrame, chance: float) -> list[SearchStanding]:
    """Return the standings of the methods that searched on all problems of a board, the best average rank first.

    Methods with unknown scores are left out. The interval of a score is by Student's t over seeds, with the mean of a seed's searches over
    the problems as its value.
    """
    retrained = any(len(seeds) for seeds in table["retrained_test"])
    scored = table.assign(score=[score_of(row, chance, retrained) for row in table.to_dict("records")])
    means = scored.groupby(["problem", "method"])["score"].agg(lambda each: float(np.mean(each))).unstack("method").dropna(axis=1)
    if means.empty:
        return []
    average = dict(zip(means.columns, ranks(-means.to_numpy()).mean(axis=0), strict=True))
    found = [_standing(str(method), float(average[method]), scored[scored["method"] == method], len(means), chance) for method in average]
    return sorted(found, key=lambda each: (each.rank, -each.score.value, each.method))


def _standing(method: str, rank: float, searches: pd.DataFrame, problems: int, chance: float) -> SearchStanding:
    seeds = [each["score"].tolist() for _, each in searches.groupby("seed") if each["problem"].nunique() == problems]
    seconds = searches["search_seconds"].dropna()
    graphs = searches["graph_seconds"].dropna()
    return SearchStanding(
        method,
        rank,
        over_searches([(str(place), [sum(scores) / len(scores)]) for place, scores in enumerate(seeds)], chance),
        float(searches["feasible"].mean()),
        len(searches),
        float(seconds.mean()) if len(seconds) else math.nan,
        float(graphs.mean()) if len(graphs) else math.nan,
    )


def ranking_table(table: pd.DataFrame, chance: float) -> str:
    """Return the Markdown table of the standings; '' for a single problem or method, or if no accuracy is known."""
    kind = kind_of_accuracy(table)
    if not kind or table["problem"].nunique() < 2 or table["method"].nunique() < 2:
        return ""
    rows = [
        [
            escape(each.method),
            number(each.rank),
            estimate(each.score),
            percent(each.feasible_share),
            f"{each.searches}",
            number(each.seconds, 0),
            number(each.graph_seconds, 0),
        ]
        for each in search_standings(table, chance)
    ]
    if all(row[-1] == NO_INTERVAL for row in rows):
        rows = [row[:-1] for row in rows]
    header = [
        "method",
        "average rank",
        f"{kind}, chance if infeasible [%]",
        "feasible",
        "searches",
        "seconds per search",
        "graph seconds per search",
    ]
    return markdown_table(header[: len(rows[0])], rows) if rows else ""
