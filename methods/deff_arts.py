"""DEff-ARTS: DARTS with a penalty on the computing cost of the search network.

Sadiq, Maji, Hare and Merrett, "DEff-ARTS: Differentiable Efficient ARchiTecture Search" (2020), equations 1 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem, Relaxation, SupernetOptions, check_adam, repaired, summary

if TYPE_CHECKING:
    from torch import Tensor

PAPER_CYCLES: Final = "paper_cycles"  # the resource whose edge costs are those of table 2
CYCLES, LIMITED = "cycles", "limited"
BOUND_CYCLES = 1_244_160.0  # cycles of DARTS's cells (table 3): the cost of a resource at its bound


class NothingLimited(ValueError):
    """`resource = "limited"` in a problem without an upper limit; the message gives the remedy."""


def weighted(cost: Tensor, gamma: float, beta: float) -> Tensor:
    """Return Gamma L_com^beta (equation 1), a scalar. At a cost of 0 the power has no finite gradient: the result is 0 with gradient 0."""
    return gamma * cost**beta if cost > 0 else 0.0 * cost


def computing_cost(problem: Problem, relaxation: Relaxation, resource: str, zero_cost: float) -> Callable[[], Tensor]:
    """Return a function that computes L_com [cycles] at the current alphas.

    Args:
        problem: the problem, for its upper limits.
        relaxation: its relaxation.
        resource: what L_com counts: `paper_cycles` (equation 4), a resource, or `limited`. See `DEffARTS`.
        zero_cost: the cost of `none` on an edge [cycles].
    """
    none = [cell.operations.index("none") if "none" in cell.operations else None for cell in relaxation.cells]
    table = paper_costs(relaxation) if resource == PAPER_CYCLES else None
    if table is not None:
        for costs, column in zip(table, none, strict=True):
            if column is not None:
                costs[:, column] = zero_cost
        return lambda: _total([(p * costs).sum() for p, costs in zip(relaxation.strengths(), table, strict=True)])
    bounds = _bounds(problem, relaxation, CYCLES if resource == PAPER_CYCLES else resource)

    def cost() -> Tensor:
        parts = [relaxation.expected_cost(name) / bound * (BOUND_CYCLES / len(bounds)) for name, bound in bounds.items()]
        zeros = zip(relaxation.strengths(), none, strict=True)
        return _total(parts + [p[:, [column]].sum() * zero_cost if column is not None else 0.0 * p.sum() for p, column in zeros])

    return cost


def paper_costs(relaxation: Relaxation) -> list[Tensor] | None:
    """Return the paper's cycles of each operation on each edge, as new tensors; None if the space does not have them (all but DARTS's)."""
    try:
        return [costs.clone() for costs in relaxation.edge_costs(PAPER_CYCLES, "search")]
    except ValueError:
        return None


def _bounds(problem: Problem, relaxation: Relaxation, resource: str) -> dict[str, float]:
    """Return the divisor of each counted resource: its upper limit, or without one its expected cost at equal weights of all operations."""
    uppers = _uppers(problem)
    if resource == LIMITED:
        return uppers
    uniform = [alphas.detach() * 0.0 for alphas in relaxation.alphas]
    return {resource: uppers.get(resource) or float(relaxation.expected_cost(resource, uniform).detach())}


def _uppers(problem: Problem) -> dict[str, float]:
    return {limit.resource: limit.upper for limit in problem.limits if 0 < limit.upper < math.inf}


def _total(parts: list[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])


@dataclass(frozen=True)
class DEffARTS:
    """Minimise the validation loss plus Gamma L_com^beta (equation 1) over the alphas, and return the strongest operations.

    L_com sums softmax(alpha) times the operation's cycles, over all edges and operations of one cell of each kind (equation 4). With
    `resource = "paper_cycles"` the cycles are the paper's: all feature maps have the size 32x32x3, and a separable convolution counts
    twice. The rest of the network is not counted. A large Gamma therefore gives cells of skip connections, which cost 0. NAS-Bench-201 has
    no such costs: there L_com counts the `cycles` of the network, and the figure `not_modelled_paper_cycles` is 1.

    Beyond the paper, `resource` may be any resource of the evaluation network, such as `cycles` or a device's `latency_ms`. With `limited`
    it is all resources that have an upper limit, with equal weights. Each resource is divided by its limit, or, without one, by its
    expected cost at equal weights of all operations. A resource at its limit counts as 1,244,160 cycles, the cost of DARTS's cells in the
    paper, so that a Gamma means about the same for all resources.

    In the paper the zero operation costs 999,999 cycles (appendix D), more than any other. DARTS's cells may not keep it, and the cost
    steers the alphas away from it. NAS-Bench-201 cells may keep `none`, their cheapest operation. The cost has the same effect there: a
    large Gamma gives cells of skip connections, and does not favour `none`. With `zero_cost = 0`, cells lose edges until they are
    disconnected.

    There is no hard limit: Gamma decides whether a limit holds. A study should try several values; the paper uses 0.01, 0.02 and 0.04 with
    four searches each. Dividing by the limit does not replace this: because of the power beta, half the limit has the effect of a Gamma
    only a fifth larger. `repair`, which is not part of the paper's method, replaces the recommendation by the feasible network that keeps
    the most strength.

    Figures: `loss` without the penalty, `penalty`, `computing_cost` [cycles], `repaired`, and those of `summary`.
    """

    gamma: float = 0.01  # Gamma, the weight of the penalty [1 / cycles^beta]; with 0 the method is DARTS
    beta: float = 0.27  # exponent in equation 1; section 3
    resource: Literal["paper_cycles", "limited", "cycles", "params", "macs", "latency_ms", "energy_mj"] = PAPER_CYCLES  # what L_com counts
    zero_cost: float = 999_999.0  # cost of `none` on an edge [cycles]; appendix D
    unrolled: bool = True  # use the second-order gradient, equation 3. A table has none and reports `not_modelled_unrolled`
    learning_rate: float = 3e-4  # of Adam for the alphas; appendix D
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas; appendix D
    weight_decay: float = 1e-3  # of the alphas, added to their gradient; appendix D
    deviation: float = 1e-3  # standard deviation of the initial alphas; DARTS's release
    steps: int | None = None  # of the search; left out: as many as the recipe has, or 5,000 on a table
    channels: int | None = None  # of the search network; left out: the space's default, 16 in appendix D
    cells: int | None = None  # of the search network; left out: the space's default, 8 in appendix D
    repair: bool = False  # beyond the paper: recommend, at the end, the feasible network that keeps the most strength

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and 0 < self.beta <= 1 and self.zero_cost >= 0):
            raise ValueError(
                f"gamma {self.gamma}, zero_cost {self.zero_cost} and beta {self.beta} of DEff-ARTS are not all allowed; "
                "give a gamma and zero_cost of 0 or more, and a beta above 0 and at most 1"
            )
        check_adam("DEff-ARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)

    def check_problem(self, problem: Problem) -> None:
        """Raise `NothingLimited` if `resource` is `limited` and the problem has no upper limit."""
        if self.resource == LIMITED and not _uppers(problem):
            raise NothingLimited(
                f"resource = '{LIMITED}' of DEff-ARTS counts the resources with an upper limit, and this problem has none above 0; "
                f"add an upper limit, or set resource to '{CYCLES}', '{PAPER_CYCLES}' or another resource"
            )

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return the search's figures at the end."""
        from torch.optim import Adam

        self.check_problem(problem)
        relaxation = evaluator.relaxation(SupernetOptions(self.channels, self.cells), rng, self.deviation)
        cost = computing_cost(problem, relaxation, self.resource, self.zero_cost)
        betas = (self.momentum[0], self.momentum[1])
        optimizer = Adam(relaxation.parameters(), self.learning_rate, betas, weight_decay=self.weight_decay)
        recommended, loss = None, math.nan
        for _ in relaxation.steps([optimizer], self.steps):
            optimizer.zero_grad()
            penalty = weighted(cost(), self.gamma, self.beta)
            loss = relaxation.backward(penalty, unrolled=self.unrolled)
            optimizer.step()
            relaxation.note(penalty=float(penalty.detach()))
            arch = relaxation.discretise()
            if arch != recommended:
                recommended = arch
                yield (arch,)
        last = cost().detach()
        figures = {"loss": loss, "penalty": float(weighted(last, self.gamma, self.beta)), "computing_cost": float(last)}
        figures |= summary(problem, relaxation)
        if self.resource == PAPER_CYCLES and paper_costs(relaxation) is None:
            figures["not_modelled_paper_cycles"] = 1.0
        if self.repair:
            mended = repaired(problem, evaluator, relaxation.strengths())
            figures["repaired"] = float(mended not in (None, recommended))
            if mended is not None:
                yield (mended,)
        return figures
