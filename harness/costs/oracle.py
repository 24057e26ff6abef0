"""The exact best under limits, and the exact Pareto front: what a perfect search would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.costs.tabulated_space import Mask, TabulatedSpace
from budgetnas.harness.problem import Limit
from budgetnas.spaces.tables.columnar import Column


@dataclass(frozen=True, slots=True)
class Oracle:
    """The exact best of a problem by index; None where nothing is feasible. Ties go to the lowest index."""

    feasible: int
    best_by_validation: int | None
    best_by_test: int | None


def oracle(tabulated: TabulatedSpace, limits: Sequence[Limit]) -> Oracle:
    """Return the best feasible architecture by mean validation accuracy and by mean test accuracy, and how many are feasible."""
    admitted = tabulated.admitted(limits)
    best = [_highest(values, admitted) for values in (tabulated.validation, tabulated.test)]
    return Oracle(int(admitted.sum()), *best)


def _highest(values: Column, admitted: Mask) -> int | None:
    """Return the lowest index of the highest value; values that a partly imported table does not know (NaN) are left out."""
    candidates = np.flatnonzero(admitted & ~np.isnan(values))
    # argmax returns the first of equals, and the candidates ascend.
    return int(candidates[np.argmax(values[candidates])]) if len(candidates) else None


def pareto_front(tabulated: TabulatedSpace, resource: str, limits: Sequence[Limit] = ()) -> NDArray[np.int64]:
    """Return the indices of the exact front of test accuracy (high) against a resource (low) within limits, by ascending cost.

    An architecture is on it if no feasible one costs at most as much and is at least as accurate, one of the two strictly. Of those equal
    in both, the lowest index stands.
    """
    admitted = np.flatnonzero(tabulated.admitted(limits) & ~np.isnan(tabulated.test))
    cost, test = tabulated.resource(resource)[admitted], tabulated.test[admitted]
    order = np.lexsort((admitted, -test, cost))
    best_so_far = np.maximum.accumulate(np.concatenate([[-np.inf], test[order][:-1]]))
    front: NDArray[np.int64] = admitted[order][test[order] > best_so_far]
    return front
