"""Figures about point sets of (cost, test accuracy): cost is minimised, accuracy [%] maximised. The work is moocore's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from budgetnas.leaderboards.shared.documents import LeaderboardError

Floats = NDArray[np.float64]

# Rounding may lift a ratio of two equal areas above 1 by this much, and no more.
TOLERANCE = 1e-9


def _points(points: ArrayLike) -> Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise LeaderboardError(f"points of shape {array.shape} were given; (n, 2) with columns cost and accuracy is expected")
    if not np.isfinite(array).all():
        raise LeaderboardError("a point has a cost or an accuracy that is not finite; leave such points out")
    return array


def hypervolume(points: ArrayLike, reference: tuple[float, float]) -> float:
    """Return the area that `points`, shape (n, 2) of (cost, accuracy [%]), dominate up to `reference`, in cost unit times percent.

    Points beyond the reference add nothing; no points give 0. ValueError on another shape or a value that is not finite.
    """
    import moocore

    array = _points(points)
    return float(moocore.hypervolume(array, ref=list(reference), maximise=[False, True])) if len(array) else 0.0


def normalised_hypervolume(points: ArrayLike, front: ArrayLike, reference: tuple[float, float]) -> float:
    """Return the share, 0 to 1, of the exact front's hypervolume that `points` reach; both of shape (n, 2), NaN if the front's is 0.

    Raises ValueError if the share exceeds 1 by more than rounding: then some point lies beyond the front, so one of the two is wrong.
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
        raise LeaderboardError(f"a hypervolume of {share:.12g} times the exact front's, where at most 1 is possible: run the study again")
    return min(share, 1.0)


def attainment_levels(
    points: ArrayLike, runs: ArrayLike, total_runs: int, percents: tuple[float, ...] = (25.0, 50.0, 75.0)
) -> list[Floats]:
    """Return, for each percentage, the best front that at least that share of runs attains, shape (m, 2) by ascending cost.

    `points` is (n, 2) of (cost, accuracy [%]); `runs`, shape (n,), says which run each came from. `total_runs` counts runs that found
    nothing as well; a share that too few runs reach gives an empty front. The empirical attainment function of Grunert da Fonseca et al.,
    2001. ValueError if there are more runs with points than `total_runs`.
    """
    import moocore

    array = _points(points)
    labels, sets = np.unique(np.asarray(runs), return_inverse=True)
    if len(labels) > total_runs:
        raise LeaderboardError(f"points of {len(labels)} runs were given but total_runs is {total_runs}; count every run")
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
