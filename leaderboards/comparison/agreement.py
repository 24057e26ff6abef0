"""How well known and retrained accuracies of the same networks agree, and how much of their difference a training seed alone makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from budgetnas.leaderboards.comparison.rows import Known, Network
from budgetnas.leaderboards.shared.statistics import LEVEL, TIE_DECIMALS

FEWEST_RANKED = 3  # networks: the order of two is right or wrong, which says nothing


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its interval by Student's t, `low` to `high`, and how many figures are behind it; of one figure the ends are NaN."""

    value: float
    low: float
    high: float
    count: int


def mean_of(values: ArrayLike) -> Mean:
    """Return the mean of `values`, shape (count,), with its 95 % interval; NaN throughout where there are none.

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
    """Return Kendall's tau-b and Spearman's coefficient of two samples of shape (count,); NaN where either holds one value only."""
    from scipy.stats import kendalltau, spearmanr

    left, right = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(left) < 2 or np.ptp(left) == 0.0 or np.ptp(right) == 0.0:
        return math.nan, math.nan
    return float(kendalltau(left, right).statistic), float(spearmanr(left, right).statistic)


@dataclass(frozen=True, slots=True)
class Noise:
    """What a training seed alone does to accuracies of some networks, of which each has `seeds` on average.

    `deviation` [points]: the standard deviation over seeds of one network, pooled over the networks. `kendall`, `spearman`: the mean over
    pairs of seeds of the rank correlation between the networks' accuracies with one seed and with the other; NaN where there is none.
    """

    seeds: float
    networks: int
    deviation: float
    kendall: float
    spearman: float


def noise_of(figures: ArrayLike) -> Noise | None:
    """Return the seed noise of accuracies [%], shape (networks, seeds), NaN where a seed is not known; None where none has two."""
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
    """Return the share, 0 to 1, of the variance of `differences` over networks [points] that seeds alone would make.

    Each side is a mean over its seeds, so it adds its variance over seeds divided by their number. NaN unless the noise of every side is
    known, and there are networks enough to tell.
    """
    spread = np.asarray(differences, np.float64)
    if len(spread) < FEWEST_RANKED or any(noise is None for noise in noises):
        return math.nan
    expected = sum(noise.deviation**2 / noise.seeds for noise in noises if noise is not None)
    observed = float(spread.var(ddof=1))
    return min(1.0, expected / observed) if observed > 0.0 else math.nan


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a kind of known accuracy agrees with retrained accuracy over networks; accuracies [%], differences [points].

    Args:
        known: the kind.
        networks: how many networks have both figures.
        compared: how many accuracies, of both splits, stand beside the table's with the same seed.
        equal: how many of these are equal to the table's precision.
        difference: retrained minus known, over networks.
        kendall, spearman: tau-b and rank correlation over networks; NaN for fewer than `FEWEST_RANKED`, and where all are as accurate.
        table_noise, retrained_noise: what the table's seeds, and the evaluation seeds, do to the accuracy of one network.
        by_seeds: the share, 0 to 1, of the variance of differences over networks that seeds alone would make; NaN where it is not known.
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
    """Return an agreement for each kind of accuracy that is known of some networks of one space and dataset."""
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
        by_seeds=math.nan if equal else explained_by_seeds(differences, of_table, own),  # equal figures are no new draws
    )
