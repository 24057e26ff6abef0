"""The words everybody shares: problem, limit, allowance, evaluator, method.

A method sees a `Problem` and an `Evaluator`, and nothing else. Everything here is small, frozen and free of tables and clocks.
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
    """The allowance does not cover the question. It ends a search normally: a method need not catch it."""


class Need(enum.Enum):
    """What a method must be able to ask."""

    ACCURACY = "accuracy"
    RELAXATION = "relaxation"
    WEIGHTS = "relaxation with trained weights"  # a supernet's: a table's has none, so that what concerns weights alone changes nothing


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on a resource, in the unit of its name: `latency_ms`, `energy_mj`, `macs`, `params`, `cycles`. Both ends are allowed."""

    resource: str
    upper: float = math.inf
    lower: float = 0.0

    def excess(self, value: float) -> float:
        """Return by how much `value` breaks the limit, as a share of the bound; 0 if it holds, inf for NaN (not supported)."""
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
    """What a search may spend: accuracy queries, and seconds of training (simulated on a table). None is no limit."""

    queries: int | None = 200
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A search problem: the best network of a space on a task within limits on a device, found within an allowance."""

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
        """Return 0 if `arch` is feasible, else the sum of the limits' relative excesses; inf if it is disconnected or not supported.

        `cost` is what the evaluator answers; a NaN in it says that the device does not run the network, whatever the limits are on.
        Limits are judged on the architecture itself, never on a relaxed one.
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
    """What a method may ask. Every question is recorded; a new accuracy is charged. Test accuracy cannot be asked for."""

    @property
    def offers(self) -> frozenset[Need]:
        """What kinds of question it can answer."""

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return every known resource of `arch`, in the unit of its name; NaN is 'not supported on the device'. Free.

        `AllowanceSpent` after very many free questions in a row: what the search can reach is exhausted.
        """

    def accuracy(self, arch: Architecture) -> float:
        """Return validation accuracy [%]. A repeat is free. `AllowanceSpent` if a new one is not covered any more."""

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        """Return validation accuracies [%] of a batch, charged as one after the other; `AllowanceSpent` at the first not covered."""

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Relaxation:
        """Return the continuous relaxation of the problem; for methods that need `Need.RELAXATION`.

        The alphas start from `rng`, normal with mean 0 and the given standard deviation (DARTS's release: 1e-3). On a table it is charged
        the whole table.
        """


@runtime_checkable
class Method(Protocol):
    """A search: a frozen dataclass whose fields are its settings.

    Two optional class attributes: `deterministic = True` says that it draws nothing from `rng`, so it is run once instead of once a
    seed; `version`, a number raised with every change of behaviour, is part of a trial's identity. An optional method
    `check_problem(problem)` raises `ValueError` for a problem that its settings do not fit: a study says so before anything is searched.
    """

    needs: ClassVar[frozenset[Need]]

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Search:
        """Yield the current recommendation, one architecture or a front; the last one stands.

        With none yielded, the best feasible architecture asked about stands. What the generator returns at its end, if anything, is a
        mapping of the method's own figures that the record keeps.
        """
