"""Random search: the baseline that every other method should beat."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem

_BLOCK = 256  # architectures drawn at once, which is cheaper than one by one


@dataclass(frozen=True)
class RandomSearch:
    """Evaluate feasible architectures in random order, each at most once, and keep the best.

    Costs are free, so an architecture that breaks a limit is dropped without a query. The evaluated architectures are therefore a uniform
    sample, without replacement, of the feasible ones. The search ends when the allowance is spent, when the whole space has been drawn, or
    when `patience` draws in a row gave no new feasible architecture.
    """

    # draws in a row without a new feasible architecture, after which the search ends; the default misses the only feasible one of 15,625
    # architectures with probability 0.0017
    patience: int = 100_000

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience of random search is {self.patience} draws; give 1 or more")

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield each architecture that is more accurate than all before it, as a tuple of one."""
        best = -math.inf
        for arch in self._feasible(problem, evaluator, rng):
            accuracy = evaluator.accuracy(arch)
            if accuracy > best:
                best = accuracy
                yield (arch,)

    def _feasible(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[Architecture]:
        """Yield feasible architectures in random order, each at most once."""
        space = problem.space
        name, arity = space.name, space.arity
        size, seen = math.prod(arity), set[tuple[int, ...]]()
        fruitless = 0
        while len(seen) < size and fruitless < self.patience:
            for genes in map(tuple, rng.integers(arity, size=(_BLOCK, len(arity))).tolist()):
                fruitless += 1
                if genes in seen:
                    continue
                seen.add(genes)
                arch = Architecture(name, genes)
                if problem.feasible(arch, evaluator.cost(arch)):
                    fruitless = 0
                    yield arch
