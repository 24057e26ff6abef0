"""Means, ranks and seed noise against plain references."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr, ttest_1samp

from budgetnas.harness.comparison.agreement import explained_by_seeds, mean_of, noise_of, rank_correlations

FIGURES = st.lists(st.floats(0, 100).map(lambda value: round(value, 3)), min_size=2, max_size=12)


@given(FIGURES)
def test_a_mean_has_the_interval_of_student_s_test(values: list[float]) -> None:
    found = mean_of(values)
    assert found.value == pytest.approx(sum(values) / len(values)) and found.count == len(values)
    if len(set(values)) > 1:
        expected = ttest_1samp(values, 0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_one_figure_has_no_interval_and_none_has_no_mean() -> None:
    assert mean_of([90.0]).value == 90.0 and math.isnan(mean_of([90.0]).low) and math.isnan(mean_of([90.0]).high)
    assert mean_of([]).count == 0 and math.isnan(mean_of([]).value)


def test_ranks_of_equal_figures_cannot_be_compared() -> None:
    assert all(map(math.isnan, rank_correlations([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])))
    assert rank_correlations([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) == pytest.approx((1.0, 1.0))
    assert rank_correlations([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx((-1.0, -1.0))


def test_noise_is_that_of_a_plain_loop_over_pairs_of_seeds() -> None:
    table = np.random.default_rng(3).normal(90.0, 1.0, (7, 4)) + np.arange(7)[:, None]
    found = noise_of(table)
    assert found is not None and (found.seeds, found.networks) == (4, 7)
    assert found.deviation == pytest.approx(math.sqrt(sum(np.std(row, ddof=1) ** 2 for row in table) / 7))
    pairs = list(combinations(range(4), 2))
    assert found.kendall == pytest.approx(sum(kendalltau(table[:, i], table[:, j]).statistic for i, j in pairs) / 6)
    assert found.spearman == pytest.approx(sum(spearmanr(table[:, i], table[:, j]).statistic for i, j in pairs) / 6)


def test_noise_of_what_is_known_only() -> None:
    assert noise_of([[90.0], [91.0]]) is None
    assert noise_of([[90.0, math.nan], [math.nan, 91.0]]) is None
    found = noise_of([[90.0, 92.0, math.nan], [80.0, math.nan, math.nan]])
    assert found is not None and (found.networks, found.seeds) == (1, 2.0)
    assert found.deviation == pytest.approx(math.sqrt(2.0)) and math.isnan(found.kendall)


def test_the_share_of_seeds_in_differences_is_found_again() -> None:
    """Means over k seeds of pure noise differ by its variance over k: seeds explain all; with a shift by network, less."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.0, 1.0, (4000, 3)), rng.normal(0.0, 2.0, (4000, 2))
    noises = noise_of(first), noise_of(second)
    differences = second.mean(axis=1) - first.mean(axis=1)
    assert explained_by_seeds(differences, *noises) == pytest.approx(1.0, abs=0.05)
    shifted = differences + rng.normal(0.0, math.sqrt(7.0 / 3.0), 4000)  # as much again as seeds make: 1 / 3 + 4 / 2
    assert explained_by_seeds(shifted, *noises) == pytest.approx(0.5, abs=0.05)
    assert math.isnan(explained_by_seeds(differences, None, noises[1])) and math.isnan(explained_by_seeds(differences[:2], *noises))
