"""Means, ranks, seed noise and agreement, checked against plain references."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr, ttest_1samp

from budgetnas.leaderboards.comparison.agreement import agreements, explained_by_seeds, mean_of, noise_of, rank_correlations
from budgetnas.leaderboards.comparison.rows import networks_of

FIGURES = st.lists(st.floats(0, 100).map(lambda value: round(value, 3)), min_size=2, max_size=12)


@given(FIGURES)
def test_a_mean_has_the_interval_of_student_s_test(values: list[float]) -> None:
    found = mean_of(values)
    assert found.value == pytest.approx(sum(values) / len(values)) and found.count == len(values)
    if len(set(values)) > 1:
        expected = ttest_1samp(values, 0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_one_value_has_no_interval_and_no_values_have_no_mean() -> None:
    assert mean_of([90.0]).value == 90.0 and math.isnan(mean_of([90.0]).low) and math.isnan(mean_of([90.0]).high)
    assert mean_of([]).count == 0 and math.isnan(mean_of([]).value)


def test_ranks_of_equal_figures_cannot_be_compared() -> None:
    assert all(map(math.isnan, rank_correlations([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])))
    assert rank_correlations([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) == pytest.approx((1.0, 1.0))
    assert rank_correlations([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx((-1.0, -1.0))


def test_noise_equals_a_plain_loop_over_pairs_of_seeds() -> None:
    table = np.random.default_rng(3).normal(90.0, 1.0, (7, 4)) + np.arange(7)[:, None]
    found = noise_of(table)
    assert found is not None and (found.seeds, found.networks) == (4, 7)
    assert found.deviation == pytest.approx(math.sqrt(sum(np.std(row, ddof=1) ** 2 for row in table) / 7))
    pairs = list(combinations(range(4), 2))
    assert found.kendall == pytest.approx(sum(kendalltau(table[:, i], table[:, j]).statistic for i, j in pairs) / 6)
    assert found.spearman == pytest.approx(sum(spearmanr(table[:, i], table[:, j]).statistic for i, j in pairs) / 6)


def test_noise_uses_known_accuracies_only() -> None:
    assert noise_of([[90.0], [91.0]]) is None
    assert noise_of([[90.0, math.nan], [math.nan, 91.0]]) is None
    found = noise_of([[90.0, 92.0, math.nan], [80.0, math.nan, math.nan]])
    assert found is not None and (found.networks, found.seeds) == (1, 2.0)
    assert found.deviation == pytest.approx(math.sqrt(2.0)) and math.isnan(found.kendall)


def test_the_share_of_seeds_in_differences_is_recovered() -> None:
    """Means over k seeds of pure noise have its variance over k, so seeds explain everything; with a shift per network, less."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.0, 1.0, (4000, 3)), rng.normal(0.0, 2.0, (4000, 2))
    noises = noise_of(first), noise_of(second)
    differences = second.mean(axis=1) - first.mean(axis=1)
    assert explained_by_seeds(differences, *noises) == pytest.approx(1.0, abs=0.05)
    shifted = differences + rng.normal(0.0, math.sqrt(7.0 / 3.0), 4000)  # the same variance as that of seeds: 1 / 3 + 4 / 2
    assert explained_by_seeds(shifted, *noises) == pytest.approx(0.5, abs=0.05)
    assert math.isnan(explained_by_seeds(differences, None, noises[1])) and math.isnan(explained_by_seeds(differences[:2], *noises))


SEEDS = {10: [97.0, 96.0, 98.0], 200: [92.0, 93.5, 92.5], 3_000: [88.0, 87.0, 90.0], 4_000: [60.0, 61.0, 62.0]}


def shifted(own_rows, table_of, shifts):
    return networks_of(
        table_of(*[own_rows(index, SEEDS[index], [test + shift for test in SEEDS[index]]) for index, shift in shifts.items()])
    )


