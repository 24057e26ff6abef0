"""RC-DARTS: DARTS with regular projections of the alphas towards the limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from budgetnas.harness.problem import (
    Architecture,
    Evaluator,
    Limit,
    Need,
    Problem,
    Relaxation,
    Step,
    SupernetOptions,
    check_adam,
    repaired,
    summary,
)
from budgetnas.spaces.space import Relaxable

if TYPE_CHECKING:
    from torch import Tensor

_REST = 25  # steps of a projection between two checks that the alphas still move
Costs = Callable[[Sequence["Tensor"]], Mapping[str, "Tensor"]]  # from alphas to the cost by resource, differentiable


@dataclass(frozen=True)
class RCDARTS:
    """Alternate unconstrained DARTS steps with projections of the alphas towards the limits.

    Jin et al., "RC-DARTS: Resource Constrained Differentiable Architecture Search" (2019), algorithm 1. After every `free_steps` steps of
    first-order DARTS, a projection replaces the alphas theta by a theta_p near them. Adam minimises equation 8: half the squared distance
    from theta, plus lambda times the excess over each limit (upper or lower), until all limits hold or `projection_steps` steps are done.
    Each excess is divided by its bound, so that lambda means the same for all resources. The limits come from the problem. The paper's
    limits, 1.8e5 to 2.0e5 parameters and 2.8e7 to 3.3e7 MACs, fit a network of the size of its search network; they belong to a problem on
    `darts[cells=8,channels=16]`.

    Choices that the paper leaves open:

    - Lambda falls exponentially over the search, from `lambda_start` to `lambda_start` x `lambda_end`.
    - The first phase of free steps is `warm_up` times as long as the others.
    - A phase is at most `most_of_search` of the whole search, so that short searches have projections too. Projections are shortened in
      the same proportion.
    - Adam keeps its moments of the free steps during a projection. Each projection starts with a new Adam.

    A projection moves an alpha by at most about `projection_steps` x `projection_rate`, which is 0.15 with the defaults.

    On digits201 (study `rc-darts-lambda`), the expected cost ended at 1.4 to 2.3 times its limit with every falling lambda, whether it fell
    to a tenth or to a ten-thousandth. With a constant lambda, it ended within the limit.

    Lambda ends near zero. The last projection therefore changes nothing, and the recommendation may be infeasible. Two settings, which are
    not part of the paper's method, end with a feasible network:

    - `exact` takes the nearest feasible architecture: equation 7, with the cost of the discrete architecture in place of the expected cost.
      The distance of an architecture is the least squared change of theta that makes each of its operations the strongest on its edge,
      among the operations that the space can keep. Where edges compete for a node, as in DARTS, their strengths decide, as without
      `exact`. If theta's own architecture is feasible, it is the result. In a space too large to list, such as DARTS's, the result is exact
      if it is one of the 200 nearest architectures. Otherwise it is reached by changes of one gene (see `spaces/repair.py`).
    - `repair` takes the feasible architecture that keeps the most strength.
    """

    free_steps: int = 150  # steps between two projections, e_u of algorithm 1; section 4.1.1
    warm_up: int = 4  # length of the first phase, in phases; section 3.2.1 says longer than the others, without a number
    most_of_search: float = 0.05  # the longest phase, as a share of the search; no number in the paper
    projection_steps: int = 500  # largest number of steps of a projection, e_p; section 4.1.1
    projection_rate: float = 3e-4  # learning rate of Adam in a projection, without weight decay; section 4.1.1
    lambda_start: float = 10.0  # initial lambda of equation 8: the penalty of a cost at twice its limit; no number in the paper
    lambda_end: float = 1e-4  # final lambda, as a share of `lambda_start`; in the paper it falls towards 0, section 3.2.2
    cost: Literal["auto", "edges", "expected"] = "auto"  # Phi: `edges` is equation 6, `expected` the relaxation's expected cost, `auto`
    # equation 6 for exact sums over edges (parameters, MACs, cycles) and the expected cost for other resources (latency, energy)
    exact: bool = False  # beyond the paper: recommend, at the end, the nearest feasible network
    repair: bool = False  # beyond the paper: recommend, at the end, the feasible network that keeps the most strength
    learning_rate: float = 3e-4  # of Adam for the alphas in free steps; DARTS, appendix A.1.1, which the paper follows
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas, in free steps and projections; section 4.1.1
    weight_decay: float = 1e-3  # of the alphas in free steps; DARTS, appendix A.1.1
    deviation: float = 1e-3  # standard deviation of the initial alphas; DARTS's release
    steps: int | None = None  # free steps of the search; left out: as many as the recipe has, or 5,000 on a table
    channels: int | None = None  # of the search network; left out: the space's default, 16 in section 4.1.1
    cells: int | None = None  # of the search network; left out: the space's default, 8 in section 4.1.1

    version: ClassVar[int] = 2  # 2: `exact` leaves out operations that no network may keep; figures have the error of additive costs
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})

    def __post_init__(self) -> None:
        check_adam("RC-DARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        least = {"free_steps": 1, "warm_up": 1, "projection_steps": 0, "lambda_start": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} of RC-DARTS is {getattr(self, name)}; give {value} or more")
        if not 0.0 < self.lambda_end <= 1.0 or not 0.0 < self.most_of_search <= 1.0:
            raise ValueError(
                f"lambda_end {self.lambda_end} and most_of_search {self.most_of_search} of RC-DARTS are shares; "
                "give each a value above 0 and at most 1"
            )

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture after each projection; return the search's figures at the end.

        Among them, `feasible_before_projection` and `feasible_after_projection` are 1 if the architecture of the alphas before and after
        the last projection is feasible, else 0.
        """
        import torch

        relaxation = evaluator.relaxation(SupernetOptions(channels=self.channels, cells=self.cells), rng, self.deviation)
        betas = (self.momentum[0], self.momentum[1])
        optimizer = torch.optim.Adam(relaxation.parameters(), self.learning_rate, betas, weight_decay=self.weight_decay)
        costs = _costs(problem, relaxation, self.cost)
        loss, theta, count = float("nan"), list(relaxation.alphas), 0
        for step in relaxation.steps([optimizer], self.steps):
            optimizer.zero_grad()
            loss = relaxation.backward()
            optimizer.step()
            if not self.projects_after(step):
                continue
            theta = [alphas.detach().clone() for alphas in relaxation.alphas]
            weight = self.weight_at(step)
            moved, count = project(theta, costs, problem.limits, weight, self.most_projected(step.total), self.projection_rate, betas)
            relaxation.note(projection_weight=weight, projection_steps=float(count))
            with torch.no_grad():
                for alphas, projected in zip(relaxation.alphas, moved, strict=True):
                    alphas.copy_(projected)
            yield (relaxation.discretise(),)
        figures = {"loss": loss, "last_projection_steps": float(count)} | summary(problem, relaxation)
        for place, point in (("before", theta), ("after", relaxation.alphas)):
            arch = relaxation.discretise(point)
            figures[f"feasible_{place}_projection"] = float(problem.feasible(arch, evaluator.cost(arch)))
        if self.cost == "edges":
            figures |= {
                f"additive_{error}_{name}": value for name in problem.resources for error, value in relaxation.additive_error(name).items()
            }
        if self.exact or self.repair:
            mended = (
                nearest_feasible(problem, evaluator, relaxation, theta)
                if self.exact
                else repaired(problem, evaluator, relaxation.strengths())
            )
            figures["repaired"] = float(mended not in (None, relaxation.discretise()))
            if mended is not None:
                yield (mended,)
        return figures

    def phase_of(self, total: int) -> int:
        """Return the number of free steps in a phase, for a search of `total` steps."""
        return max(1, min(self.free_steps, int(self.most_of_search * total)))

    def most_projected(self, total: int) -> int:
        """Return the largest number of steps of a projection: it is shortened in the same proportion as a phase."""
        return math.ceil(self.projection_steps * self.phase_of(total) / self.free_steps)

    def projects_after(self, step: Step) -> bool:
        """Return whether a phase of free steps ends with this step. The first phase is longer, and the last step always ends one."""
        phase = self.phase_of(step.total)
        after_first = step.index + 1 - self.warm_up * phase
        return step.index + 1 == step.total or (after_first >= 0 and after_first % phase == 0)

    def weight_at(self, step: Step) -> float:
        """Return lambda of equation 8. It falls exponentially from `lambda_start` to `lambda_start` x `lambda_end` at the last step."""
        return float(self.lambda_start * self.lambda_end ** (step.index / max(step.total - 1, 1)))


