"""DCA-NAS: DARTS with a Lagrange multiplier per limit. A look-up graph turns the device's limit into the limit of the search.

Dutta, Kanvar and Agarwal, "Search-time Efficient Device Constraints-Aware Neural Architecture Search", equations 3 and 4, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem, Relaxation, SupernetOptions, check_adam, repaired, summary
from budgetnas.harness.problem.lookup import SUMMED, OutsideLookupGraph, Shape, search_limit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a limit during the search: `sign` is 1 for an upper bound, -1 for a lower one."""

    resource: str
    value: float
    sign: int

    @property
    def name(self) -> str:
        """The bound's name in figures."""
        return self.resource if self.sign > 0 else f"lower_{self.resource}"

    def excess(self, cost: Tensor) -> Tensor:
        """Return (k_s - K') / K' of an upper bound, and its negative for a lower bound: positive if the bound is broken.

        For a bound of 0, the result is not divided.

        Args:
            cost: k_s, a scalar.
        """
        return self.sign * (cost - self.value) / (self.value or 1.0)


class Multipliers:
    """One multiplier per bound: lambda <- max(0, lambda + eta (k_s - K') / K'), projected gradient ascent on the Lagrangian.

    The optimiser of the alphas must not train them, because it minimises. It would push the multiplier of a broken limit below 0, where the
    penalty rewards a large network and the Lagrangian has no lower bound. Such a search delivers the slowest network of the space.
    """

    def __init__(self, count: int):
        self.values = [0.0] * count

    def ascend(self, excesses: Sequence[float], eta: float) -> None:
        """Make one step of size `eta`, given the relative excess of each bound."""
        self.values = [max(0.0, value + eta * excess) for value, excess in zip(self.values, excesses, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the multipliers."""
        return {"values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore multipliers from `state_dict`."""
        self.values = list(state["values"])


def sizes(relaxation: Relaxation, resource: str) -> Callable[[], Tensor]:
    """Return a function that computes k_s at the current alphas.

    For parameters and MACs it is the size of the search network: equation 3, c_n times the sum of softmax(alpha) b(o) over edges and
    operations. Here each cell has its own b(o), and the fixed part of the network is added, so that one-hot alphas give the exact size. As
    in equation 3, the size ignores weight sharing, the bottleneck and derived cells, even if the options have them: each edge has separate
    operations of full width, and all cells are mixtures. For any other resource, k_s is the expected cost.
    """
    if resource not in SUMMED:
        return partial(relaxation.expected_cost, resource)
    costs, fixed = relaxation.edge_costs(resource, "search"), relaxation.fixed_cost(resource, "search")

    def size() -> Tensor:
        shares = [(p * b).sum() for p, b in zip(relaxation.strengths(), costs, strict=True)]
        return sum(shares[1:], shares[0]) + fixed

    return size


@dataclass(frozen=True)
class DCANAS:
    """Minimise the validation loss plus lambda (k_s - K') / K' over the alphas, and maximise it over lambda; keep the strongest operations.

    k_s is the size of the search network (equation 3; `sizes`), and K' is its limit, the search limit. Because of the softmax weights, k_s
    differs from the size of the delivered network. So the device's limit K is looked up in a graph of what earlier searches delivered
    (`lookup`), which gives K'. Without a graph, K' = K. Each limit has its own multiplier, which starts at 0. Beyond the paper, several
    limits may hold at once, each with a graph made with that limit alone; lower bounds are allowed, with K' = K.

    The paper does not divide by K'. The division makes `eta` mean the same for all resources and devices. A large `eta` overshoots: Adam
    moves alphas by about the learning rate in a step, however large lambda is. A lambda that rises too fast keeps rising while the alphas
    follow, and drives them far below the limit, into cells that they do not leave when lambda falls again. On digits201, three times the
    default `eta` costs up to 10 points of accuracy.

    The paper runs five searches and keeps the best by validation accuracy; here that is five seeds. Weight sharing, bottleneck and derived
    cells need a supernet. A table cannot model them, and figures `not_modelled_...` report this.

    Figures: `multiplier_R`, `search_limit_R` and `size_over_limit_R` (k_s / K' at the end) for each bounded resource R; `excess`, the
    largest relative excess of k_s at the end; `loss` and `steps`; `repaired`, 1 if `repair` changed the recommendation, else 0;
    `lookup_searches` and `lookup_steps`, the searches and steps that the graphs took, if each search took as many steps as this one; and
    those of `summary`.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})
    # The settings that differ in the searches for a look-up graph.
    lookup_searches: ClassVar[Mapping[str, object]] = {"lookup": (), "shape": "steps", "repair": False}

    # The look-up graph: one row per search, (resource, K', delivered cost), or (resource, K') if no network was delivered. Empty: K' = K.
    lookup: tuple[tuple[str, float, float] | tuple[str, float], ...] = ()
    shape: Shape = "steps"  # of the graph between two search limits, `steps` or `linear`; not given in the paper
    eta: float | None = None  # step size of the multipliers; left out: 1 / steps; not given in the paper
    learning_rate: float = 6e-4  # of Adam for the alphas; appendix D
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas; appendix D
    weight_decay: float = 1e-3  # of the alphas, added to their gradient; appendix D
    deviation: float = 1e-3  # standard deviation of the initial alphas; DARTS's release
    steps: int | None = None  # of the search; left out: as many as the recipe has, or 5,000 on a table
    channels: int | None = None  # of the search network; left out: the space's default, 16 in appendix D
    cells: int | None = None  # of the search network; left out: the space's default, 8 in appendix D
    shared: bool = True  # edges that leave the same node share the weights of equal operations (equation 5)
    bottleneck: int = 4  # operations work on one in so many channels; the paper gives no ratio, 4 is PC-DARTS's for CIFAR
    derived: bool = True  # train the alphas of two cells; the other cells hold the strongest operations only (appendix A)
    derive_epochs: int = 1  # number of epochs after which those other cells are derived again; the paper only says "iteratively"
    repair: bool = False  # beyond the paper: recommend, at the end, the feasible network that keeps the most strength

    def __post_init__(self) -> None:
        check_adam("DCA-NAS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        if self.eta is not None and not self.eta > 0:
            raise ValueError(f"eta of DCA-NAS is {self.eta}; give a step above 0, or leave it out")
        if self.derive_epochs < 1 or self.bottleneck < 1:
            raise ValueError(f"derive_epochs {self.derive_epochs} and bottleneck {self.bottleneck} of DCA-NAS must be 1 or more")
        for row in self.lookup:
            numbers = all(isinstance(each, (int, float)) and math.isfinite(each) for each in row[1:])
            if len(row) not in (2, 3) or not isinstance(row[0], str) or not numbers or row[1] <= 0:
                raise ValueError(
                    f"lookup row {row!r} is not [resource, search limit above 0, delivered cost]; make it with `budgetnas lookup-graph`"
                )

    def check_problem(self, problem: Problem) -> None:
        """Raise `OutsideLookupGraph` for a limit that the look-up graph does not cover."""
        self.bounds(problem)

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return the search's figures at the end.

        Raises:
            OutsideLookupGraph: the look-up graph does not cover a limit. Raised before the first step.
        """
        import torch

        bounds = self.bounds(problem)
        relaxation = evaluator.relaxation(self._options(), rng, self.deviation)
        measured = {bound.resource: sizes(relaxation, bound.resource) for bound in bounds}
        multipliers = Multipliers(len(bounds))
        betas = (self.momentum[0], self.momentum[1])
        optimizer = torch.optim.Adam(relaxation.parameters(), self.learning_rate, betas, weight_decay=self.weight_decay)
        loss, taken, epoch, found = math.nan, 0, -1, None
        for step in relaxation.steps([optimizer, multipliers], self.steps):
            if step.epoch != epoch and step.epoch % self.derive_epochs == 0:
                relaxation.derive()
            epoch = step.epoch
            excesses = _excesses(bounds, measured)
            if step.index:  # algorithm 1 moves the multipliers at the end of an iteration, at the alphas with which the next one starts
                multipliers.ascend([float(excess.detach()) for excess in excesses], self.eta or 1.0 / step.total)
            optimizer.zero_grad()
            penalties = [value * excess for value, excess in zip(multipliers.values, excesses, strict=True)]
            loss = relaxation.backward(sum(penalties[1:], penalties[0]) if penalties else None)
            optimizer.step()
            relaxation.note(**{f"multiplier_{b.name}": value for b, value in zip(bounds, multipliers.values, strict=True)})
            taken = step.total
            if (strongest := relaxation.discretise()) != found:
                found = strongest
                yield (found,)
        last = [float(excess.detach()) for excess in _excesses(bounds, measured)]
        multipliers.ascend(last, self.eta or 1.0 / max(taken, 1))
        figures = {"loss": loss, "steps": float(taken), "excess": max([0.0, *last])}
        for bound, value, excess in zip(bounds, multipliers.values, last, strict=True):
            figures |= {f"multiplier_{bound.name}": value, f"search_limit_{bound.name}": bound.value}
            figures[f"size_over_limit_{bound.name}"] = 1.0 + bound.sign * excess
        searches = sum(row[0] in problem.resources for row in self.lookup)
        figures |= {"lookup_searches": float(searches), "lookup_steps": float(searches * taken)} | summary(problem, relaxation)
        if self.repair:
            mended = repaired(problem, evaluator, relaxation.strengths())
            figures["repaired"] = float(mended not in (None, found))
            if mended is not None:
                yield (mended,)
        return figures

    def _options(self) -> SupernetOptions:
        return SupernetOptions(self.channels, self.cells, shared=self.shared, bottleneck=self.bottleneck, derived=self.derived)

    def bounds(self, problem: Problem) -> list[Bound]:
        """Return the bounds of the search. Upper limits are looked up; lower limits are unchanged."""
        found = []
        for limit in problem.limits:
            if limit.upper < math.inf:
                found.append(Bound(limit.resource, self._search_limit(limit.resource, limit.upper), 1))
            if limit.lower > 0:
                found.append(Bound(limit.resource, limit.lower, -1))
        return found

    def _search_limit(self, resource: str, limit: float) -> float:
        if not self.lookup:
            return limit
        rows = [row for row in self.lookup if row[0] == resource]
        if not rows:
            there = ", ".join(dict.fromkeys(row[0] for row in self.lookup))
            raise OutsideLookupGraph(f"lookup has no graph of {resource}, only of {there}; make one with `budgetnas lookup-graph`")
        nodes = [(float(row[1]), float(row[2])) for row in rows if len(row) == 3]
        return search_limit(nodes, limit, self.shape, resource, [float(row[1]) for row in rows if len(row) == 2])


def _excesses(bounds: Sequence[Bound], measured: Mapping[str, Callable[[], Tensor]]) -> list[Tensor]:
    """Return the relative excess of each bound at the current alphas. A resource with two bounds is computed once."""
    costs = {resource: size() for resource, size in measured.items()}
    return [bound.excess(costs[bound.resource]) for bound in bounds]
