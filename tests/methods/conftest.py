"""A small relaxation in closed form, in which loss and costs are sums over edges and can be computed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import searching

from budgetnas.harness.problem import Allowance, Architecture, Limit, Need, Problem, SearchedCell, Step, SupernetOptions
from budgetnas.spaces.task import task_of


@dataclass
class ClosedFormSpace:
    """A space whose genes are the operations of all edges, cell after cell."""

    cells: tuple[SearchedCell, ...]
    name: str = "closed-form"

    @property
    def edges(self) -> list[SearchedCell]:
        return [cell for cell in self.cells for _ in cell.edges]

    @property
    def arity(self) -> tuple[int, ...]:
        return tuple(len(cell.operations) for cell in self.edges)

    def connected(self, arch: Architecture) -> bool:
        return True

    def strongest(self, strengths: Sequence[Any]) -> Architecture:
        return Architecture(self.name, tuple(int(row.argmax()) for each in strengths for row in np.asarray(each)))

    def one_hot(self, arch: Architecture) -> list[Any]:
        rows = [np.eye(arity)[gene] for arity, gene in zip(self.arity, arch.genes, strict=True)]
        ends = np.cumsum([len(cell.edges) for cell in self.cells])
        return [np.array(rows[end - len(cell.edges) : end]) for cell, end in zip(self.cells, ends, strict=True)]


@dataclass
class ClosedForm:
    """An evaluator that is its own relaxation.

    The loss is 1 - the sum of p gain, and a cost is fixed + the sum of p cost, for the search network and the evaluation network alike.
    """

    cells: tuple[SearchedCell, ...]
    gains: list[Any]
    costs: Mapping[str, list[Any]]
    fixed: Mapping[str, float] = field(default_factory=dict)
    epoch_steps: int = 1
    not_modelled: tuple[str, ...] = ()
    offers = frozenset({Need.RELAXATION})

    @property
    def space(self) -> ClosedFormSpace:
        return ClosedFormSpace(self.cells)

    def problem(self, *limits: Limit) -> Problem:
        space: Any = self.space
        return Problem(space, task_of("closed-form"), None, limits, Allowance(None))

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> ClosedForm:
        import torch

        self.options = options
        shapes = [(len(cell.edges), len(cell.operations)) for cell in self.cells]
        self.alphas = [torch.tensor(rng.normal(0.0, deviation, shape), requires_grad=True) for shape in shapes]
        self.notes: list[dict[str, float]] = []
        self.derived_at: list[int] = []
        self.unrolled: set[bool] = set()
        self.state: Sequence[Any] = ()
        self.step = -1
        return self

    def parameters(self) -> list[Any]:
        return self.alphas

    def strengths(self, alphas: Sequence[Any] | None = None) -> list[Any]:
        import torch

        return [torch.softmax(each, dim=1) for each in (self.alphas if alphas is None else alphas)]

    def steps(self, state: Sequence[Any], count: int | None = None) -> Iterator[Step]:
        total = count or 100
        self.state = state
        for self.step in range(total):
            yield Step(self.step, total, self.step // self.epoch_steps, -(-total // self.epoch_steps))

    def backward(self, penalty: Any = None, unrolled: bool = False) -> float:
        self.unrolled.add(unrolled)
        loss = 1.0 - self._sum(self.gains, self.strengths())
        (loss if penalty is None else loss + penalty).backward()
        return float(loss.detach())

    def _sum(self, tables: Sequence[Any], strengths: Sequence[Any]) -> Any:
        import torch

        return sum((p * torch.as_tensor(np.asarray(table, dtype=float))).sum() for p, table in zip(strengths, tables, strict=True))

    def expected_cost(self, resource: str, alphas: Sequence[Any] | None = None) -> Any:
        return self.fixed.get(resource, 0.0) + self._sum(self.costs[resource], self.strengths(alphas))

    def edge_costs(self, resource: str, network: str = "evaluation") -> list[Any]:
        import torch

        return [torch.tensor(np.asarray(table, dtype=float)) for table in self.costs[resource]]

    def fixed_cost(self, resource: str, network: str = "evaluation") -> float:
        return self.fixed.get(resource, 0.0)

    def discretise(self, alphas: Sequence[Any] | None = None) -> Architecture:
        return self.space.strongest([each.detach().numpy() for each in self.strengths(alphas)])

    def derive(self) -> None:
        self.derived_at.append(self.step)

    def note(self, **figures: float) -> None:
        self.notes.append(figures)

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        hot = self.space.one_hot(arch)
        summed = {
            name: sum(float((h * np.asarray(t)).sum()) for h, t in zip(hot, tables, strict=True)) for name, tables in self.costs.items()
        }
        return {name: self.fixed.get(name, 0.0) + value for name, value in summed.items()}


Search = tuple[list[Architecture], Mapping[str, float]]


class Conductor:
    """Creates closed forms, and runs methods to their end."""

    closed_form = ClosedForm

    def __call__(self, method: Any, problem: Problem, evaluator: Any, seed: int = 0) -> Search:
        return searching.conduct(method, problem, evaluator, seed)


@pytest.fixture
def conduct() -> Conductor:
    """A function that runs a method on a problem and returns its recommendations, in order, and its figures."""
    return Conductor()
