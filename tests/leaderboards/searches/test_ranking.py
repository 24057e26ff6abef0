"""The ranking of methods over all problems of a board of searches, on made-up numbers."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from budgetnas.leaderboards.searches.ranking import ranking_table, search_standings


def search(method, problem, seed, test, feasible=True):
    return {
        "method": method, "problem": problem, "seed": seed, "feasible": feasible, "search_seconds": 10.0 * (seed + 1), "queried": math.nan,
        "graph_seconds": math.nan, "early_stopped": math.nan, "retrained_test": [] if test is None else [test - 1.0, test + 1.0],
    }  # fmt: skip


def world(**scores):
    """Return searches with accuracies by method, problem and seed. The network of a negative one breaks a limit."""
    return pd.DataFrame(
        [
            search(method, problem, seed, abs(test), test > 0)
            for method, problems in scores.items()
            for problem, tests in problems.items()
            for seed, test in enumerate(tests)
        ]
    )


def test_a_network_that_breaks_a_limit_counts_with_chance():
    table = world(good={"p": [80.0, 90.0, 85.0], "q": [70.0, 60.0, 74.0]}, loose={"p": [-99.0, 95.0, 95.0], "q": [-99.0, -99.0, -99.0]})
    good, loose = search_standings(table, 10.0)
    assert (good.method, good.rank, good.feasible_share, good.searches, good.seconds) == ("good", 1.0, 1.0, 6, 20.0)
    assert good.score.value == pytest.approx(76.5) and loose.rank == 2.0 and loose.feasible_share == pytest.approx(2 / 6)
    assert loose.score.value == pytest.approx((10.0 + 52.5 + 52.5) / 3)
    expected = ttest_1samp([75.0, 75.0, 79.5], 0).confidence_interval(0.95)
    assert (good.score.interval.low, good.score.interval.high) == pytest.approx((expected.low, expected.high))


def test_ranks_are_averages_over_problems_and_ties_share_ranks():
    table = world(a={"p": [80.0], "q": [60.0]}, b={"p": [70.0], "q": [60.0]}, c={"p": [-99.0], "q": [90.0]})
    assert {each.method: each.rank for each in search_standings(table, 10.0)} == {"a": 1.75, "b": 2.25, "c": 2.0}


def test_methods_with_unknown_scores_are_left_out():
    table = world(a={"p": [80.0], "q": [60.0]}, b={"p": [70.0], "q": [60.0]})
    waiting = pd.concat(
        [table, pd.DataFrame([search("c", "p", 0, None) | {"queried": 99.0}, search("c", "q", 0, 50.0)])], ignore_index=True
    )
    assert [each.method for each in search_standings(waiting, 10.0)] == ["a", "b"]
    assert "| b | 2.00" not in ranking_table(waiting, 10.0) and "| a | 1.25 | 70.00 [—] | 100 % | 2 | 10 |" in ranking_table(waiting, 10.0)


def test_a_single_problem_has_no_ranking_over_problems():
    assert ranking_table(world(a={"p": [80.0]}, b={"p": [70.0]}), 10.0) == ""
