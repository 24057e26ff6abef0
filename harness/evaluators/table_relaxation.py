"""The exact relaxation of a table: expectations over all architectures under independent choices on edges, without noise of weights."""

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
    """A table, resource or setting of which there is no exact relaxation; the message says what there is."""


class Listed(Relaxable, Enumerable, Protocol):
    """A space that can be both listed and relaxed."""


@dataclass(frozen=True, slots=True)
class AdditiveFit:
    """The sum over edges nearest to a resource (least squares over all eligible architectures), and how near it is."""

    resource: str
    fixed: float  # in the resource's unit, as are the costs
    costs: Floats  # (edges, operations): what an operation adds; the first operation of every edge adds nothing
    variance_explained: float  # of eligible architectures, a share
    mean_relative_error: float  # mean of |fitted - known| / known
    largest_relative_error: float


class TableRelaxation:
    """The `Relaxation` of an enumerable space with one searched cell, each of whose edges is a gene.

    With p = softmax(alphas), an architecture has the probability of the product of its operations' p, and every expectation is the table,
    as a tensor with one axis an edge, contracted with every row of p. The loss is the expected error, 1 - accuracy / 100. A cost is
    expected over the connected architectures that the device supports, E[c m] / E[m]; the probabilities of the others are resources of
    their own, `disconnected_share` and, among the connected, `unsupported_share`. Everything is float64 on the CPU.
    `not_modelled` are the options asked for that mean nothing on a table, which has no weights; `unrolled` joins them when it is asked for.
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
        """`validation` [%] and `costs` by resource have the shape (size,), by index; a NaN in a cost is 'not supported'."""
        _check(space, validation)
        self.cells = space.searched
        self.alphas = [torch.tensor(rng.normal(0.0, deviation, self._shape), dtype=torch.float64, requires_grad=True)]
        self.history = History(STEPS)
        plain = SupernetOptions()
        self.not_modelled = tuple([f.name for f in fields(options) if getattr(options, f.name) != getattr(plain, f.name)])
        self._space, self._task = space, task
        archs = [space.at(index) for index in range(space.size)]
        self._genes = np.array([arch.genes for arch in archs])
        self._places = np.ravel_multi_index(tuple(self._genes.T), space.arity)  # of every index in a tensor with one axis an edge
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
        """Return the alphas: a table has no edge weights."""
        return list(self.alphas)

    def strengths(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return softmax(alphas) over the operations of every edge."""
        return [torch.softmax(rows, dim=1) for rows in (self.alphas if alphas is None else alphas)]

    def steps(self, state: Sequence[Stateful], count: int | None = None) -> Iterator[Step]:
        """Yield `count` steps, or `STEPS`. A table has no weights to train, and its searches last seconds, so nothing is restored."""
        total = STEPS if count is None else count
        if total < 1:
            raise NotRelaxable(f"a search of {total} steps is none; give 1 or more, or none for the table's {STEPS:,}")
        self.history = History(total)
        for index in range(total):
            yield Step(index, total, index, total)
            if self.history.keeps(index):
                self.history.add(index, self._figures())
            if self.history.keeps_alphas(index):
                self.history.add_alphas(index, [rows.tolist() for rows in self.alphas])
            self._noted = {}

    def backward(self, penalty: Tensor | None = None, unrolled: bool = False) -> float:
        """Add the exact gradient of the expected error, plus the penalty's, to that of the alphas; return the expected error."""
        if unrolled and "unrolled" not in self.not_modelled:
            self.not_modelled = (*self.not_modelled, "unrolled")
        loss = self._expected(self._error, self.alphas)[0]
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        self._loss = loss.item()
        return self._loss

    def expected_cost(self, resource: str, alphas: Sequence[Tensor] | None = None) -> Tensor:
        """Return E[c m] / E[m], a scalar: NaN where no architecture that has the cost has any probability.

        Of a resource that the table lacks, such as `cycles`, the space's sum over edges is taken; its error lists those it counts.
        """
        if resource not in self._tensors:
            (costs,) = self._space.edge_costs(resource, self._task)
            added = costs[np.arange(self._shape[0]), self._genes].sum(axis=1)
            self._tensors[resource] = self._masked(self._space.fixed_cost(resource, self._task) + added)
        cost, mask = self._expected(self._tensors[resource], self.alphas if alphas is None else alphas)
        expected: Tensor = cost / mask
        return expected

    def edge_costs(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> list[Tensor]:
        """Return what operations add: by the `additive_fit` of a device's resource, exactly of what the space counts.

        A table knows one network, so it is both of them.
        """
        if resource in DEVICE_RESOURCES:
            return [torch.tensor(self.additive_fit(resource).costs)]
        return [torch.as_tensor(costs, dtype=torch.float64) for costs in self._space.edge_costs(resource, self._task)]

    def fixed_cost(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> float:
        """Return what everything but the searched operations costs, as `edge_costs` has it."""
        if resource in DEVICE_RESOURCES:
            return self.additive_fit(resource).fixed
        return self._space.fixed_cost(resource, self._task)

    def additive_error(self, resource: str) -> dict[str, float]:
        """Return the share of variance that the `additive_fit` of a device's resource explains, and its mean relative error."""
        if resource not in DEVICE_RESOURCES:
            return {}
        fit = self.additive_fit(resource)
        return {"variance_explained": fit.variance_explained, "mean_error": fit.mean_relative_error}

    def additive_fit(self, resource: str) -> AdditiveFit:
        """Return the sum over edges that fits a resource of the table best, with its error; `NotRelaxable` lists the resources.

        Of the 18 latencies of HW-NAS-Bench on NAS-Bench-201 five are such sums exactly (Eyeriss on all datasets, the FPGA on CIFAR-10 and
        CIFAR-100). Of the others it explains 78 % (Raspberry Pi 4, ImageNet16-120) to 98 % of the variance (FPGA, ImageNet16-120), with
        mean errors of 6 to 22 %.
        """
        if resource not in self._known:
            raise NotRelaxable(f"unknown resource '{resource}'; the table has {', '.join(self._known)}")
        if resource not in self._fits:
            self._fits[resource] = _fitted(resource, self._genes[self._eligible], self._known[resource][self._eligible], self._shape)
        return self._fits[resource]

    def kept_edges(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return which edges the discrete architecture has, shape (edges,)."""
        return [torch.as_tensor(kept) for kept in self._space.kept_edges(self._arrays(alphas))]

    def discretise(self, alphas: Sequence[Tensor] | None = None) -> Architecture:
        """Return the architecture of the strongest operations, by the space's rule."""
        return self._space.strongest(self._arrays(alphas))

    def derive(self) -> None:
        """Do nothing: a table has no derived cells."""

    def note(self, **figures: float) -> None:
        """Keep a method's figures beside this step's."""
        self._noted |= figures

    def _arrays(self, alphas: Sequence[Tensor] | None) -> list[Floats]:
        with torch.no_grad():
            return [rows.numpy() for rows in self.strengths(alphas)]

    def _masked(self, column: Floats) -> Floats:
        """Return c m and m side by side, where m says which architectures are connected and supported."""
        return self._tensor(np.where(self._eligible, column, 0.0), self._eligible)

    def _tensor(self, *columns: NDArray[Any]) -> Floats:
        """Return columns by index side by side in the order of the genes, shape (size, columns)."""
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
    """A tensor with one axis an edge, summed over every edge weighted by its row of p; once differentiable in p."""

    @staticmethod
    def forward(ctx: Any, strengths: Tensor, tensor: Floats) -> Tensor:
        """Return the expectations, shape (columns,), of a tensor (operations ** edges, columns)."""
        rows = strengths.detach().numpy()
        ctx.rows, ctx.partial = rows, [tensor.reshape(-1)]  # what is left after the first edges were summed over
        for row in rows:
            ctx.partial.append(row @ ctx.partial[-1].reshape(len(row), -1))
        return torch.from_numpy(ctx.partial[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient in p: the same sum over all edges but one."""
        rest = gradients[0].numpy()  # probabilities of the later edges' operations, times the gradient
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
        raise NotRelaxable(f"the table lacks the accuracy of {unknown} architectures, and the relaxation reads all; fetch the whole table")


def _fitted(resource: str, genes: NDArray[Any], values: Floats, shape: tuple[int, int]) -> AdditiveFit:
    """Return the least-squares sum over edges; the first operation of every edge is the reference, so that the solution is one."""
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
    """Return the relaxation of a table's columns; `NotRelaxable` unless the space can be listed and relaxed."""
    if not (isinstance(space, Relaxable) and isinstance(space, Enumerable)):
        name = getattr(space, "name", space)
        raise NotRelaxable(f"the exact relaxation reads the table of a space that can be listed and relaxed; '{name}' is no such space")
    arrays = {name: np.asarray(column, dtype=np.float64) for name, column in costs.items()}
    return TableRelaxation(cast(Listed, space), task, np.asarray(validation, dtype=np.float64), arrays, options, rng, deviation)
