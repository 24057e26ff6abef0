"""Fixtures: small spaces with tables, in which a test chooses every figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest

from budgetnas.harness.costs.tabulated_space import TabulatedSpace
from budgetnas.spaces.space import Architecture, Complexity, Enumerable, check_genes
from budgetnas.spaces.tables.accuracy import accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Table
from budgetnas.spaces.tables.hardware import cost_column
from budgetnas.spaces.task import Task, task_of

DATASET = DEVICE = "closed-form"
MakeTabulatedSpace = Callable[..., TabulatedSpace]


@dataclass(frozen=True)
class Line:
    """A space with one gene, which equals the index; connectivity and parameters are given."""

    connections: tuple[bool, ...]
    params: tuple[int, ...]
    name: str = "line"
    identity: Architecture | None = None

    @property
    def size(self) -> int:
        return len(self.params)

    @property
    def arity(self) -> tuple[int, ...]:
        return (self.size,)

    def index(self, arch: Architecture) -> int:
        check_genes(cast(Enumerable, self), arch)
        return int(arch.genes[0])

    def at(self, index: int) -> Architecture:
        return Architecture(self.name, (index,))

    def encode(self, arch: Architecture) -> str:
        return str(self.index(arch))

    def decode(self, text: str) -> Architecture:
        return self.at(int(text))

    def connected(self, arch: Architecture) -> bool:
        return self.connections[self.index(arch)]

    def canonical(self, arch: Architecture) -> Architecture:
        return arch

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        return Complexity(self.params[self.index(arch)], 2 * self.params[self.index(arch)])

    def complexities(self, task: Task) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.params), 2 * np.array(self.params)

    def connected_mask(self) -> np.ndarray:
        return np.array(self.connections)


def _made_up(
    test: Sequence[float],
    latency_ms: Sequence[float] | None = None,
    validation: Sequence[float] | None = None,
    connected: Sequence[bool] | None = None,
    params: Sequence[int] | None = None,
    seconds: Sequence[float] | None = None,
    seeds: dict[int, Sequence[float]] | None = None,
    energy_mj: Sequence[float] | None = None,
    device: str | None = DEVICE,
) -> TabulatedSpace:
    size = len(test)
    space = Line(tuple([True] * size if connected is None else connected), tuple(params or range(1, size + 1)))
    columns = {
        accuracy_column(DATASET, "test"): np.array(test, float),
        accuracy_column(DATASET, "validation"): np.array(test if validation is None else validation, float),
        seconds_column(DATASET): np.array([100.0] * size if seconds is None else seconds, float),
        cost_column("latency_ms", DATASET, DEVICE): np.array([1.0] * size if latency_ms is None else latency_ms, float),
    }
    if energy_mj is not None:
        columns[cost_column("energy_mj", DATASET, DEVICE)] = np.array(energy_mj, float)
    for seed, values in (seeds or {}).items():
        columns[accuracy_column(DATASET, "validation", seed=seed)] = np.array(values, float)
    table = Table.from_columns(space.name, columns, dict.fromkeys(columns, "made up"))
    return TabulatedSpace(cast(Enumerable, space), table, task_of(DATASET), device)


@pytest.fixture(scope="session")
def made_up() -> MakeTabulatedSpace:
    """Return a function that makes a tabulated space from lists by index.

    The defaults are 1 ms, 100 s, connected, and 1, 2, 3, ... parameters.
    """
    return _made_up