def project(
    theta: Sequence[Tensor],
    costs: Costs,
    limits: Sequence[Limit],
    weight: float,
    steps: int = 500,
    rate: float = 3e-4,
    betas: tuple[float, float] = (0.5, 0.999),
) -> tuple[list[Tensor], int]:
    """Return theta_p, the result of Adam on equation 8 from theta, and the number of steps made.

    It stops as soon as all limits hold, so a theta within its limits is returned unchanged. With `weight` 0 any theta is returned
    unchanged, because the distance has no gradient at theta. It also stops at a minimum of equation 8 outside the limits: when no alpha
    has moved by more than half a step of Adam in the last `_REST` steps.

    Args:
        theta: the alphas, (edges, operations), one tensor per searched cell.
        costs: the cost of alphas by resource, differentiable.
        limits: limits on those resources.
        weight: lambda of equation 8.
        steps: the largest number of steps of Adam.
        rate: learning rate of Adam.
        betas: Adam's betas.
    """
    from torch.optim import Adam

    moved = [alphas.detach().clone().requires_grad_(True) for alphas in theta]
    optimizer = Adam(moved, rate, betas)
    earlier = [alphas.detach().clone() for alphas in moved]
    for made in range(steps):
        excess = _excess(costs(moved), limits)
        if not excess:
            return [alphas.detach() for alphas in moved], made
        distance = sum(((new - old.detach()) ** 2).sum() for new, old in zip(moved, theta, strict=True))
        optimizer.zero_grad()
        (0.5 * distance + weight * sum(excess)).backward()  # type: ignore[union-attr]
        optimizer.step()
        if made % _REST == _REST - 1:
            if all(bool(((new - old).abs() <= 0.5 * rate).all()) for new, old in zip(moved, earlier, strict=True)):
                return [alphas.detach() for alphas in moved], made + 1
            earlier = [alphas.detach().clone() for alphas in moved]
    return [alphas.detach() for alphas in moved], steps


