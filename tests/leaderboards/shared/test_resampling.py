"""Resamples in blocks against all of them at once: the same figures, to the last bit."""

import numpy as np
import pytest
from scipy.stats import trim_mean

from budgetnas.leaderboards.shared import resampling as rs

SEED = 5


def sample(size: int, seed: int = 0) -> rs.Floats:
    return np.random.default_rng(seed).normal(90.0, 2.0, size)


# A block holds 2^16 draws: of 7 runs all resamples are in one, of 1,001 several are, of 70,000 each is its own.
@pytest.mark.parametrize(("size", "resamples"), [(1, 9), (7, 5000), (1001, 301), (70_000, 3)])
def test_means_are_those_of_all_draws_at_once(size: int, resamples: int) -> None:
    samples = [sample(size, seed) for seed in range(3)]
    rng, rival = np.random.default_rng(SEED), np.random.default_rng(SEED)
    found = rs.means_of_resamples(samples, rng, resamples)
    draws = rival.integers(0, size, size=(resamples, size))
    assert np.array_equal(found, [each[draws].mean(axis=1) for each in samples])
    assert rng.integers(0, 1000, 9).tolist() == rival.integers(0, 1000, 9).tolist()  # the generator goes on from the same place


@pytest.mark.parametrize("sizes", [(8,), (1, 5, 3), (301, 1, 1000), (999, 40_001, 33_333)])
def test_trimmed_means_are_scipys_of_strata_drawn_one_after_the_other(sizes: tuple[int, ...]) -> None:
    resamples = 50
    groups = [[sample(size, place + 10 * size) for size in sizes] for place in range(2)]
    found = rs.trimmed_means_of_resamples(groups, SEED, resamples)
    for group, means in zip(groups, found, strict=True):
        rng = np.random.default_rng(SEED)
        drawn = np.concatenate([each[rng.integers(0, len(each), size=(resamples, len(each)))] for each in group], axis=1)
        assert np.array_equal(means, trim_mean(drawn, 0.25, axis=1))
