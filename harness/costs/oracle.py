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
    """The number of feasible architectures and the indices of the best ones (None if none is feasible). Ties go to the lowest index."""

    feasible: int
    best_by_validation: int | None
    best_by_test: int | None


def oracle(tabulated: TabulatedSpace, limits: Sequence[Limit]) -> Oracle:
    """Return the best feasible architecture by mean validation accuracy and by mean test accuracy, and how many are feasible."""
    admitted = tabulated.admitted(limits)
    best = [_highest(values, admitted) for values in (tabulated.validation, tabulated.test)]
    return Oracle(int(admitted.sum()), *best)


def _highest(values: Column, admitted: Mask) -> int | None:
    """Return the index of the highest value, the lowest such index; NaN values (of a partly imported table) are ignored."""
    candidates = np.flatnonzero(admitted & ~np.isnan(values))
    # argmax returns the first of equal values, and the candidates are in ascending order.
    return int(candidates[np.argmax(values[candidates])]) if len(candidates) else None


def pareto_front(tabulated: TabulatedSpace, resource: str, limits: Sequence[Limit] = ()) -> NDArray[np.int64]:
    """Return the indices of the exact Pareto front within limits, by ascending cost: high test accuracy against low use of a resource.

    An architecture is on the front if no feasible one dominates it: costs no more and is at least as accurate, and is better in one of the
    two. Of architectures that are equal in both, only the one with the lowest index is returned.
    """
    admitted = np.flatnonzero(tabulated.admitted(limits) & ~np.isnan(tabulated.test))
    cost, test = tabulated.resource(resource)[admitted], tabulated.test[admitted]
    order = np.lexsort((admitted, -test, cost))
    best_so_far = np.maximum.accumulate(np.concatenate([[-np.inf], test[order][:-1]]))
    front: NDArray[np.int64] = admitted[order][test[order] > best_so_far]
    return front
