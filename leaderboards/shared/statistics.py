"""Intervals, ranks and paired tests, as pure functions of arrays.

Intervals are percentile bootstrap intervals. Each uses a random generator with a constant seed, so equal data give equal intervals.
Scores are regrets: lower is better.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from budgetnas.leaderboards.shared.documents import LeaderboardError
from budgetnas.leaderboards.shared.resampling import means_of_resamples, trimmed_means_of_resamples

Floats = NDArray[np.float64]
Sizes = TypeVar("Sizes", int, tuple[int, ...])  # of a sample, or of several

LEVEL = 0.95
RESAMPLES = 5000
BOOTSTRAP_SEED = 20211
# Fewer blocks than this give no meaningful interval.
FEWEST_BLOCKS = 5
# Means that are equal to so many decimals are a tie: the same values, added in another order, may differ by rounding.
TIE_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, in the unit of its value."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval. The interval is None for a single run, for example of a deterministic method."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Friedman:
    """Friedman's test: the chi-squared statistic, its p-value and the number of blocks."""

    statistic: float
    p: float
    blocks: int


def _generator() -> np.random.Generator:
    return np.random.default_rng(BOOTSTRAP_SEED)


def _sample(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise LeaderboardError(f"the sample has the shape {array.shape}; give one dimension with at least one value")
    if not np.isfinite(array).all():
        raise LeaderboardError("the sample has a value that is not finite; replace the values of failed trials before resampling")
    return array


def _interval(resampled: Floats) -> Interval:
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def mean_estimate(values: ArrayLike) -> Estimate:
    """Return the mean of `values`, shape (runs,), with its 95 % bootstrap interval; no interval for a single run. ValueError if empty."""
    return mean_estimates([values])[0]


def mean_estimates(samples: Sequence[ArrayLike]) -> list[Estimate]:
    """Return `mean_estimate` of each sample; those of equal size share their draws, which saves most of the time."""
    found = [_sample(values) for values in samples]
    intervals: dict[int, Interval] = {}
    for size, places in _alike(map(len, found)).items():
        if size > 1:
            drawn = means_of_resamples([found[place] for place in places], _generator(), RESAMPLES)
            intervals |= {place: _interval(means) for place, means in zip(places, drawn, strict=True)}
    return [Estimate(float(sample.mean()), intervals.get(place)) for place, sample in enumerate(found)]


def difference_estimate(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return mean(first) - mean(second) with its 95 % bootstrap interval, for independent samples of shapes (m,) and (n,).

    The samples are resampled separately. A sample of one run is not resampled, and if both have one run, there is no interval.
    """
    return difference_estimates([first], second)[0]


def difference_estimates(firsts: Sequence[ArrayLike], second: ArrayLike) -> list[Estimate]:
    """Return `difference_estimate` of each of `firsts` and `second`; those of equal size share their draws."""
    return pooled_difference_estimates([[first] for first in firsts], [second])


def pooled_difference_estimates(firsts: Sequence[Sequence[ArrayLike]], seconds: Sequence[ArrayLike]) -> list[Estimate]:
    """Return the means over strata of mean(first) - mean(second), with their stratified 95 % intervals, in the samples' unit.

    `seconds` holds a sample a problem, shape (n,), and each of `firsts` its own of the same problems, shape (m,). Every sample is resampled
    within itself, as in `difference_estimate`; those of equal sizes share their draws. The intervals speak of these problems only.
    ValueError if there is no problem, or an empty sample.
    """
    if not len(seconds):
        raise LeaderboardError("no pair of samples was given; at least one is expected")
    compared, right = [[_sample(values) for values in strata] for strata in firsts], [_sample(values) for values in seconds]
    values = [float(np.mean([a.mean() - b.mean() for a, b in zip(left, right, strict=True)])) for left in compared]
    intervals: dict[int, Interval] = {}
    for sizes, places in _alike(tuple(map(len, left)) for left in compared).items():
        if max(*sizes, *map(len, right)) > 1:
            rng = _generator()
            drawn = []
            for problem, second in enumerate(right):
                means = means_of_resamples([compared[place][problem] for place in places], rng, RESAMPLES)
                drawn.append(means - means_of_resamples([second], rng, RESAMPLES))
            intervals |= {place: _interval(means) for place, means in zip(places, np.mean(drawn, axis=0), strict=True)}
    return [Estimate(value, intervals.get(place)) for place, value in enumerate(values)]


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half of `values`, (runs,), without the lowest and the highest quarter."""
    from scipy.stats import trim_mean

    return float(trim_mean(_sample(values), 0.25))


def interquartile_mean_estimate(strata: Sequence[ArrayLike]) -> Estimate:
    """Return the interquartile mean over the runs of all problems, with its stratified 95 % bootstrap interval.

    Runs are resampled within their problem (Agarwal et al., 2021, section 4). If all problems have one run, there is no interval.

    Args:
        strata: one sample per problem, (runs,).
    """
    return interquartile_mean_estimates([strata])[0]


def interquartile_mean_estimates(groups: Sequence[Sequence[ArrayLike]]) -> list[Estimate]:
    """Return `interquartile_mean_estimate` of each group of strata; groups whose strata have equal sizes share their draws."""
    found = [[_sample(stratum) for stratum in strata] for strata in groups]
    values = [interquartile_mean(np.concatenate(samples) if samples else []) for samples in found]
    intervals: dict[int, Interval] = {}
    for sizes, places in _alike(tuple(map(len, samples)) for samples in found).items():
        if max(sizes) > 1:
            drawn = trimmed_means_of_resamples([found[place] for place in places], BOOTSTRAP_SEED, RESAMPLES)
            intervals |= {place: _interval(means) for place, means in zip(places, drawn, strict=True)}
    return [Estimate(value, intervals.get(place)) for place, value in enumerate(values)]


def _alike(sizes: Iterable[Sizes]) -> dict[Sizes, list[int]]:
    """Return the positions of each size, or tuple of sizes."""
    found: dict[Sizes, list[int]] = {}
    for place, size in enumerate(sizes):
        found.setdefault(size, []).append(place)
    return found


def ranks(scores: ArrayLike) -> Floats:
    """Return the ranks within each row of `scores`, (blocks, methods). The lowest score has rank 1, and ties share the average rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.round(np.asarray(scores, dtype=np.float64), TIE_DECIMALS), axis=1), dtype=np.float64)


def average_rank_estimates(scores: ArrayLike) -> list[Estimate]:
    """Return the average rank of each method over the blocks of `scores`, (blocks, methods), with a 95 % bootstrap interval.

    Blocks are resampled, not seeds: resampling seeds adds noise to the scores, which moves all ranks towards the middle. For fewer than
    `FEWEST_BLOCKS` blocks there is no interval.
    """
    table = ranks(scores)
    if len(table) < FEWEST_BLOCKS:
        return [Estimate(float(_sample(column).mean())) for column in table.T]
    return [mean_estimate(column) for column in table.T]


def friedman(scores: ArrayLike) -> Friedman | None:
    """Return Friedman's test of `scores`, (blocks, methods), or None for fewer than three methods or two blocks.

    The p-value uses the chi-squared approximation, which is rough for fewer than about ten blocks. If all scores tie in all blocks, p = 1.
    """
    from scipy.stats import friedmanchisquare

    table = np.round(np.asarray(scores, dtype=np.float64), TIE_DECIMALS)
    if table.ndim != 2:
        raise LeaderboardError(f"the scores have the shape {table.shape}; give (blocks, methods)")
    blocks, methods = table.shape
    if methods < 3 or blocks < 2:
        return None
    if (table == table[:, :1]).all():
        return Friedman(0.0, 1.0, blocks)
    result = friedmanchisquare(*table.T)
    return Friedman(float(result.statistic), float(result.pvalue), blocks)


def pairwise_wilcoxon(scores: pd.DataFrame) -> pd.DataFrame:
    """Return two-sided Wilcoxon signed-rank p-values for all pairs of methods, Holm-adjusted over all pairs, (methods, methods).

    Problems on which two methods tie are left out of their comparison, as in Wilcoxon's original test. If they tie on all problems, or
    there is one problem, p = 1. The diagonal is 1.

    Args:
        scores: one row per problem and one column per method. The pairs of the test are problems, never seeds.

    Raises:
        LeaderboardError: a score is missing.
    """
    from scikit_posthocs import posthoc_wilcoxon

    if scores.isna().to_numpy().any():
        raise LeaderboardError("a score is missing; compare only problems on which all methods have run")
    names = list(scores.columns)
    if len(names) < 2 or len(scores) < 2:
        return pd.DataFrame(np.ones((len(names), len(names))), index=names, columns=names)
    rounded = scores.round(TIE_DECIMALS)
    rounded.columns = pd.RangeIndex(len(names))
    with warnings.catch_warnings():
        # For two methods that tie on all problems, scipy divides 0 by 0 and warns.
        warnings.simplefilter("ignore", RuntimeWarning)
        table = posthoc_wilcoxon(rounded.melt(), val_col="value", group_col="variable", p_adjust="holm")
    return pd.DataFrame(np.nan_to_num(table.to_numpy(dtype=np.float64), nan=1.0), index=names, columns=names)


def rank_biserial(first: ArrayLike, second: ArrayLike) -> float:
    """Return the matched-pairs rank-biserial correlation, the effect size of Wilcoxon's signed-rank test (Kerby, 2014).

    It is (W+ - W-) / (W+ + W-), from -1 if all differences first - second are negative to 1 if all are positive; 0 if all tie.
    """
    from scipy.stats import wilcoxon

    differences = np.round(_sample(first) - _sample(second), TIE_DECIMALS)
    pairs = int(np.count_nonzero(differences))
    if pairs == 0:
        return 0.0
    total = pairs * (pairs + 1) / 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        above = float(wilcoxon(differences, alternative="greater").statistic)
    return 2.0 * above / total - 1.0


def smallest_p(blocks: int, comparisons: int) -> float:
    """Return the smallest possible Holm-adjusted p-value of a two-sided signed-rank test: min(1, comparisons * 2^(1 - blocks))."""
    return min(1.0, comparisons * 2.0 ** (1 - blocks))
