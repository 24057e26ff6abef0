"""NSGA-II: a genetic search for the whole trade-off between error and cost, on pymoo."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.problem import Architecture, Evaluator, Limit, Need, Problem
from budgetnas.spaces.space import sample

_POOR = 100.0  # told as every objective of an infeasible child; only its violation counts


@dataclass(frozen=True)
class NSGA2:
    """Non-dominated sorting genetic algorithm II (Deb et al., IEEE Transactions on Evolutionary Computation 6(2), 2002), on pymoo.

    It minimises the validation error [%] and every limited resource as a share of its bound; parameters where nothing is limited. Genes
    are unordered choices, so crossover is uniform and a mutated gene (one in a child, on average) is drawn anew. Constraints follow Deb's
    rules as pymoo has them: a feasible individual beats an infeasible one, and of two infeasible ones the smaller violation wins.

    A cost is free, so an infeasible child costs no query: pymoo is told its violation and poor objectives, which those rules never look at.
    A child known from before is told again from memory. The search ends after `patience` generations in a row without a new query: all
    that it can find of the feasible region is known.
    """

    population: int = 20
    """Individuals, and children a generation. The paper's 100 would leave two generations of 200 queries."""
    crossover_probability: float = 0.9
    """Share of pairs of parents that exchange genes (the paper's setting)."""
    patience: int = 50
    """Generations in a row without a new query after which the search ends."""
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield the front of the feasible architectures asked, by validation accuracy and the first limited resource, when it changes."""
        from pymoo.core.evaluator import Evaluator as Teller
        from pymoo.problems.static import StaticProblem

        algorithm = self._algorithm(problem, rng)
        scales = _scales(problem)
        rows: dict[Architecture, list[float]] = {}  # objectives, then the violation
        front = _Front()
        misses = 0
        while misses < self.patience:
            misses += 1
            children = algorithm.ask()
            if children is None:  # pymoo finds no child that differs from every parent
                return
            archs = [Architecture(problem.space.name, tuple(map(int, genes))) for genes in children.get("X")]
            for arch in archs:
                if arch in rows:
                    continue
                cost = evaluator.cost(arch)
                violation = problem.violation(arch, cost)
                rows[arch] = [_POOR] * (1 + len(scales)) + [violation]
                if violation > 0:
                    continue
                error = 100.0 - evaluator.accuracy(arch)
                shares = [cost[resource] / scale for resource, scale in scales.items()]
                rows[arch] = [error, *shares, violation]
                misses = 0
                if front.add(arch, error, shares[0]):
                    yield tuple(front.members)
            told = np.array([rows[arch] for arch in archs])
            Teller().eval(StaticProblem(algorithm.problem, F=told[:, :-1], G=told[:, -1:]), children)
            algorithm.tell(infills=children)

    def _algorithm(self, problem: Problem, rng: np.random.Generator) -> Any:
        """Return pymoo's algorithm, set up for ask and tell. It draws from a generator of its own, seeded from `rng`."""
        from pymoo.algorithms.moo import nsga2
        from pymoo.config import Config
        from pymoo.core.duplicate import DefaultDuplicateElimination
        from pymoo.core.problem import Problem as Variables
        from pymoo.core.termination import NoTermination
        from pymoo.core.variable import Integer
        from pymoo.operators.crossover.ux import UniformCrossover
        from pymoo.operators.mutation.rm import ChoiceRandomMutation

        Config.warnings["not_compiled"] = False  # else pymoo prints to standard output where it was built without its compiled parts
        variables = {gene: Integer(bounds=(0, choices - 1)) for gene, choices in enumerate(problem.space.arity)}
        first = np.array([sample(problem.space, rng).genes for _ in range(self.population)])
        algorithm = nsga2.NSGA2(
            pop_size=self.population,
            sampling=first,
            crossover=UniformCrossover(prob=self.crossover_probability),
            mutation=ChoiceRandomMutation(),
            eliminate_duplicates=DefaultDuplicateElimination(func=_numbers),
            seed=int(rng.integers(2**31)),
        )
        algorithm.setup(Variables(vars=variables, n_obj=1 + len(_scales(problem)), n_ieq_constr=1), termination=NoTermination())
        return algorithm


def _numbers(population: Any) -> NDArray[np.float64]:
    """Return the genes of a pymoo population as numbers, shape (individuals, genes); its mutation leaves them as objects."""
    genes: NDArray[np.float64] = population.get("X").astype(float)
    return genes


def _scales(problem: Problem) -> dict[str, float]:
    """Return the resources to minimise and the bound that each is divided by."""
    scales: dict[str, float] = {}
    for limit in problem.limits:
        scales.setdefault(limit.resource, _bound(limit))
    return scales or {"params": 1e6}


def _bound(limit: Limit) -> float:
    """Return the upper bound where there is one, else the lower, else 1."""
    if 0 < limit.upper < math.inf:
        return limit.upper
    return limit.lower if limit.lower > 0 else 1.0


class _Front:
    """The non-dominated architectures by (error, cost share), both minimised; of equals the first is kept."""

    def __init__(self) -> None:
        self._points: dict[Architecture, tuple[float, float]] = {}

    @property
    def members(self) -> list[Architecture]:
        """The architectures, from the lowest error to the highest."""
        return sorted(self._points, key=lambda arch: self._points[arch])

    def add(self, arch: Architecture, error: float, share: float) -> bool:
        """Take `arch` in unless a member is as good in both; return whether it was taken in."""
        if any(e <= error and s <= share for e, s in self._points.values()):
            return False
        self._points = {kept: (e, s) for kept, (e, s) in self._points.items() if e < error or s < share}
        self._points[arch] = (error, share)
        return True
