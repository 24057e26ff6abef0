"""DEff-ARTS: the validation loss and a power of the mixture's computing cost, added with a weight.

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

PAPER_CYCLES: Final = "paper_cycles"  # the name by which a space knows the costs of table 2
CYCLES, LIMITED = "cycles", "limited"
BOUND_CYCLES = 1_244_160.0  # cycles of DARTS's cells (table 3): what a resource at its bound counts


class NothingLimited(ValueError):
    """A cost of all that has an upper limit, where nothing has; the message says what to do."""


def weighted(cost: Tensor, gamma: float, beta: float) -> Tensor:
    """Return Gamma L_com^beta (equation 1), a scalar. Where nothing costs anything it is 0 without a gradient: the power has none there."""
    return gamma * cost**beta if cost > 0 else 0.0 * cost


def computing_cost(problem: Problem, relaxation: Relaxation, resource: str, zero_cost: float) -> Callable[[], Tensor]:
    """Return L_com [cycles] as a function of the present alphas: of the paper's operations (equation 4), or of resources by `DEffARTS`."""
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
    """Return the paper's cycles of every operation on every edge, for the caller to change; None for a space that has none, not DARTS's."""
    try:
        return [costs.clone() for costs in relaxation.edge_costs(PAPER_CYCLES, "search")]
    except ValueError:
        return None


def _bounds(problem: Problem, relaxation: Relaxation, resource: str) -> dict[str, float]:
    """Return what each resource is divided by: its upper limit; where it has none, its expectation when all operations weigh the same."""
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
    """Descend the validation loss plus Gamma L_com^beta (equation 1) in the alphas, second order, and return the strongest operations.

    L_com is the sum over the edges and operations of a cell of each kind of softmax(alpha) times the operation's cycles (equation 4). With
    `resource = "paper_cycles"` these are the paper's: all representations 32x32x3, a separable convolution counted twice. Nothing else
    of the network is counted. So a large Gamma gives cells of skip connections, of cost 0. A space without such costs, NAS-Bench-201,
    counts the `cycles` of its network instead, and the figure `not_modelled_paper_cycles` is 1.

    Beyond the paper, `resource` is any resource of the evaluation network, such as `cycles` or a device's `latency_ms`, or `limited`, all
    that have an upper limit, equally weighted. Each is divided by its limit (without one, by its expectation when all operations weigh
    the same) and counts 1,244,160 cycles there, DARTS's in the paper, so that a Gamma means about the same for all.

    The zero operation costs 999,999 cycles in the paper (appendix D), more than any other: DARTS's cells may not keep it, and the cost
    turns the alphas away from it. On NAS-Bench-201, where `none` may be kept and is the cheapest of all, it does the same: a large Gamma
    gives cells of skip connections there too, never emptier ones. `zero_cost = 0` lets them empty, until they are disconnected.

    There is no hard limit. A limit is met, or not, by the choice of Gamma: a study has a ladder of them, the paper 0.01, 0.02 and 0.04 with
    four searches each. Dividing by the bound does not do that: to the power of beta, half the bound is a Gamma larger by a fifth. `repair`,
    not part of the paper's method, replaces the recommendation by the feasible network that gives up the least strength.

    The figures: `loss` without the penalty, `penalty`, `computing_cost` [cycles], `repaired`, and those of `summary`.
    """

    gamma: float = 0.01  # Gamma, 1 / cycles^beta; 0 is DARTS
    beta: float = 0.27  # of equation 1; section 3
    resource: Literal["paper_cycles", "limited", "cycles", "params", "macs", "latency_ms", "energy_mj"] = PAPER_CYCLES  # what L_com counts
    zero_cost: float = 999_999.0  # of `none` on an edge [cycles]; appendix D
    unrolled: bool = True  # second order, equation 3; on a table there is none, and it is recorded as not modelled
    learning_rate: float = 3e-4  # of Adam for alphas; appendix D
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas; appendix D
    weight_decay: float = 1e-3  # of alphas, added to their gradient; appendix D
    deviation: float = 1e-3  # of the normal distribution that alphas start from; DARTS's release
    steps: int | None = None  # None: as many as the recipe has, on a table as many as it takes DARTS to settle
    channels: int | None = None  # of the search network; None: the space's own, 16 in appendix D
    cells: int | None = None  # of the search network; None: the space's own, 8 in appendix D
    repair: bool = False  # beyond the paper: end with the feasible network that gives up the least strength

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and 0 < self.beta <= 1 and self.zero_cost >= 0):
            raise ValueError(
                f"gamma {self.gamma} and zero_cost {self.zero_cost} must be at least 0, beta {self.beta} above 0 and at most 1"
            )
        check_adam("DEff-ARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)

    def check_problem(self, problem: Problem) -> None:
        """Raise `NothingLimited` if all that is limited is to count, and nothing is."""
        if self.resource == LIMITED and not _uppers(problem):
            raise NothingLimited(
                f"resource = '{LIMITED}' of DEff-ARTS counts what has an upper limit, and nothing has one above 0 here; "
                f"give the problem one, or name a resource such as '{CYCLES}' or '{PAPER_CYCLES}'"
            )

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return the figures listed above."""
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
