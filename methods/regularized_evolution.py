"""Regularized evolution: tournaments in a population whose oldest member dies."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import itemgetter
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem
from budgetnas.spaces.space import mutate, sample

_Rank = tuple[float, float]  # violation, then validation accuracy [%] negated: the smaller, the better
_by_rank = itemgetter(0)


@dataclass(frozen=True)
class RegularizedEvolution:
    """Breed from the best of a random few, and let the oldest member of the population die.

    Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019), algorithm 1: one mutation
    a child, no crossover. The defaults are those with which NAS-Bench-201 (Dong and Yang, ICLR 2020) runs it, made for allowances of a
    few hundred queries; the original has 100 and 25 for 20,000.

    Limits come first (Deb, "An efficient constraint handling method for genetic algorithms", 2000): in a tournament a feasible member
    beats an infeasible one, a smaller violation a larger one, and accuracy decides among the feasible. An infeasible architecture costs
    no query. It may stand in the first population; afterwards an infeasible child joins only if it violates the limits no more than its
    parent, so a feasible parent is never displaced by one. A child that was asked about before joins with the accuracy it had.

    When `refill` children in a row needed no query, a new random population takes over; after `patience` of them the search ends.
    """

    population: int = 10  # members
    sample: int = 3  # members drawn for a tournament, with replacement
    refill: int = 500  # children in a row without a query, after which the population is drawn anew
    patience: int = 20_000  # children in a row without a query, after which the search ends

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} of regularized evolution is {getattr(self, field.name)}; give 1 or more")

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield every architecture that is better than all before it, as a tuple of one."""
        space, tournament, size = problem.space, self.sample, self.population
        breeding = size if max(space.arity) > 1 else math.inf  # a space of one architecture has no mutations
        members: deque[tuple[_Rank, Architecture]] = deque(maxlen=size)
        known: dict[tuple[int, ...], _Rank] = {}
        best: _Rank = (0.0, math.inf)
        idle = 0
        while idle < self.patience:
            if len(members) < breeding:
                violation_allowed, child = math.inf, sample(space, rng)
            else:
                (violation_allowed, _), parent = min([members[int(u * size)] for u in rng.random(tournament).tolist()], key=_by_rank)
                child = mutate(space, parent, rng)
            idle += 1
            rank = known.get(child.genes)
            if rank is None:
                rank = known[child.genes] = _rank(problem, evaluator, child)
                if rank[0] == 0.0:
                    idle = 0
                    if rank < best:
                        best = rank
                        yield (child,)
            if rank[0] <= violation_allowed:
                members.append((rank, child))
            if idle and idle % self.refill == 0:
                members.clear()


def _rank(problem: Problem, evaluator: Evaluator, arch: Architecture) -> _Rank:
    """Return where `arch` stands, feasibility first; only a feasible one costs a query."""
    violation = problem.violation(arch, evaluator.cost(arch))
    return (violation, 0.0 if violation else -evaluator.accuracy(arch))
