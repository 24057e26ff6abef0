"""Intervals, ranks and tests, compared with closed forms, scipy and worked examples."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as hs

from budgetnas.leaderboards.shared import statistics as st

SAMPLE = [93.1, 92.4, 93.9, 93.3, 92.8, 93.0, 94.1, 92.2]


def test_the_interval_of_constant_data_is_the_constant():
    assert st.mean_estimate([3.5] * 6) == st.Estimate(3.5, st.Interval(3.5, 3.5))
    assert st.interquartile_mean_estimate([[2.0] * 4, [2.0] * 3]) == st.Estimate(2.0, st.Interval(2.0, 2.0))
    assert st.difference_estimate([5.0] * 4, [3.0] * 9) == st.Estimate(2.0, st.Interval(2.0, 2.0))


def test_a_single_run_has_no_interval():
    assert st.mean_estimate([93.0]) == st.Estimate(93.0, None)
    assert st.difference_estimate([93.0], [92.0]) == st.Estimate(1.0, None)
    assert st.interquartile_mean_estimate([[1.0], [2.0], [3.0], [10.0]]) == st.Estimate(2.5, None)


def test_mean_interval_agrees_with_scipys_percentile_bootstrap():
    ours = st.mean_estimate(SAMPLE)
    theirs = scipy.stats.bootstrap((SAMPLE,), np.mean, method="percentile", n_resamples=20_000).confidence_interval
    assert ours.value == pytest.approx(np.mean(SAMPLE))
    assert ours.interval.low == pytest.approx(theirs.low, abs=0.04)
    assert ours.interval.high == pytest.approx(theirs.high, abs=0.04)


def test_difference_resamples_both_samples_independently():
    other = [92.0, 92.6, 91.8, 92.9, 92.1]
    ours = st.difference_estimate(SAMPLE, other).interval
    theirs = scipy.stats.bootstrap(
        (SAMPLE, other), lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis), method="percentile", n_resamples=20_000
    ).confidence_interval
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.05), pytest.approx(theirs.high, abs=0.05))


def test_the_difference_to_a_single_run_has_the_shifted_interval_of_the_sample():
    mean, difference = st.mean_estimate(SAMPLE).interval, st.difference_estimate(SAMPLE, [90.0]).interval
    assert difference.low == pytest.approx(mean.low - 90.0)
    assert difference.high == pytest.approx(mean.high - 90.0)


def test_intervals_are_the_same_every_time():
    assert st.mean_estimate(SAMPLE) == st.mean_estimate(SAMPLE)
    assert st.interquartile_mean_estimate([SAMPLE, SAMPLE[:5]]) == st.interquartile_mean_estimate([SAMPLE, SAMPLE[:5]])


def test_estimates_of_several_samples_are_those_of_each_alone():
    samples = [SAMPLE, [93.0], SAMPLE[::-1], SAMPLE[:5], [1.0] * 8]
    assert st.mean_estimates(samples) == [st.mean_estimate(each) for each in samples]
    assert st.difference_estimates(samples, SAMPLE[2:]) == [st.difference_estimate(each, SAMPLE[2:]) for each in samples]
    groups = [[each, SAMPLE] for each in samples]
    assert st.interquartile_mean_estimates(groups) == [st.interquartile_mean_estimate(each) for each in groups]
    seconds = [SAMPLE[1:], [90.0]]
    alone = [st.pooled_difference_estimates([each], seconds)[0] for each in groups]
    assert st.pooled_difference_estimates(groups, seconds) == alone


def test_pooled_differences_resample_one_problem_after_the_other():
    firsts, seconds = [SAMPLE, SAMPLE[:4]], [SAMPLE[3:], SAMPLE[1:]]
    rng = np.random.default_rng(st.BOOTSTRAP_SEED)

    def drawn(sample):
        return np.asarray(sample)[rng.integers(0, len(sample), size=(st.RESAMPLES, len(sample)))].mean(axis=1)

    differences = np.mean([drawn(first) - drawn(second) for first, second in zip(firsts, seconds, strict=True)], axis=0)
    low, high = np.quantile(differences, [0.025, 0.975])
    (found,) = st.pooled_difference_estimates([firsts], seconds)
    assert found.interval.low == pytest.approx(low, rel=1e-12) and found.interval.high == pytest.approx(high, rel=1e-12)
    with pytest.raises(ValueError, match="no pair"):
        st.pooled_difference_estimates([[]], [])


@given(hs.lists(hs.floats(-100, 100), min_size=2, max_size=12))
def test_interval_lies_within_the_data_and_holds_the_mean(values):
    estimate = st.mean_estimate(values)
    assert min(values) - 1e-9 <= estimate.interval.low <= estimate.value + 1e-9
    assert estimate.value - 1e-9 <= estimate.interval.high <= max(values) + 1e-9


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf], [[1.0, 2.0]]])
def test_invalid_samples_are_refused(values):
    with pytest.raises(ValueError, match="sample"):
        st.mean_estimate(values)


def test_interquartile_mean_cuts_a_quarter_at_either_end():
    assert st.interquartile_mean([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert st.interquartile_mean([8, 1, 2, 3, 4, 5, 6, 7]) == 4.5


def test_stratified_resampling_keeps_all_problems():
    # Two problems with constant regrets: resampling within a problem does not change the mean, but resampling all runs together would.
    estimate = st.interquartile_mean_estimate([[0.0] * 4, [10.0] * 4])
    assert estimate == st.Estimate(5.0, st.Interval(5.0, 5.0))


def test_ranks_share_ties_and_ignore_the_last_digits():
    assert st.ranks([[0.3, 0.1 + 0.2, 0.1, 0.9]]).tolist() == [[2.5, 2.5, 1.0, 4.0]]
    assert st.ranks([[1.0, 1.0, 1.0]]).tolist() == [[2.0, 2.0, 2.0]]


def test_average_ranks_and_their_interval_over_blocks():
    few = st.average_rank_estimates([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    assert [estimate.interval for estimate in few] == [None, None]
    assert [estimate.value for estimate in few] == pytest.approx([4 / 3, 5 / 3])
    always = st.average_rank_estimates([[1.0, 2.0]] * 8)
    assert always == [st.Estimate(1.0, st.Interval(1.0, 1.0)), st.Estimate(2.0, st.Interval(2.0, 2.0))]


WORKED = np.array([[9.0, 9.5, 5.0], [6.5, 4.8, 7.1], [8.0, 6.0, 4.2], [7.9, 7.0, 4.0], [6.2, 5.8, 3.1], [9.1, 8.0, 7.2]])


def test_friedman_by_hand():
    # The ranks of WORKED are 2 3 1, 2 1 3, then four times 3 2 1; their sums are 16, 12, 8. chi2 = 12 / (n k (k+1)) sum R^2 - 3 n (k+1).
    by_hand = 12 / (6 * 3 * 4) * (16**2 + 12**2 + 8**2) - 3 * 6 * 4
    result = st.friedman(WORKED)
    assert result.statistic == pytest.approx(by_hand)
    assert result.p == pytest.approx(scipy.stats.chi2.sf(by_hand, 2))
    assert result.blocks == 6


def test_friedman_with_ties_everywhere_and_with_too_few_methods_or_blocks():
    assert st.friedman(np.ones((5, 3))) == st.Friedman(0.0, 1.0, 5)
    assert st.friedman(WORKED[:, :2]) is None
    assert st.friedman(WORKED[:1]) is None
    with pytest.raises(ValueError, match="blocks, methods"):
        st.friedman([1.0, 2.0])


def test_pairwise_wilcoxon_equals_scipy_with_holm_by_hand():
    names = ["a", "b|", "c"]
    table = st.pairwise_wilcoxon(pd.DataFrame(WORKED, columns=names))
    pairs = [(0, 1), (0, 2), (1, 2)]
    raw = [scipy.stats.wilcoxon(WORKED[:, i], WORKED[:, j]).pvalue for i, j in pairs]
    order = np.argsort(raw)
    adjusted = np.empty(3)
    highest = 0.0
    for position, index in enumerate(order):
        highest = max(highest, min(1.0, (3 - position) * raw[index]))
        adjusted[index] = highest
    for (i, j), p in zip(pairs, adjusted, strict=True):
        assert table.loc[names[i], names[j]] == pytest.approx(p)
        assert table.loc[names[j], names[i]] == pytest.approx(p)
    assert np.diag(table).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("blocks", [3, 60])
def test_methods_that_tie_everywhere_do_not_differ(blocks):
    table = st.pairwise_wilcoxon(pd.DataFrame({"a": np.arange(blocks, dtype=float), "b": np.arange(blocks) + 1e-13}))
    assert table.loc["a", "b"] == 1.0


def test_pairwise_wilcoxon_of_one_method_and_with_a_missing_score():
    assert st.pairwise_wilcoxon(pd.DataFrame({"a": [1.0, 2.0]})).to_numpy().tolist() == [[1.0]]
    with pytest.raises(ValueError, match="missing"):
        st.pairwise_wilcoxon(pd.DataFrame({"a": [1.0, np.nan], "b": [1.0, 2.0]}))


def test_rank_biserial_by_hand():
    # The differences -1, -2, 3 have the ranks 1, 2, 3: W+ = 3, W- = 3. The differences -1, -3, 2 give W+ = 2, W- = 4.
    assert st.rank_biserial([0, 0, 3], [1, 2, 0]) == pytest.approx(0.0)
    assert st.rank_biserial([0, 0, 2], [1, 3, 0]) == pytest.approx(-2 / 6)
    assert st.rank_biserial([0, 0, 0], [1, 2, 3]) == -1.0
    assert st.rank_biserial([1, 2, 5], [1, 2, 3]) == 1.0
    assert st.rank_biserial([1, 2], [1, 2]) == 0.0


def test_the_smallest_p_is_that_of_differences_in_one_direction():
    for blocks in (5, 6, 8):
        clearest = scipy.stats.wilcoxon(-np.arange(1.0, blocks + 1)).pvalue
        assert st.smallest_p(blocks, 1) == pytest.approx(clearest)
    assert st.smallest_p(6, 10) == pytest.approx(10 / 32)
    assert st.smallest_p(2, 10) == 1.0


@pytest.mark.parametrize(
    "scores",
    [{"a": [1.0], "b": [1.0]}, {"a": [1.0], "b": [1.0], "c": [2.0]}, {"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [2.0, 1.0]}],
)
def test_ties_on_one_problem_or_on_all_have_p_1(scores):
    table = st.pairwise_wilcoxon(pd.DataFrame(scores))
    assert table.loc["a", "b"] == table.loc["b", "a"] == 1.0
