"""A search that asks about accuracies. Copy this file, rename the class, write your own loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem
from budgetnas.spaces.space import mutate, sample


@dataclass(frozen=True)
class MySearch:
    """Mutate the best feasible architecture so far, and now and then draw a new one."""

    restart: float = 0.3  # probability of a new draw instead of a mutation

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def __post_init__(self) -> None:
        if not 0 < self.restart <= 1:
            raise ValueError(f"restart is {self.restart}; give a probability above 0 and at most 1")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Iterator[tuple[Architecture, ...]]:
        """Yield every architecture that is better than all before it."""
        best, best_accuracy = None, -1.0
        while True:  # the allowance ends the loop
            fresh = best is None or rng.random() < self.restart
            arch = sample(problem.space, rng) if fresh else mutate(problem.space, best, rng)
            if not problem.feasible(arch, evaluator.cost(arch)):  # a cost is free
                continue
            accuracy = evaluator.accuracy(arch)  # a new accuracy is charged; a repeat is free
            if accuracy > best_accuracy:
                best, best_accuracy = arch, accuracy
                yield (arch,)  # the last recommendation counts
