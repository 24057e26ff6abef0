"""NSGA-II: a genetic search for the trade-off between error and cost, with pymoo."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.problem import Architecture, Evaluator, Limit, Need, Problem
from budgetnas.spaces.space import sample

_POOR = 100.0  # reported to pymoo as every objective of an infeasible child; only its violation counts


@dataclass(frozen=True)
class NSGA2:
    """Non-dominated sorting genetic algorithm II (Deb et al., IEEE Transactions on Evolutionary Computation 6(2), 2002), with pymoo.

    It minimises the validation error [%] and each limited resource, divided by its bound. If nothing is limited, it minimises error and
    parameters. Genes are unordered choices, so crossover is uniform, and mutation draws a new value (for one gene per child, on average).
    Constraints follow Deb's rules, as implemented in pymoo: a feasible individual beats an infeasible one, and of two infeasible ones the
    one with the smaller violation wins.

    Costs are free, so an infeasible child costs no query: pymoo receives its violation and poor objectives, which those rules never
    compare. A child that was evaluated before is not queried again; pymoo receives the stored values. The search ends after `patience`
    generations in a row without a new query: it no longer finds new feasible architectures.
    """

    population: int = 20
    """Individuals in the population, and children per generation. With the paper's 100, 200 queries would last two generations."""
    crossover_probability: float = 0.9
    """Share of pairs of parents that exchange genes (the paper's setting)."""
    patience: int = 50
    """Generations in a row without a new query, after which the search ends."""
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield the front of the evaluated feasible architectures whenever it changes.

        The front is over validation accuracy and the first limited resource.
        """
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
            if children is None:  # pymoo found no child that differs from every parent
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
        """Return pymoo's algorithm, ready for ask and tell. It has its own random generator, seeded from `rng`."""
        from pymoo.algorithms.moo import nsga2
        from pymoo.config import Config
        from pymoo.core.duplicate import DefaultDuplicateElimination
        from pymoo.core.problem import Problem as Variables
        from pymoo.core.termination import NoTermination
        from pymoo.core.variable import Integer
        from pymoo.operators.crossover.ux import UniformCrossover
        from pymoo.operators.mutation.rm import ChoiceRandomMutation

        Config.warnings["not_compiled"] = False  # otherwise pymoo prints to standard output if its compiled modules are missing
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
    """Return the genes of a pymoo population as floats, shape (individuals, genes). After mutation pymoo stores them as objects."""
    genes: NDArray[np.float64] = population.get("X").astype(float)
    return genes


def _scales(problem: Problem) -> dict[str, float]:
    """Return the resources to minimise, each with the bound by which it is divided."""
    scales: dict[str, float] = {}
    for limit in problem.limits:
        scales.setdefault(limit.resource, _bound(limit))
    return scales or {"params": 1e6}


def _bound(limit: Limit) -> float:
    """Return the upper bound if there is one, otherwise the lower, otherwise 1."""
    if 0 < limit.upper < math.inf:
        return limit.upper
    return limit.lower if limit.lower > 0 else 1.0


class _Front:
    """The architectures that are non-dominated in (error, cost share), both minimised; of equal points the first is kept."""

    def __init__(self) -> None:
        self._points: dict[Architecture, tuple[float, float]] = {}

    @property
    def members(self) -> list[Architecture]:
        """The architectures, by increasing error."""
        return sorted(self._points, key=lambda arch: self._points[arch])

    def add(self, arch: Architecture, error: float, share: float) -> bool:
        """Add `arch` unless a member is at least as good in both objectives; return whether it was added."""
        if any(e <= error and s <= share for e, s in self._points.values()):
            return False
        self._points = {kept: (e, s) for kept, (e, s) in self._points.items() if e < error or s < share}
        self._points[arch] = (error, share)
        return True