def test_equal_figures_agree_completely(own_rows, table_of):
    (found,) = agreements(shifted(own_rows, table_of, dict.fromkeys(SEEDS, 0.0)))
    assert (found.known, found.networks, found.compared, found.equal) == ("queried", 4, 24, 24)
    assert found.difference.value == found.difference.low == found.difference.high == 0.0
    assert found.kendall == found.spearman == pytest.approx(1.0)
    assert math.isnan(found.by_seeds)  # nothing differs, so there is nothing to explain


def test_the_interval_is_student_s_over_networks(own_rows, table_of):
    shifts = {10: 0.5, 200: -0.25, 3_000: 1.0, 4_000: 0.1}
    (found,) = agreements(shifted(own_rows, table_of, shifts))
    expected = ttest_1samp(list(shifts.values()), 0).confidence_interval(0.95)
    assert found.difference.value == pytest.approx(sum(shifts.values()) / 4)
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))
    assert (found.compared, found.equal) == (24, 12)  # the validation figures


def test_the_table_s_rounding_does_not_break_ties(own_rows, table_of):
    """Two networks are equal in the table; retrained, they differ by less than the table's precision."""
    tests = {10: 97.0, 200: 97.0, 3_000: 90.0, 4_000: 85.0}
    rows = [own_rows(index, [test], [test + noise]) for (index, test), noise in zip(tests.items(), (2e-5, -2e-5, 0, 0), strict=True)]
    (found,) = agreements(networks_of(table_of(*rows)))
    assert found.kendall == found.spearman == pytest.approx(1.0) and found.difference.value == 0.0


def test_one_network_has_no_interval_and_two_have_no_rank_correlation(own_rows, table_of):
    (found,) = agreements(shifted(own_rows, table_of, {10: 1.0}))
    assert found.difference.value == pytest.approx(1.0)
    assert all(math.isnan(value) for value in (found.difference.low, found.difference.high, found.kendall, found.spearman))
    (found,) = agreements(shifted(own_rows, table_of, {10: 1.0, 200: 2.0}))
    assert found.difference.low < 1.5 < found.difference.high and math.isnan(found.kendall) and math.isnan(found.spearman)


def test_with_a_recipe_the_mean_over_the_table_s_seeds_is_compared(recipe_rows, table_of):
    """No seed is shared, so nothing can be equal, and seeds explain a part of the differences."""
    tests = {10: ([97.0, 96.0, 98.0], [95.0, 96.0]), 200: ([92.0, 93.5, 92.5], [93.0, 90.0]), 3_000: ([88.0, 87.0, 90.0], [80.0, 82.5])}
    (found,) = agreements(networks_of(table_of(*[recipe_rows(index, *pair) for index, pair in tests.items()])))
    differences = [np.mean(after) - np.mean(before) for before, after in tests.values()]
    assert (found.compared, found.equal) == (0, 0) and found.difference.value == pytest.approx(np.mean(differences))
    noises = noise_of([before for before, _ in tests.values()]), noise_of([after for _, after in tests.values()])
    assert (found.table_noise, found.retrained_noise) == noises
    assert found.by_seeds == pytest.approx(explained_by_seeds(differences, *noises)) and 0.0 < found.by_seeds < 1.0


def test_early_stopped_accuracies_are_compared_with_validation_if_it_was_measured(recipe_rows, table_of):
    early = {10: 90.0, 200: 85.0, 3_000: 80.0}
    rows = [recipe_rows(index, [], [value + 3.0, value + 4.0], validation_early_stopped=value) for index, value in early.items()]
    (found,) = agreements(networks_of(table_of(*rows)))
    assert found.known == "early_stopped" and found.difference.value == pytest.approx(2.5)  # validation is a point below test
    assert found.compared == 0 and found.table_noise is None and math.isnan(found.by_seeds)
    tested = [[row | {"validation_retrained": math.nan} for row in each] for each in rows]
    (found,) = agreements(networks_of(table_of(*tested)))
    assert found.difference.value == pytest.approx(3.5)


def test_without_known_accuracies_there_is_no_agreement(recipe_rows, table_of):
    assert agreements(networks_of(table_of(recipe_rows(10, [], [90.0, 91.0])))) == []
