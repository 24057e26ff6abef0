"""Local search: move to the best neighbour until none is better, then restart from a random architecture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem
from budgetnas.spaces.space import neighbours, sample


@dataclass(frozen=True)
class LocalSearch:
    """Move to a better neighbour until there is none; then restart from a random architecture.

    White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search" (UAI 2021), algorithm 1. A neighbour differs in
    one gene. As in the paper, all neighbours are evaluated, in random order, and the search moves to the best of them. With
    `first_improvement` it moves to the first neighbour that is better.

    Limits come first. A start that violates them moves, without a query, to the neighbour with the smallest violation (ties are broken at
    random). It repeats this until it is feasible, or gives the start up when no neighbour has a smaller violation. After that, infeasible
    neighbours are skipped. No architecture is evaluated twice. The search ends when the allowance is spent, or after `patience` restarts
    in a row without a query.
    """

    first_improvement: bool = False  # move to the first better neighbour, instead of the best neighbour
    patience: int = 500  # restarts in a row without a query, after which the search ends

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience of local search is {self.patience} restarts; give 1 or more")

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield each architecture that is more accurate than all before it, as a tuple of one."""
        walk = _Walk(problem, evaluator, rng)
        best, idle = -math.inf, 0
        while idle < self.patience:
            idle += 1
            start = walk.descend(sample(problem.space, rng))
            if start is None:
                continue
            for arch, accuracy in walk.climb(start, self.first_improvement):
                idle = 0
                if accuracy > best:
                    best = accuracy
                    yield (arch,)


@dataclass
class _Walk:
    """The moves of the search, with all accuracies and violations known so far."""

    problem: Problem
    evaluator: Evaluator
    rng: np.random.Generator
    accuracies: dict[Architecture, float] = field(default_factory=dict)  # [%]
    violations: dict[Architecture, float] = field(default_factory=dict)

    def violation(self, arch: Architecture) -> float:
        """Return `problem.violation` of `arch`, computed once for each architecture."""
        if arch not in self.violations:
            self.violations[arch] = self.problem.violation(arch, self.evaluator.cost(arch))
        return self.violations[arch]

    def around(self, arch: Architecture) -> list[Architecture]:
        """Return the neighbours of `arch` in random order."""
        near = list(neighbours(self.problem.space, arch))
        return [near[place] for place in self.rng.permutation(len(near)).tolist()]

    def descend(self, arch: Architecture) -> Architecture | None:
        """Return a feasible architecture, reached from `arch` by steps that each reduce the violation; None if no step does."""
        while self.violation(arch) > 0.0:
            nearest = min(self.around(arch), key=self.violation, default=arch)
            if self.violation(nearest) >= self.violation(arch):
                return None
            arch = nearest
        return arch

    def climb(self, arch: Architecture, first_improvement: bool) -> Iterator[tuple[Architecture, float]]:
        """Climb from a feasible architecture to a local optimum; yield each newly evaluated architecture with its accuracy [%]."""
        yield from self._ask(arch)
        while True:
            top = arch
            for near in self.around(arch):
                if self.violation(near) > 0.0:
                    continue
                yield from self._ask(near)
                if self.accuracies[near] > self.accuracies[top]:
                    top = near
                    if first_improvement:
                        break
            if top == arch:
                return
            arch = top

    def _ask(self, arch: Architecture) -> Iterator[tuple[Architecture, float]]:
        """Evaluate `arch` unless its accuracy is known; yield both if it was not."""
        if arch not in self.accuracies:
            self.accuracies[arch] = self.evaluator.accuracy(arch)
            yield arch, self.accuracies[arch]
