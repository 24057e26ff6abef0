"""The exact relaxation of a table: expectations over all architectures, with independent choices on edges and without trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budgetnas.harness.evaluators.step_history import History
from budgetnas.harness.problem import Architecture, Stateful, Step, SupernetOptions, Task
from budgetnas.spaces.devices import DEVICE_RESOURCES
from budgetnas.spaces.space import Enumerable, Floats, Relaxable

# At DARTS's learning rate for alphas, 3e-4. On digits201, CIFAR-10 and CIFAR-100 the discrete architecture of DARTS does not change after
# step 2,000, up to 20,000; on ImageNet16-120 one operation changes after step 8,000. DARTS makes 19,550 steps: 50 epochs of 391 batches.
STEPS = 5_000


class NotRelaxable(ValueError):
    """Raised if a table, a resource or a setting has no exact relaxation. The message names what is possible."""


class Listed(Relaxable, Enumerable, Protocol):
    """A space that can be both listed and relaxed."""


@dataclass(frozen=True, slots=True)
class AdditiveFit:
    """The least-squares fit of a sum over edges to a resource, over all eligible architectures, and its error."""

    resource: str
    fixed: float  # in the unit of the resource, like the costs
    costs: Floats  # shape (edges, operations): the cost that an operation adds; the first operation of every edge adds 0
    variance_explained: float  # a share, 0 to 1
    mean_relative_error: float  # mean of |fitted - known| / known
    largest_relative_error: float


class TableRelaxation:
    """The `Relaxation` of an enumerable space with one searched cell, in which each edge is a gene.

    With p = softmax(alphas), the probability of an architecture is the product of p over its operations. The table is a tensor with one
    axis for each edge, and an expectation contracts it with every row of p. The loss is the expected error, 1 - accuracy / 100. An expected
    cost is over the connected architectures that the device supports, E[c m] / E[m] with their mask m. The probabilities of the others are
    the resources `disconnected_share` and, for connected ones, `unsupported_share`. Everything is float64 on the CPU. `not_modelled` lists
    the requested options without a meaning on a table, which has no weights; `unrolled` is added when a method requests it.
    """

    def __init__(
        self,
        space: Listed,
        task: Task,
        validation: Floats,
        costs: Mapping[str, Floats],
        options: SupernetOptions,
        rng: np.random.Generator,
        deviation: float = 1e-3,
    ):
        """`validation` [%] and each of the `costs` have the shape (size,), by index; NaN in a cost means 'not supported'."""
        _check(space, validation)
        self.cells = space.searched
        self.alphas = [torch.tensor(rng.normal(0.0, deviation, self._shape), dtype=torch.float64, requires_grad=True)]
        self.history = History(STEPS)
        plain = SupernetOptions()
        self.not_modelled = tuple([f.name for f in fields(options) if getattr(options, f.name) != getattr(plain, f.name)])
        self._space, self._task = space, task
        archs = [space.at(index) for index in range(space.size)]
        self._genes = np.array([arch.genes for arch in archs])
        self._places = np.ravel_multi_index(tuple(self._genes.T), space.arity)  # of every index in a tensor with one axis for each edge
        connected = np.array([space.connected(arch) for arch in archs])
        supported = ~np.isnan(np.array([*costs.values(), np.zeros(space.size)])).any(axis=0)
        self._known = {name: np.asarray(column, dtype=np.float64) for name, column in costs.items()}
        self._eligible = connected & supported
        self._error = self._tensor(1.0 - np.asarray(validation) / 100.0)
        self._tensors = {name: self._masked(column) for name, column in self._known.items()} | {
            "disconnected_share": self._tensor(~connected, np.ones(space.size)),
            "unsupported_share": self._tensor(connected & ~supported, np.ones(space.size)),
        }
        self._fits: dict[str, AdditiveFit] = {}
        self._noted: dict[str, float] = {}
        self._loss = float("nan")

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.cells[0].edges), len(self.cells[0].operations)

    def parameters(self) -> list[Tensor]:
        """Return the alphas; a table has no edge weights."""
        return list(self.alphas)

    def strengths(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return softmax(alphas) over the operations of every edge, shape (edges, operations)."""
        return [torch.softmax(rows, dim=1) for rows in (self.alphas if alphas is None else alphas)]

    def steps(self, state: Sequence[Stateful], count: int | None = None) -> Iterator[Step]:
        """Yield `count` steps, or `STEPS`. No weights are trained, and nothing is resumed, because a search takes only seconds."""
        total = STEPS if count is None else count
        if total < 1:
            raise NotRelaxable(f"a search cannot have {total} steps; give 1 or more, or leave it out for the default of {STEPS:,}")
        self.history = History(total)
        for index in range(total):
            yield Step(index, total, index, total)
            if self.history.keeps(index):
                self.history.add(index, self._figures())
            if self.history.keeps_alphas(index):
                self.history.add_alphas(index, [rows.tolist() for rows in self.alphas])
            self._noted = {}

    def backward(self, penalty: Tensor | None = None, unrolled: bool = False) -> float:
        """Add the exact gradients of the expected error and of the penalty to the alphas, and return the expected error."""
        if unrolled and "unrolled" not in self.not_modelled:
            self.not_modelled = (*self.not_modelled, "unrolled")
        loss = self._expected(self._error, self.alphas)[0]
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        self._loss = loss.item()
        return self._loss

    def expected_cost(self, resource: str, alphas: Sequence[Tensor] | None = None) -> Tensor:
        """Return E[c m] / E[m], a scalar; NaN if all architectures with a known cost have the probability 0.

        For a resource that the table lacks, such as `cycles`, the cost is the space's sum over edges. Raises the space's ValueError for an
        unknown resource.
        """
        if resource not in self._tensors:
            (costs,) = self._space.edge_costs(resource, self._task)
            added = costs[np.arange(self._shape[0]), self._genes].sum(axis=1)
            self._tensors[resource] = self._masked(self._space.fixed_cost(resource, self._task) + added)
        cost, mask = self._expected(self._tensors[resource], self.alphas if alphas is None else alphas)
        expected: Tensor = cost / mask
        return expected

    def edge_costs(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> list[Tensor]:
        """Return the cost that each operation adds: from `additive_fit` for a resource of a device, exact for one that the space counts.

        A table describes one network, which is both the evaluation and the search network.
        """
        if resource in DEVICE_RESOURCES:
            return [torch.tensor(self.additive_fit(resource).costs)]
        return [torch.as_tensor(costs, dtype=torch.float64) for costs in self._space.edge_costs(resource, self._task)]

    def fixed_cost(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> float:
        """Return the cost of everything except the searched operations, from the same source as `edge_costs`."""
        if resource in DEVICE_RESOURCES:
            return self.additive_fit(resource).fixed
        return self._space.fixed_cost(resource, self._task)

    def additive_error(self, resource: str) -> dict[str, float]:
        """Return the explained share of the variance and the mean relative error of `additive_fit`; empty for an exact resource."""
        if resource not in DEVICE_RESOURCES:
            return {}
        fit = self.additive_fit(resource)
        return {"variance_explained": fit.variance_explained, "mean_error": fit.mean_relative_error}

    def additive_fit(self, resource: str) -> AdditiveFit:
        """Return the sum over edges that best fits a resource of the table. Raises `NotRelaxable` for an unknown resource.

        Of the 18 latencies of HW-NAS-Bench on NAS-Bench-201, five are exactly such sums (Eyeriss on all datasets, the FPGA on CIFAR-10 and
        CIFAR-100). For the others, the fit explains 78 % (Raspberry Pi 4, ImageNet16-120) to 98 % (FPGA, ImageNet16-120) of the variance,
        with mean errors of 6 to 22 %.
        """
        if resource not in self._known:
            raise NotRelaxable(f"unknown resource '{resource}'; the table has {', '.join(self._known)}")
        if resource not in self._fits:
            self._fits[resource] = _fitted(resource, self._genes[self._eligible], self._known[resource][self._eligible], self._shape)
        return self._fits[resource]

    def kept_edges(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return a mask of the edges that the discrete architecture keeps, shape (edges,)."""
        return [torch.as_tensor(kept) for kept in self._space.kept_edges(self._arrays(alphas))]

    def discretise(self, alphas: Sequence[Tensor] | None = None) -> Architecture:
        """Return the discrete architecture of the strongest operations, by the rule of the space."""
        return self._space.strongest(self._arrays(alphas))

    def derive(self) -> None:
        """Do nothing: a table has no derived cells."""

    def note(self, **figures: float) -> None:
        """Add figures of the method to those of this step."""
        self._noted |= figures

    def _arrays(self, alphas: Sequence[Tensor] | None) -> list[Floats]:
        with torch.no_grad():
            return [rows.numpy() for rows in self.strengths(alphas)]

    def _masked(self, column: Floats) -> Floats:
        """Return the columns c m and m, where m is 1 for connected and supported architectures, else 0."""
        return self._tensor(np.where(self._eligible, column, 0.0), self._eligible)

    def _tensor(self, *columns: NDArray[Any]) -> Floats:
        """Return columns by index as one array of shape (size, columns), with its rows in the order of the genes."""
        ordered = np.empty((self._space.size, len(columns)))
        ordered[self._places] = np.stack(columns, axis=1)
        return ordered

    def _expected(self, tensor: Floats, alphas: Sequence[Tensor]) -> Tensor:
        """Return the expectation of every column of a tensor (size, columns)."""
        expectation: Tensor = _Contraction.apply(self.strengths(alphas)[0], tensor)
        return expectation

    def _figures(self) -> dict[str, float]:
        with torch.no_grad():
            (p,) = self.strengths()
            entropy = -torch.special.xlogy(p, p).sum(dim=1).mean().item()
            expected = {f"expected_{name}": self.expected_cost(name).item() for name in self._tensors}
        return {"loss": self._loss, "entropy": entropy} | expected | self._noted


class _Contraction(torch.autograd.Function):
    """Contracts a tensor with one axis for each edge with the rows of p. It can be differentiated once in p."""

    @staticmethod
    def forward(ctx: Any, strengths: Tensor, tensor: Floats) -> Tensor:
        """Return the expectations, shape (columns,), of a tensor (operations ** edges, columns)."""
        rows = strengths.detach().numpy()
        ctx.rows, ctx.partial = rows, [tensor.reshape(-1)]  # the tensor after contracting 0, 1, 2, ... edges
        for row in rows:
            ctx.partial.append(row @ ctx.partial[-1].reshape(len(row), -1))
        return torch.from_numpy(ctx.partial[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient in p: for each edge, the same contraction over all other edges."""
        rest = gradients[0].numpy()  # the gradient times the probabilities of the operations on later edges
        found = np.empty_like(ctx.rows)
        for edge in range(len(ctx.rows) - 1, -1, -1):
            row = ctx.rows[edge]
            found[edge] = ctx.partial[edge].reshape(len(row), -1) @ rest
            rest = np.multiply.outer(row, rest).reshape(-1)
        return torch.from_numpy(found), None


def _check(space: Listed, validation: Floats) -> None:
    """Raise `NotRelaxable` unless every gene is an edge of the one searched cell and every accuracy is known."""
    cells = space.searched
    if len(cells) != 1 or space.arity != (len(cells[0].operations),) * len(cells[0].edges):
        raise NotRelaxable(f"the exact relaxation needs one searched cell whose edges are the genes; '{space.name}' has no such cell")
    unknown = int(np.isnan(validation).sum())
    if unknown:
        raise NotRelaxable(f"the table lacks the accuracy of {unknown} architectures, but the relaxation needs all; fetch the whole table")


def _fitted(resource: str, genes: NDArray[Any], values: Floats, shape: tuple[int, int]) -> AdditiveFit:
    """Return the least-squares fit of a sum over edges. The first operation of every edge is the reference, so the solution is unique."""
    edges, operations = shape
    design = np.ones((len(genes), 1 + edges * (operations - 1)))
    design[:, 1:] = (genes[:, :, None] == np.arange(1, operations)).reshape(len(genes), -1)
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    costs = np.zeros(shape)
    costs[:, 1:] = solution[1:].reshape(edges, operations - 1)
    residuals = design @ solution - values
    spread = float(((values - values.mean()) ** 2).sum())
    relative = np.abs(residuals) / np.abs(values)
    return AdditiveFit(
        resource,
        fixed=float(solution[0]),
        costs=costs,
        variance_explained=1.0 - float((residuals**2).sum()) / spread if spread > 0.0 else 1.0,
        mean_relative_error=float(relative.mean()),
        largest_relative_error=float(relative.max()),
    )


def relaxation_of_table(
    space: object,
    task: Task,
    validation: Sequence[float],
    costs: Mapping[str, Sequence[float]],
    options: SupernetOptions,
    rng: np.random.Generator,
    deviation: float,
) -> TableRelaxation:
    """Return the relaxation of a table's columns. Raises `NotRelaxable` unless the space can be listed and relaxed."""
    if not (isinstance(space, Relaxable) and isinstance(space, Enumerable)):
        name = getattr(space, "name", space)
        raise NotRelaxable(f"the exact relaxation needs a space that can be listed and relaxed; '{name}' is not such a space")
    arrays = {name: np.asarray(column, dtype=np.float64) for name, column in costs.items()}
    return TableRelaxation(cast(Listed, space), task, np.asarray(validation, dtype=np.float64), arrays, options, rng, deviation)
