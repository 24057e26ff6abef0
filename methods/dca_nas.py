"""DCA-NAS: alphas under a trained Lagrange multiplier, towards a search limit that a look-up graph gives for the device's limit.

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
        """How figures call it."""
        return self.resource if self.sign > 0 else f"lower_{self.resource}"

    def excess(self, cost: Tensor) -> Tensor:
        """Return (k_s - K') / K', positive where the bound is broken. A bound of 0 has no relative excess: there it is k_s itself."""
        return self.sign * (cost - self.value) / (self.value or 1.0)


class Multipliers:
    """One multiplier a bound, lambda <- max(0, lambda + eta (k_s - K') / K'): projected gradient ascent on the Lagrangian.

    They must never be among what the alphas' optimizer trains. It descends, and the Lagrangian falls without end as the multiplier of a
    broken limit falls below 0, where the penalty rewards size: such a search delivers the slowest network of all.
    """

    def __init__(self, count: int):
        self.values = [0.0] * count

    def ascend(self, excesses: Sequence[float], eta: float) -> None:
        """Take one step, given every bound's relative excess."""
        self.values = [max(0.0, value + eta * excess) for value, excess in zip(self.values, excesses, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.values = list(state["values"])


def sizes(relaxation: Relaxation, resource: str) -> Callable[[], Tensor]:
    """Return k_s as a function of the present alphas.

    Parameters and MACs are those of the search network: equation 3, c_n sum over edges and operations of softmax(alpha) b(o), where each
    cell has its own b(o), plus the fixed rest, so that one-hot alphas have the exact size. As equation 3 counts, it is the search network
    without weight sharing, bottleneck and derived cells, whatever the options: each edge has operations of its own, at full width, and
    every cell is a mixture. Of any other resource it is the expected cost.
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
    """Descend the validation loss plus lambda (k_s - K') / K' in the alphas, ascend it in lambda, and return the strongest operations.

    k_s is the size of the search network (equation 3; `sizes`), K' its search limit. Softmax weights make k_s differ from the size of the
    network delivered, so K' is looked up for the device's limit K in a graph of what earlier searches delivered (`lookup`). Without a
    graph K' = K. Every limit has a multiplier of its own, which starts at 0. Beyond the paper: several limits at once, each looked up in
    a graph made with that limit alone, and lower bounds, for which K' = K.

    The paper divides nothing; dividing by K' makes `eta` mean the same for every resource and device. Adam moves alphas by about the
    learning rate a step, however large lambda is. So a lambda that rises faster than alphas can follow goes on rising while they are on
    their way, and drives them far below the limit, into cells that they do not leave when it falls again: on digits201 three times the
    default costs up to 10 points of accuracy. The paper runs five searches and keeps the best by validation: here that is five seeds.
    Weight sharing, bottleneck and derived cells belong to supernets; on a table they are not modelled, and the figures say so.

    The figures: `multiplier_R`, `search_limit_R` and `size_over_limit_R` (k_s / K' at the end) for every bounded resource R; `excess`, the
    largest relative excess of k_s at the end; `loss` and `steps`; `repaired`, 1 where `repair` changed the recommendation;
    `lookup_searches` and `lookup_steps`, what the graphs cost, each of whose searches took as many steps as this one; those of `summary`.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})
    # What differs in the searches that a look-up graph is made of.
    lookup_searches: ClassVar[Mapping[str, object]] = {"lookup": (), "shape": "steps", "repair": False}

    # Rows (resource, K', cost delivered under it), one a search, without the cost where that delivered no network; no rows: K' = K.
    lookup: tuple[tuple[str, float, float] | tuple[str, float], ...] = ()
    shape: Shape = "steps"  # of the graph between its search limits; the paper does not say
    eta: float | None = None  # step of the multipliers; the paper gives none. None: 1 / steps. Larger ones overshoot: see below
    learning_rate: float = 6e-4  # of the alphas; appendix D, as are the next two
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas
    weight_decay: float = 1e-3  # of alphas, added to their gradient
    deviation: float = 1e-3  # of the normal distribution that alphas start from; DARTS's release
    steps: int | None = None  # None: as many as the recipe has, on a table as many as it takes DARTS to settle
    channels: int | None = None  # of the search network; None: the space's own, 16 in appendix D
    cells: int | None = None  # of the search network; None: the space's own, 8 in appendix D
    shared: bool = True  # edges that leave a node share the weights of equal operations (equation 5)
    bottleneck: int = 4  # operations work on one in so many channels; the paper gives no ratio, 4 is PC-DARTS's for CIFAR
    derived: bool = True  # two cells are trained, the others hold the strongest operations (appendix A)
    derive_epochs: int = 1  # the others are derived again at the start of every so many epochs; the paper says iteratively
    repair: bool = False  # beyond the paper: end with the feasible network that gives up the least strength

    def __post_init__(self) -> None:
        check_adam("DCA-NAS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        if self.eta is not None and not self.eta > 0:
            raise ValueError(f"eta of DCA-NAS is {self.eta}; give a step above 0, or leave it out")
        if self.derive_epochs < 1 or self.bottleneck < 1:
            raise ValueError(f"derive_epochs {self.derive_epochs} and bottleneck {self.bottleneck} must be 1 or more")
        for row in self.lookup:
            numbers = all(isinstance(each, (int, float)) and math.isfinite(each) for each in row[1:])
            if len(row) not in (2, 3) or not isinstance(row[0], str) or not numbers or row[1] <= 0:
                raise ValueError(
                    f"lookup row {row!r} is not [resource, search limit above 0, delivered cost]; make it with `budgetnas lookup-graph`"
                )

    def check_problem(self, problem: Problem) -> None:
        """Raise `OutsideLookupGraph` for a limit of which the graph says nothing."""
        self.bounds(problem)

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete network whenever it changes; return the figures listed above. `OutsideLookupGraph` before any step."""
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
            if step.index:  # algorithm 1 ends an iteration with the multipliers, at the alphas that this one starts from
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
        """Return the bounds of the search: every upper limit looked up, every lower one as it is."""
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
    """Return every bound's relative excess at the present alphas; a resource with two bounds is measured once."""
    costs = {resource: size() for resource, size in measured.items()}
    return [bound.excess(costs[bound.resource]) for bound in bounds]
