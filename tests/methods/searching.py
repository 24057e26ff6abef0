"""How the tests of methods run a search: to its end, on the table of digits201, or metered on the closed-form table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, AllowanceSpent, Architecture, Limit, Method, Need, Problem
from budgetnas.harness.trials.meter import Meter
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.tables.closed_form import DATASET, DEVICE, closed_form_table
from budgetnas.spaces.task import task_of

Limits = tuple[Limit, ...]


def conduct(method: Any, problem: Problem, evaluator: Any, seed: int = 0) -> tuple[list[Architecture], Mapping[str, float]]:
    """Return what a search recommended, in order, and the figures at its end."""
    search, found = method.search(problem, evaluator, np.random.default_rng(seed)), []
    while True:
        try:
            found += next(search)
        except StopIteration as end:
            return found, end.value


# --- differentiable methods, on a table ---------------------------------------------------------------------------------------------------

DIGITS = tabulated_space_of("nasbench201", "digits201", "amd-epyc")


def relax(
    method: Any, limits: Limits = (), seed: int = 0, tabulated: TabulatedSpace = DIGITS, evaluator: Any = None
) -> tuple[list[Architecture], Mapping[str, float]]:
    """Return what a search of a table recommended, in order, and the figures at its end."""
    problem = Problem(tabulated.space, tabulated.task, tabulated.device, limits, Allowance(200))
    return conduct(method, problem, evaluator or TableEvaluator(tabulated), seed)


# --- black-box methods, on the closed-form table ------------------------------------------------------------------------------------------

SPACE = NASBench201()
LANDSCAPE = TabulatedSpace(SPACE, closed_form_table(), task_of(DATASET), DEVICE)
SEVEN_CELLS = (Limit("latency_ms", lower=6.2),)
EMPTY = (Limit("latency_ms", 1.2), Limit("params", lower=2e5))
LIMITS: dict[str, Limits] = {
    "none": (),
    "one": (Limit("latency_ms", 2.0),),
    "several": (Limit("latency_ms", 2.5), Limit("energy_mj", 12.0), Limit("params", lower=3e5)),
    "lower only": (Limit("params", lower=7e5),),
    "both ends": (Limit("macs", 6e7, 3e7), Limit("latency_ms", lower=2.0)),
    "seven cells": SEVEN_CELLS,
}


@dataclass(frozen=True)
class Searched:
    """What a search recommended, in order, the meter that saw its questions, and whether it ended before its allowance was spent."""

    recommended: list[tuple[Architecture, ...]]
    meter: Meter
    ended: bool

    @property
    def asked(self) -> list[int]:
        """The architectures whose accuracy was asked for, each once, in order."""
        return cast(list[int], list(self.meter.answers))

    @property
    def best(self) -> float:
        """The best validation accuracy [%] seen."""
        return max(self.meter.answers.values())


def ask(limits: Limits = (), queries: int | None = 200) -> tuple[Problem, Meter]:
    """Return a problem on the closed-form table, and the meter that answers."""
    allowance = Allowance(queries)
    return Problem(SPACE, task_of(DATASET), DEVICE, limits, allowance), Meter(TableEvaluator(LANDSCAPE), None, SPACE, allowance)


def run(method: Method, limits: Limits = (), seed: int = 0, queries: int | None = 200) -> Searched:
    """Return what a black-box search of the closed-form table did."""
    problem, meter = ask(limits, queries)
    recommended: list[tuple[Architecture, ...]] = []
    try:
        for each in method.search(problem, meter, np.random.default_rng(seed)):
            recommended.append(tuple(each))
    except AllowanceSpent:
        return Searched(recommended, meter, False)
    return Searched(recommended, meter, True)


def validations(archs: Sequence[Architecture]) -> list[float]:
    """Return the validation accuracies [%] of architectures on the closed-form table."""
    return [float(LANDSCAPE.validation[SPACE.index(arch)]) for arch in archs]


# --- small spaces, made for a purpose -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocks:
    """A space of `arity`; position i unfilled is value 0."""

    arity: tuple[int, ...]
    cut: frozenset[tuple[int, ...]] = frozenset()  # disconnected ones
    name: str = "blocks"

    @property
    def identity(self) -> Architecture | None:
        return Architecture(self.name, (0,) * len(self.arity))

    def connected(self, arch: Architecture) -> bool:
        return arch.genes not in self.cut


@dataclass
class Rated:
    """An evaluator over functions of the genes. It keeps its questions, and refuses new ones beyond its seconds, one a question."""

    accuracy_of: Callable[[tuple[int, ...]], float]
    cost_of: Callable[[tuple[int, ...]], Mapping[str, float]]
    seconds: float = math.inf
    asked: list[tuple[int, ...]] = field(default_factory=list)

    offers = frozenset({Need.ACCURACY})

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        return self.cost_of(arch.genes)

    def accuracy(self, arch: Architecture) -> float:
        if arch.genes not in self.asked and len(set(self.asked)) + 1 > self.seconds:
            raise AllowanceSpent("spent")
        self.asked.append(arch.genes)
        return self.accuracy_of(arch.genes)

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, options: Mapping[str, Any]) -> Any:
        raise NotImplementedError
