"""Queried accuracies equal those of training: random networks are retrained and compared with the table."""

from __future__ import annotations

import math
import os
import secrets

import numpy as np
import pytest

from budgetnas.harness.training.job import CannotRetrain, can_retrain, trainer_of
from budgetnas.spaces.nasbench201.space import connected_mask
from budgetnas.spaces.tables.accuracy import accuracy
from budgetnas.spaces.tables.home import open_table

pytestmark = pytest.mark.slow

FALSE_ALARM_RATE = 1e-6
CELLS = 30
SEEDS = (0, 1, 2)
CONNECTED = np.flatnonzero(connected_mask())


def accuracies_by_seed() -> np.ndarray:
    """Return the test accuracy [%] of all connected cells with all seeds of the table, (cells, seeds)."""
    table = open_table("nasbench201", "digits201")
    return np.stack([accuracy(table, "digits201", "test", seed=seed) for seed in SEEDS], axis=1)[CONNECTED]


def largest_mean_difference(by_seed: np.ndarray, cells: int, rate: float) -> float:
    """Return a bound on the mean difference [points] between retrained and queried accuracies over `cells` random cells.

    If retrainings are new draws from the same distribution, the absolute mean exceeds the bound with a probability of at most `rate`.
    Accuracies are means over the seeds.

    It is Chernoff's bound. For one cell, the difference between a new and an old draw is distributed like the difference between two of
    its seeds, and the difference between means over s seeds is the mean of s such differences. Cells are drawn uniformly. The moment
    generating function M of the difference for a random cell therefore follows from the noise in the table, including heavy tails. The
    bound is the minimum of (log(2 / rate) / cells + log M(x)) / x over x > 0.
    """
    count = by_seed.shape[1]
    pairs = np.stack([by_seed[:, i] - by_seed[:, j] for i in range(count) for j in range(i)])
    bounds = []
    for x in np.geomspace(1e-3, 10, 200):
        of_cell = np.cosh(np.minimum(x * np.abs(pairs) / count, 300)).mean(axis=0) ** count
        bounds.append((math.log(2 / rate) / cells + math.log(of_cell.mean())) / x)
    return min(bounds)


def test_for_normal_noise_the_bound_is_close_to_the_exact_one() -> None:
    by_seed = np.random.default_rng(0).normal(50, 2, (200_000, 3))
    # log M = x^2 v / 2 with the variance v = 2 * 2^2 / 3 gives sqrt(2 v log(2 / rate) / cells).
    exact = math.sqrt(2 * (2 * 4 / 3) * math.log(2e6) / 30)
    assert exact <= largest_mean_difference(by_seed, 30, 1e-6) <= 1.25 * exact


def test_new_draws_exceed_the_bound_at_most_at_its_rate() -> None:
    # Heavy tails: one cell in ten has ten times the noise. At a rate of 0.01 the bound may be exceeded 1,000 times in 100,000.
    rng = np.random.default_rng(1)
    deviation = np.where(rng.random(5_000) < 0.1, 10.0, 1.0)
    by_seed = 50 + deviation[:, None] * rng.normal(size=(5_000, 3))
    bound = largest_mean_difference(by_seed, 30, 0.01)
    drawn = rng.integers(0, 5_000, (100_000, 30))
    differences = deviation[drawn] * rng.normal(0, math.sqrt(2 / 3), drawn.shape)
    assert (np.abs(differences.mean(axis=1)) > bound).sum() <= 1_000


def test_the_bound_for_the_table_is_small_enough_to_be_useful() -> None:
    assert 0.5 < largest_mean_difference(accuracies_by_seed(), CELLS, FALSE_ALARM_RATE) < 5.0


@pytest.mark.slow
def test_thirty_retrained_cells_agree_with_the_table() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    by_seed = accuracies_by_seed()
    bound = largest_mean_difference(by_seed, CELLS, FALSE_ALARM_RATE)
    draw = int(os.environ.get("BUDGETNAS_TEST_DRAW", secrets.randbelow(2**32)))
    drawn = f"{CELLS} connected cells drawn with seed {draw} (BUDGETNAS_TEST_DRAW={draw} draws them again)"
    print(drawn)
    chosen = np.random.default_rng(draw).integers(0, len(CONNECTED), CELLS)
    trainer = trainer_of("nasbench201", "digits201")
    trained = np.array([[one.test for one in trainer.retrain(int(CONNECTED[position]))] for position in chosen])
    differences = trained.mean(axis=1) - by_seed[chosen].mean(axis=1)
    equal = int((np.abs(trained - by_seed[chosen]) < 1e-3).sum())
    print(f"mean difference {differences.mean():+.4f} points, bound {bound:.2f}; {equal} of {trained.size} accuracies equal")
    assert abs(differences.mean()) <= bound, drawn


def test_one_seed_has_the_same_result_as_with_all_seeds() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    trainer = trainer_of("nasbench201", "digits201")
    together, alone = trainer.retrain(1_462), trainer.retrain_seed(1_462, 1)
    assert [one.seed for one in together] == list(SEEDS)
    assert (alone.index, alone.seed, alone.validation, alone.test) == (1_462, 1, together[1].validation, together[1].test)
    assert alone.seconds > 0


def test_other_datasets_cannot_be_retrained() -> None:
    assert can_retrain("nasbench201", "digits201") and not can_retrain("nasbench201", "cifar10")
    with pytest.raises(CannotRetrain, match="networks of nasbench201 cannot be retrained on cifar10 yet; choose one of digits201"):
        trainer_of("nasbench201", "cifar10")
