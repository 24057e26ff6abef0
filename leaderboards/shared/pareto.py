"""Hypervolume and attainment of points (cost, test accuracy [%]), computed by moocore. Cost is minimised, accuracy maximised."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from budgetnas.leaderboards.shared.documents import LeaderboardError

Floats = NDArray[np.float64]

# By rounding, the ratio of two equal areas may exceed 1 by at most this.
TOLERANCE = 1e-9


def _points(points: ArrayLike) -> Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise LeaderboardError(f"the points have the shape {array.shape}; give (n, 2) with the columns cost and accuracy")
    if not np.isfinite(array).all():
        raise LeaderboardError("a point has a cost or an accuracy that is not finite; leave out such points")
    return array


def hypervolume(points: ArrayLike, reference: tuple[float, float]) -> float:
    """Return the area dominated by `points` up to `reference`, in the unit of cost times percent. Without points it is 0.

    Args:
        points: (n, 2), with the columns cost and accuracy [%]. Points beyond the reference add nothing.
        reference: (cost, accuracy [%]).
    """
    import moocore

    array = _points(points)
    return float(moocore.hypervolume(array, ref=list(reference), maximise=[False, True])) if len(array) else 0.0


def normalised_hypervolume(points: ArrayLike, front: ArrayLike, reference: tuple[float, float]) -> float:
    """Return the hypervolume of `points` divided by that of the exact front, from 0 to 1. NaN if that of the front is 0.

    Args:
        points: (n, 2), with the columns cost and accuracy [%].
        front: the exact front, in the same form.
        reference: (cost, accuracy [%]).

    Raises:
        LeaderboardError: the result is above 1 by more than rounding. Some point is then better than the front, so one of the two is wrong.
    """
    return normalised_hypervolumes([points], front, reference)[0]


def normalised_hypervolumes(runs: Sequence[ArrayLike], front: ArrayLike, reference: tuple[float, float]) -> list[float]:
    """Return `normalised_hypervolume` of the points of each run."""
    whole = hypervolume(front, reference)
    return [_share(hypervolume(points, reference), whole) for points in runs]


def _share(area: float, whole: float) -> float:
    if whole == 0.0:
        return math.nan
    share = area / whole
    if share > 1.0 + TOLERANCE:
        raise LeaderboardError(f"the hypervolume is {share:.12g} times the exact front's, which cannot exceed 1; run the study again")
    return min(share, 1.0)


def attainment_levels(
    points: ArrayLike, runs: ArrayLike, total_runs: int, percents: tuple[float, ...] = (25.0, 50.0, 75.0)
) -> list[Floats]:
    """Return, for each percentage, the best front that at least so many of the runs attain, (m, 2), by ascending cost.

    It is the empirical attainment function of Grunert da Fonseca et al., 2001. If too few runs have points, the front is empty.

    Args:
        points: (n, 2), with the columns cost and accuracy [%].
        runs: the run of each point, (n,).
        total_runs: the number of runs, including those without points.
        percents: the percentages of runs.

    Raises:
        LeaderboardError: more than `total_runs` runs have points.
    """
    import moocore

    array = _points(points)
    labels, sets = np.unique(np.asarray(runs), return_inverse=True)
    if len(labels) > total_runs:
        raise LeaderboardError(f"{len(labels)} runs have points, but total_runs is {total_runs}; count every run")
    if not len(array):
        return [np.empty((0, 2)) for _ in percents]
    needed = [max(1, math.ceil(percent * total_runs / 100.0 - TOLERANCE)) for percent in percents]
    # moocore knows only runs that have points, and minimises; its last column is 100 * level / runs with points.
    reached = sorted({100.0 * level / len(labels) for level in needed if level <= len(labels)})
    if not reached:
        return [np.empty((0, 2)) for _ in percents]
    table = moocore.eaf(np.column_stack([array[:, 0], -array[:, 1]]), sets, percentiles=reached)
    level = np.rint(table[:, 2] * len(labels) / 100.0).astype(int)
    fronts = []
    for runs_needed in needed:
        front = table[level == runs_needed][:, :2] * (1.0, -1.0)
        fronts.append(front[np.argsort(front[:, 0], kind="stable")])
    return fronts
