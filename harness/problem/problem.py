"""The central types: problem, limit, allowance, evaluator, method.

A method gets a `Problem` and an `Evaluator`, and nothing else. All classes here are small and frozen, and know no tables or timings.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

from budgetnas.harness.problem.relaxation import Relaxation
from budgetnas.spaces.space import Architecture, Space, SupernetOptions
from budgetnas.spaces.task import Task

Search: TypeAlias = Iterator[tuple[Architecture, ...]] | Generator[tuple[Architecture, ...], None, Mapping[str, float] | None]


class AllowanceSpent(Exception):
    """The allowance does not cover the question. It ends a search normally, so a method need not catch it."""


class Need(enum.Enum):
    """A kind of question that a method needs to ask."""

    ACCURACY = "accuracy"
    RELAXATION = "relaxation"
    WEIGHTS = "relaxation with trained weights"  # a supernet has them, a table does not


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper bound, a lower bound or both on a resource, in its unit: `latency_ms`, `energy_mj`, `macs`, `params`, `cycles`.

    >>> str(Limit("params", upper=2e6)), Limit("params", upper=2e6).excess(3e6)
    ('params<=2000000', 0.5)
    """

    resource: str
    upper: float = math.inf
    lower: float = 0.0

    def excess(self, value: float) -> float:
        """Return how far `value` is beyond the bound, divided by the bound; 0 if the limit holds, inf for NaN (not supported)."""
        if value != value:  # NaN
            return math.inf
        if value > self.upper:
            return (value - self.upper) / self.upper if self.upper > 0 else math.inf
        if value < self.lower:
            return (self.lower - value) / self.lower
        return 0.0

    def __str__(self) -> str:
        bounds = [f"{self.resource}<={self.upper:.10g}"] if self.upper < math.inf else []
        bounds += [f"{self.resource}>={self.lower:.10g}"] if self.lower > 0 else []
        return ",".join(bounds) or f"{self.resource} unlimited"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a search may spend: accuracy queries, and seconds of training (simulated on a table). None means no limit."""

    queries: int | None = 200
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A search problem: find the best network of a space for a task, within limits on a device, and within an allowance."""

    space: Space
    task: Task
    device: str | None
    limits: tuple[Limit, ...]
    allowance: Allowance

    @property
    def resources(self) -> tuple[str, ...]:
        """The limited resources, in the order of the limits."""
        return tuple(dict.fromkeys(limit.resource for limit in self.limits))

    def violation(self, arch: Architecture, cost: Mapping[str, float]) -> float:
        """Return 0 if `arch` is feasible, else the sum of the relative excesses over all limits.

        The result is inf if `arch` is disconnected, or if `cost` has a NaN: the device does not support the network, even if that resource
        is not limited. Limits apply to the discrete architecture, never to a relaxed one.

        Args:
            arch: the architecture.
            cost: its cost by resource, from `Evaluator.cost`.
        """
        if not self.space.connected(arch):
            return math.inf
        for value in cost.values():
            if value != value:  # NaN
                return math.inf
        total = 0.0
        for limit in self.limits:
            total += limit.excess(cost[limit.resource])
        return total

    def feasible(self, arch: Architecture, cost: Mapping[str, float]) -> bool:
        """Return whether `arch` is connected, supported and within all limits."""
        return self.violation(arch, cost) == 0.0


@runtime_checkable
class Evaluator(Protocol):
    """Answers a method's questions. Each question is recorded, and a new accuracy is charged. There is no question for test accuracy."""

    @property
    def offers(self) -> frozenset[Need]:
        """The kinds of question that it can answer."""

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return all known costs of `arch` by resource, in the unit of its name. NaN: the device does not support it. This is free.

        Raises AllowanceSpent after very many free questions in a row, because such a search finds nothing new.
        """

    def accuracy(self, arch: Architecture) -> float:
        """Return the validation accuracy [%]. A repeated question is free. Raises AllowanceSpent if a new one is not covered."""

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        """Return the validation accuracies [%] of a batch, charged in order. Raises AllowanceSpent at the first that is not covered."""

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Relaxation:
        """Return the continuous relaxation of the problem, for methods that need `Need.RELAXATION`. On a table it costs all accuracies.

        Args:
            options: how the supernet is built.
            rng: draws the initial alphas, normal with mean 0.
            deviation: the standard deviation of the initial alphas (DARTS's release: 1e-3).
        """


@runtime_checkable
class Method(Protocol):
    """A search method: a frozen dataclass with its settings as fields.

    Optional members:

    - `deterministic = True`, a class attribute: the method draws nothing from `rng`, so it runs once instead of once per seed.
    - `version`, a class attribute: a number that is raised with each change of behaviour, and part of a trial's identity.
    - `check_problem(problem)`, a method: raises ValueError if the settings do not fit the problem. A study calls it before any search.
    """

    needs: ClassVar[frozenset[Need]]

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Search:
        """Yield the current recommendation, one architecture or a front, whenever it changes. The last one counts.

        If nothing is yielded, the best feasible architecture evaluated counts. The generator may return figures, a mapping from names to
        numbers, which the record keeps.
        """
