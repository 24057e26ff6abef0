"""Hypervolume and attainment, compared with closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from budgetnas.leaderboards.shared import pareto

FRONT = [(1.0, 50.0), (2.0, 70.0), (4.0, 90.0)]
REFERENCE = (5.0, 10.0)


def test_hypervolume_of_a_staircase():
    # From cost 1 to 2 the height is 40, from 2 to 4 it is 60, from 4 to 5 it is 80.
    assert pareto.hypervolume(FRONT, REFERENCE) == pytest.approx(40 + 2 * 60 + 80)


def test_dominated_repeated_and_distant_points_add_nothing():
    assert pareto.hypervolume([*FRONT, (3.0, 60.0), (1.0, 50.0), (6.0, 99.0), (2.0, 5.0)], REFERENCE) == pytest.approx(240.0)


def test_no_points_have_no_hypervolume():
    assert pareto.hypervolume([], REFERENCE) == 0.0
    assert pareto.normalised_hypervolume([], FRONT, REFERENCE) == 0.0


def test_normalised_hypervolume():
    assert pareto.normalised_hypervolume(FRONT, FRONT, REFERENCE) == 1.0
    assert pareto.normalised_hypervolume([(2.0, 70.0)], FRONT, REFERENCE) == pytest.approx(180 / 240)
    assert math.isnan(pareto.normalised_hypervolume([(6.0, 20.0)], [(6.0, 20.0)], REFERENCE))


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match="times the exact front's, which cannot exceed 1"):
        pareto.normalised_hypervolume([(1.0, 50.1)], [(1.0, 50.0)], REFERENCE)


@pytest.mark.parametrize("points", [[(1.0, math.nan)], [1.0, 2.0], [(1.0, 2.0, 3.0)]])
def test_invalid_points_are_refused(points):
    with pytest.raises(ValueError, match="point"):
        pareto.hypervolume(points, REFERENCE)


def test_attainment_of_two_runs_by_hand():
    points = [(1.0, 5.0), (2.0, 7.0), (1.5, 6.0), (3.0, 8.0)]
    best, both = pareto.attainment_levels(points, [0, 0, 1, 1], 2, percents=(50.0, 100.0))
    assert best.tolist() == [[1.0, 5.0], [1.5, 6.0], [2.0, 7.0], [3.0, 8.0]]
    assert both.tolist() == [[1.5, 5.0], [2.0, 6.0], [3.0, 7.0]]


def test_runs_without_points_count():
    once, half, most = pareto.attainment_levels([(1.0, 5.0), (1.0, 5.0)], [0, 3], 4, percents=(25.0, 50.0, 75.0))
    assert once.tolist() == half.tolist() == [[1.0, 5.0]]
    assert most.shape == (0, 2)
    assert [front.shape for front in pareto.attainment_levels([], [], 4)] == [(0, 2)] * 3


def test_more_runs_with_points_than_total_runs_are_refused():
    with pytest.raises(ValueError, match="count every run"):
        pareto.attainment_levels([(1.0, 5.0), (2.0, 5.0)], [0, 1], 1)


@given(
    hs.lists(hs.lists(hs.tuples(hs.integers(1, 9), hs.integers(1, 9)), min_size=0, max_size=4), min_size=1, max_size=6),
    hs.integers(1, 10),
    hs.sampled_from([25.0, 50.0, 75.0, 100.0]),
)
def test_attainment_follows_its_definition(runs, cost, percent):
    """At each cost, the front is the accuracy that the required number of runs reach, found by sorting."""
    points = [point for run in runs for point in run]
    labels = [index for index, run in enumerate(runs) for _ in run]
    (front,) = pareto.attainment_levels(points, labels, len(runs), percents=(percent,))
    reached = sorted((max((quality for price, quality in run if price <= cost), default=-1) for run in runs), reverse=True)
    expected = reached[math.ceil(percent * len(runs) / 100) - 1]
    at = front[front[:, 0] <= cost, 1]
    assert (np.max(at) if len(at) else -1) == expected
