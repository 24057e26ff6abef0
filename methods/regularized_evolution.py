"""Regularized evolution: tournament selection in a population from which the oldest member is removed."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem
from budgetnas.spaces.space import sample

_Genes = tuple[int, ...]
_Rank = tuple[float, float]  # violation, then negated validation accuracy [%]; smaller is better
_Member = tuple[_Rank, int, _Genes]  # rank, serial number in order of birth, genes
_BLOCK = 256  # children whose random numbers are drawn at once; most children need no query, so drawing dominates their time


@dataclass(frozen=True)
class RegularizedEvolution:
    """Mutate the best of a few random members, and remove the oldest member of the population.

    Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019), algorithm 1: one mutation
    per child, no crossover. The defaults are the paper's. Smaller populations are common when there are only a few hundred queries: the
    NAS-Bench-201 experiments use 10 members and tournaments of 3.

    Limits come first (Deb, "An efficient constraint handling method for genetic algorithms", 2000): in a tournament a feasible member
    beats an infeasible one, a smaller violation beats a larger one, and accuracy decides between feasible members. An infeasible
    architecture costs no query. It may be in the first population. Later, an infeasible child joins only if it violates the limits no more
    than its parent, so all children of a feasible parent that join are feasible. A child that was seen before is dropped: evaluating it
    again would be free, and the population would fill with copies of one local optimum.

    After `refill` children in a row without a query, a new random population replaces the old one. After `patience` children in a row
    without a query, the search ends.
    """

    population: int = 100  # members
    sample: int = 25  # members of a tournament, drawn with replacement
    refill: int = 500  # children in a row without a query, after which a new population is drawn
    patience: int = 20_000  # children in a row without a query, after which the search ends

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if value < 1:
                raise ValueError(f"{setting.name} of regularized evolution is {value}; give 1 or more")

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield each architecture that is more accurate than all before it, as a tuple of one."""
        space, known = problem.space, dict[_Genes, _Rank]()
        name, arity, size, exponent = space.name, space.arity, self.population, 1.0 / self.sample
        free = [gene for gene, choices in enumerate(arity) if choices > 1]
        breeding = size if free else math.inf  # in a space of one architecture nothing can be mutated
        ranked: list[_Member] = []  # best first
        aged: deque[_Member] = deque()  # oldest first
        best: _Rank = (0.0, math.inf)
        idle = born = 0
        while idle < self.patience:
            for winner, position, shift in rng.random((_BLOCK, 3)).tolist():
                idle += 1
                if idle % self.refill == 0:
                    ranked.clear()
                    aged.clear()
                if len(ranked) < breeding:
                    allowed, child = math.inf, sample(space, rng).genes
                else:
                    (allowed, _), _, parent = ranked[_winner(size, exponent, winner)]
                    child = _mutant(parent, arity, free[int(position * len(free))], shift)
                    if child in known:
                        continue
                rank = known.get(child)
                if rank is None:
                    arch = Architecture(name, child)
                    rank = known[child] = _rank(problem, evaluator, arch)
                    if rank[0] == 0.0:
                        idle = 0
                        if rank < best:
                            best = rank
                            yield (arch,)
                if rank[0] <= allowed:
                    member = (rank, born := born + 1, child)
                    insort(ranked, member)
                    aged.append(member)
                    if len(aged) > size:
                        del ranked[bisect_left(ranked, aged.popleft())]


def _winner(size: int, exponent: float, uniform: float) -> int:
    """Return the rank (0 is the best) of the winner of a tournament among `size` ranked members.

    A tournament draws 1 / `exponent` members with replacement. The winner has rank j or worse with probability
    ((size - j) / size)^draws, so one `uniform` number in [0, 1) replaces all the draws.
    """
    return int(size * (1.0 - (1.0 - uniform) ** exponent))


def _mutant(parent: _Genes, arity: tuple[int, ...], gene: int, shift: float) -> _Genes:
    """Return `parent` with `gene` set to another value, selected by `shift` in [0, 1).

    It does the same as `spaces.space.mutate`, but draws nothing and creates no `Architecture`, which is faster.
    """
    choices = arity[gene]
    value = (parent[gene] + 1 + int(shift * (choices - 1))) % choices
    return (*parent[:gene], value, *parent[gene + 1 :])


def _rank(problem: Problem, evaluator: Evaluator, arch: Architecture) -> _Rank:
    """Return the rank of `arch`: violation first, then accuracy. Only a feasible architecture costs a query."""
    violation = problem.violation(arch, evaluator.cost(arch))
    return (violation, 0.0 if violation else -evaluator.accuracy(arch))
