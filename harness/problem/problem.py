"""The words everybody shares: problem, limit, allowance, evaluator, method.

A method sees a `Problem` and an `Evaluator`, and nothing else. Everything here is small, frozen and free of tables and clocks.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np

from budgetnas.spaces.repair import nearest
from budgetnas.spaces.space import Architecture, Relaxable, SearchedCell, Space, SupernetOptions
from budgetnas.spaces.task import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Allowance", "AllowanceSpent", "Architecture", "Evaluator", "Limit", "Method", "Need", "Problem", "Relaxation", "Search",
    "SearchedCell", "Stateful", "Step", "SupernetOptions", "Task", "check_adam", "repaired", "summary",
]  # fmt: skip


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


class Stateful(Protocol):
    """What a method keeps between steps: a torch optimiser, or any object of its own with these two. Plain values and tensors only."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take up a state that `state_dict` gave."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a search: its number from 0, how many there are, and the epoch that it belongs to (on a table an epoch is a step)."""

    index: int
    total: int
    epoch: int
    epochs: int


class Relaxation(Protocol):
    """A problem's continuous relaxation, the same for a table and for a supernet: a differentiable method is written once over it.

    `cells` are the searched cells; tensors come as lists with one a cell, of shape (edges, operations) unless said otherwise.
    `not_modelled` names the options asked for that this relaxation cannot model (a table has no weights to share).
    """

    cells: tuple[SearchedCell, ...]
    alphas: list[Tensor]
    not_modelled: tuple[str, ...]

    def parameters(self) -> list[Tensor]:
        """Return what the method's optimiser trains: the alphas, and edge weights if the options have them."""

    def strengths(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return every operation's weight: softmax(alphas) over the operations of an edge, times the edge's normalised weight if any."""

    def steps(self, state: Sequence[Stateful], count: int | None = None) -> Iterator[Step]:
        """Yield the steps of the search, `count` or as many as the recipe has: the loop of every differentiable method.

        When the body is done, a supernet makes one step of its weights on a batch of its training half (a table has none). It restores the
        last checkpoint, if there is one, into weights, alphas and `state` before the first step, and writes one after every epoch.
        """

    def backward(self, penalty: Tensor | None = None, unrolled: bool = False) -> float:
        """Add the gradient of the validation loss, plus the penalty's, to the gradients of `parameters()`; return the loss.

        `unrolled` takes the second-order gradient (DARTS, equations 7 and 8); on a table there is none, and it is `not_modelled`.
        """

    def expected_cost(self, resource: str, alphas: Sequence[Tensor] | None = None) -> Tensor:
        """Return the expected resource of the evaluation network, differentiable in the alphas (or in those given), in its own unit."""

    def edge_costs(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> list[Tensor]:
        """Return what each operation on each edge adds, summed over a network's cells: u of RC-DARTS's equation 6."""

    def fixed_cost(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> float:
        """Return the resource of everything but the searched operations."""

    def additive_error(self, resource: str) -> Mapping[str, float]:
        """Return how far `edge_costs` and `fixed_cost` are off where they are a fit: `variance_explained`, `mean_error` (both shares).

        Empty for what is exactly a sum over edges.
        """

    def kept_edges(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return which edges the discrete architecture has, shape (edges,), truth values: the indicator of equation 6."""

    def discretise(self, alphas: Sequence[Tensor] | None = None) -> Architecture:
        """Return the discrete architecture of the present alphas, or of those given."""

    def derive(self) -> None:
        """Set the derived cells, where the options have them, to the present discrete architecture. Elsewhere nothing."""

    def note(self, **figures: float) -> None:
        """Keep a method's own figures (a multiplier, a penalty) beside this step's loss, entropy and expected costs."""


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


def check_adam(method: str, learning_rate: float, momentum: Sequence[float], weight_decay: float, deviation: float) -> None:
    """Raise `ValueError` if the settings that every method of alphas shares make no optimiser, or no start."""
    if not learning_rate > 0.0 or not weight_decay >= 0.0 or not deviation >= 0.0:
        raise ValueError(f"{method} needs a learning_rate above 0, and weight_decay and deviation of 0 or more")
    if not all(0.0 <= beta < 1.0 for beta in momentum):
        raise ValueError(f"momentum of {method} is {list(momentum)}; give Adam's two betas, each at least 0 and less than 1")


def repaired(problem: Problem, evaluator: Evaluator, strengths: Sequence[Tensor]) -> Architecture | None:
    """Return the feasible architecture that gives up the least strength, the strongest itself if it is feasible; None if none was found.

    strengths: of the operations, (edges, operations), one tensor a searched cell. What is given up is measured by the product of the
    strengths of what an architecture keeps. Costs are free questions. `spaces.nearest` says how exact the answer is in large spaces.
    It stands here because every constrained method of alphas offers it, and this module and the space's are what methods may import.
    """
    arrays = [each.detach().cpu().numpy() for each in strengths]
    return nearest(cast(Relaxable, problem.space), arrays, lambda arch: problem.violation(arch, evaluator.cost(arch)))


def summary(problem: Problem, relaxation: Relaxation) -> dict[str, float]:
    """Return how a relaxed search ended, for the figures that a method returns.

    `entropy` [nats], the mean over edges of that of their strengths; `skip_share`, of the edges that the discrete architecture keeps;
    `expected_RESOURCE` for every limited one that has an expectation; `not_modelled_OPTION`, 1 for every option asked for in vain.
    """
    strengths = [each.detach().cpu().numpy() for each in relaxation.strengths()]
    edges = [row / row.sum() for each in strengths for row in each]
    figures = {"entropy": float(np.mean([-np.sum(row * np.log(np.where(row > 0.0, row, 1.0))) for row in edges]))}
    hot = cast(Relaxable, problem.space).one_hot(relaxation.discretise())
    names = [cell.operations[int(row.argmax())] for cell, each in zip(relaxation.cells, hot, strict=True) for row in each if row.any()]
    figures["skip_share"] = names.count("skip_connect") / max(len(names) - names.count("none"), 1)
    for resource in problem.resources:
        try:
            figures[f"expected_{resource}"] = float(relaxation.expected_cost(resource).detach())
        except ValueError:
            continue  # a relaxation may know no expectation of it, which hinders no method that does not use one
    return figures | {f"not_modelled_{option}": 1.0 for option in relaxation.not_modelled}