def _excess(costs: Mapping[str, Tensor], limits: Sequence[Limit]) -> list[Tensor]:
    """Return the excess over each limit that does not hold, as a share of its bound: the positive terms of equation 8."""
    found = []
    for limit in limits:
        value = costs[limit.resource]
        if value > limit.upper:
            found.append((value - limit.upper) / (limit.upper or 1.0))
        elif value < limit.lower:
            found.append((limit.lower - value) / limit.lower)
    return found


def _costs(problem: Problem, relaxation: Relaxation, kind: Literal["auto", "edges", "expected"]) -> Costs:
    """Return a function from alphas to Phi of each limited resource. Phi includes the fixed part of the network, as limits do."""
    by_edges = {}
    for resource in problem.resources if kind != "expected" else ():
        if kind == "edges" or _is_sum_over_edges(problem, resource):
            by_edges[resource] = relaxation.fixed_cost(resource), relaxation.edge_costs(resource)

    def costs(alphas: Sequence[Tensor]) -> dict[str, Tensor]:
        found = {name: relaxation.expected_cost(name, alphas) for name in problem.resources if name not in by_edges}
        if by_edges:
            kept, strengths = relaxation.kept_edges(alphas), relaxation.strengths(alphas)
            found |= {name: fixed + kept_cost(kept, each, strengths) for name, (fixed, each) in by_edges.items()}
        return found

    return costs


def _is_sum_over_edges(problem: Problem, resource: str) -> bool:
    try:
        return isinstance(problem.space, Relaxable) and bool(problem.space.edge_costs(resource, problem.task))
    except ValueError:
        return False


def kept_cost(kept: Sequence[Tensor], costs: Sequence[Tensor], strengths: Sequence[Tensor]) -> Tensor:
    """Return Phi of equation 6 without the fixed part: the sum over kept edges of the mean cost of their operations.

    Args:
        kept: 1 for edges that the discrete architecture keeps, else 0; (edges,), one tensor per searched cell, like the others.
        costs: the cost of each operation on each edge, (edges, operations).
        strengths: the weights of the mean, (edges, operations).
    """
    terms = [(edges * (each * weights).sum(dim=1)).sum() for edges, each, weights in zip(kept, costs, strengths, strict=True)]
    total: Tensor = sum(terms[1:], terms[0])
    return total


def nearest_feasible(problem: Problem, evaluator: Evaluator, relaxation: Relaxation, theta: Sequence[Tensor]) -> Architecture | None:
    """Return the feasible architecture nearest to theta, or None if none was found. If theta's own architecture is feasible, return it."""
    own = relaxation.discretise(theta)
    if problem.feasible(own, evaluator.cost(own)):
        return own
    return repaired(problem, evaluator, [nearness(alphas, cell.choosable) for alphas, cell in zip(theta, relaxation.cells, strict=True)])


def nearness(alphas: Tensor, choosable: Sequence[int] | None = None) -> Tensor:
    """Return s exp(-d/2) for each operation on each edge, (edges, operations).

    s is the greatest strength on the edge. d is the squared distance from the given alphas to the nearest alphas with this operation on
    top. Those nearest alphas raise the operation to a level m, and lower to m all operations above it; m is the mean of their alphas and
    of the operation's own. The strongest operation of an edge has d = 0 and keeps its strength s, so edges keep their order.

    Args:
        alphas: the alphas of a cell, (edges, operations).
        choosable: the operations that compete, by default all. The others get 0.
    """
    import torch

    chosen = list(range(alphas.shape[1]) if choosable is None else choosable)
    competing = alphas.detach()[:, chosen]
    above = torch.sort(competing, dim=1, descending=True).values  # (edges, choosable operations)
    squared = torch.zeros_like(competing)
    for operation in range(len(chosen)):
        own = competing[:, operation : operation + 1]
        # The level m if the k highest operations of the edge are lowered to it, for each k. The right k gives the least distance.
        counts = torch.arange(1, above.shape[1] + 1, dtype=above.dtype, device=above.device)
        levels = (own + torch.cumsum(above, dim=1)) / (counts + 1)
        lowered = torch.clamp(above[:, None, :] - levels[:, :, None], min=0.0)
        distances = (levels - own) ** 2 + (lowered**2).sum(dim=2)
        squared[:, operation] = torch.where(own[:, 0] >= above[:, 0], 0.0, distances.min(dim=1).values)
    strengths = torch.softmax(alphas.detach(), dim=1)
    found = torch.zeros_like(strengths)
    found[:, chosen] = strengths[:, chosen].max(dim=1, keepdim=True).values * torch.exp(-0.5 * squared)
    return found
