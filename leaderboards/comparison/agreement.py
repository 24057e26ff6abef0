"""Measures how well known and retrained accuracies of the same networks agree, and how much of their difference is seed noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from budgetnas.leaderboards.comparison.rows import Known, Network
from budgetnas.leaderboards.shared.statistics import LEVEL, TIE_DECIMALS

FEWEST_RANKED = 3  # networks; two are ordered rightly or wrongly by chance


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its interval by Student's t, from `low` to `high`, and the number of values. With one value both ends are NaN."""

    value: float
    low: float
    high: float
    count: int


def mean_of(values: ArrayLike) -> Mean:
    """Return the mean of `values`, shape (count,), with its 95 % interval; all NaN if `values` is empty.

    >>> found = mean_of([1.0, 3.0])
    >>> found.value, round(found.low, 6), round(found.high, 6), found.count
    (2.0, -10.706205, 14.706205, 2)
    """
    from scipy.stats import t

    figures = np.asarray(values, np.float64)
    count = len(figures)
    mean = float(figures.mean()) if count else math.nan
    half = float(t.ppf(0.5 + LEVEL / 2, count - 1) * figures.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
    return Mean(mean, mean - half, mean + half, count)


def rank_correlations(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Return Kendall's tau-b and Spearman's coefficient of two samples, each of shape (count,).

    Both are NaN if all values of a sample are equal, or if there are fewer than two.
    """
    from scipy.stats import kendalltau, spearmanr

    left, right = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(left) < 2 or np.ptp(left) == 0.0 or np.ptp(right) == 0.0:
        return math.nan, math.nan
    return float(kendalltau(left, right).statistic), float(spearmanr(left, right).statistic)


@dataclass(frozen=True, slots=True)
class Noise:
    """The effect of the training seed alone on the accuracies of some networks.

    Args:
        seeds: number of seeds per network, on average.
        networks: number of networks.
        deviation: standard deviation [points] over the seeds of one network, pooled over the networks.
        kendall, spearman: rank correlation between the networks' accuracies with one seed and with another, a mean over the pairs of
            seeds; NaN if it cannot be computed.
    """

    seeds: float
    networks: int
    deviation: float
    kendall: float
    spearman: float


def noise_of(figures: ArrayLike) -> Noise | None:
    """Return the seed noise of accuracies [%] of shape (networks, seeds), NaN where unknown; None if no network has two seeds."""
    table = np.asarray(figures, np.float64)
    table = table[(~np.isnan(table)).sum(axis=1) > 1] if table.ndim == 2 else np.empty((0, 0))
    networks, columns = table.shape
    if networks == 0:
        return None
    pairs = []
    for i, j in combinations(range(columns), 2):
        both = ~np.isnan(table[:, i]) & ~np.isnan(table[:, j])
        if both.sum() >= FEWEST_RANKED:
            pairs.append(rank_correlations(table[both, i], table[both, j]))
    kendall, spearman = (_mean_known([pair[side] for pair in pairs]) for side in (0, 1))
    deviation = float(np.sqrt(np.nanvar(table, axis=1, ddof=1).mean()))
    return Noise(float((~np.isnan(table)).sum(axis=1).mean()), networks, deviation, kendall, spearman)


def _mean_known(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def explained_by_seeds(differences: ArrayLike, *noises: Noise | None) -> float:
    """Return the share, 0 to 1, of the variance over networks of `differences` [points] that seeds alone would cause.

    A difference has two sides, known and retrained. Each side is a mean over its seeds, so it contributes its variance over seeds divided
    by their number. The result is NaN if the noise of a side is unknown, or if there are fewer than `FEWEST_RANKED` networks.
    """
    spread = np.asarray(differences, np.float64)
    if len(spread) < FEWEST_RANKED or any(noise is None for noise in noises):
        return math.nan
    expected = sum(noise.deviation**2 / noise.seeds for noise in noises if noise is not None)
    observed = float(spread.var(ddof=1))
    return min(1.0, expected / observed) if observed > 0.0 else math.nan


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a kind of known accuracy agrees with retrained accuracy over networks.

    Args:
        known: the kind.
        networks: number of networks with both figures.
        compared: number of accuracies, of both splits, that the table also has with the same seed.
        equal: how many of these are equal within the table's precision.
        difference: retrained minus known accuracy [points], over networks.
        kendall, spearman: tau-b and Spearman's coefficient over networks; NaN for fewer than `FEWEST_RANKED`, or if all are equal.
        table_noise, retrained_noise: the noise of the table's seeds and of the evaluation seeds.
        by_seeds: the share, 0 to 1, of the variance of the differences that seeds alone would cause; NaN if it is unknown.
    """

    known: Known
    networks: int
    compared: int
    equal: int
    difference: Mean
    kendall: float
    spearman: float
    table_noise: Noise | None
    retrained_noise: Noise | None
    by_seeds: float


def agreements(networks: Sequence[Network]) -> list[Agreement]:
    """Return an agreement for each kind of known accuracy, for networks of one space and dataset."""
    kinds: tuple[Known, ...] = ("queried", "early_stopped")
    chosen = {kind: [network for network in networks if not math.isnan(network.known(kind))] for kind in kinds}
    return [_agreement(kind, chosen[kind]) for kind in kinds if chosen[kind]]


def _agreement(kind: Known, networks: Sequence[Network]) -> Agreement:
    before = np.array([network.known(kind) for network in networks]).round(TIE_DECIMALS)
    after = np.array([network.retrained(kind) for network in networks]).round(TIE_DECIMALS)
    differences = [network.difference(kind) for network in networks]
    kendall, spearman = rank_correlations(before, after) if len(networks) >= FEWEST_RANKED else (math.nan, math.nan)
    queried = kind == "queried"
    of_table = noise_of([network.test_queried_by_seed for network in networks]) if queried else None
    own = noise_of([network.retrained_by_seed(kind) for network in networks])
    equal = sum(network.equal for network in networks) if queried else 0
    return Agreement(
        known=kind,
        networks=len(networks),
        compared=sum(network.compared for network in networks) if queried else 0,
        equal=equal,
        difference=mean_of(differences),
        kendall=kendall,
        spearman=spearman,
        table_noise=of_table,
        retrained_noise=own,
        by_seeds=math.nan if equal else explained_by_seeds(differences, of_table, own),  # equal figures are not new draws
    )
