"""RC-DARTS: DARTS whose alphas are projected, time and again, onto what the limits allow."""

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

_REST = 25  # steps of a projection after which it is looked whether it still gets anywhere
Costs = Callable[[Sequence["Tensor"]], Mapping[str, "Tensor"]]  # the resources of alphas, differentiable


@dataclass(frozen=True)
class RCDARTS:
    """Alternate DARTS's steps without constraints with projections of the alphas towards the limits.

    Jin et al., "RC-DARTS: Resource Constrained Differentiable Architecture Search" (2019), algorithm 1. After every `free_steps` steps of
    first-order DARTS the alphas theta are replaced by a theta_p near them, found by Adam on equation 8: half the squared distance, and
    lambda times what every limit is exceeded by, on either side, until all limits hold or `projection_steps` are made. Each resource is
    divided by its bound, so that lambda means the same for all. The limits are the problem's; the paper's own, 1.8e5 to 2.0e5 parameters
    and 2.8e7 to 3.3e7 MACs, are of a network as small as its search network, a problem on `darts[cells=8,channels=16]`.

    What the paper leaves open, and is chosen here: lambda falls exponentially with the steps of the search, from `lambda_start` to
    `lambda_end` of it at the end; the first phase is `warm_up` times as long; a phase is at most `most_of_search` of the whole search, so
    that short searches have projections too, shortened alike; Adam keeps its moments of the free steps over a projection, and begins each
    projection anew. A projection moves no alpha by more than about `projection_steps` x `projection_rate`, 0.15.

    However far such a lambda falls, to a tenth or a ten-thousandth, the mixture ends beyond its limits, on digits201 1.4 to 2.3 times them;
    one that does not fall at all keeps it there (the study `rc-darts-lambda`).

    Lambda ends near zero, so the last projection does nothing by design, and nothing makes the recommendation feasible. With `exact`, not
    part of the paper's method, the search ends instead in the nearest feasible point: equation 7 with the cost of the discrete
    architecture in place of the expected one, the squared distance from theta being the least that makes an architecture's operations the
    strongest of those that the space ever keeps (which predecessors a node keeps is, where they compete for it, ranked by their strengths).
    Where theta's own architecture is feasible, it is that one. In a space too large to list, as DARTS's, it is the nearest among the
    strongest architectures, else one near by, reached by single changes (`spaces/repair.py`). With `repair`, not part of it either, the
    recommendation is replaced by the feasible architecture that gives up the least strength.
    """

    free_steps: int = 150  # e_u of algorithm 1; section 4.1.1
    warm_up: int = 4  # the first phase is so many times as long; longer than the others by section 3.2.1, which gives no number
    most_of_search: float = 0.05  # the longest that a phase may be, as a share of the search; no number in the paper
    projection_steps: int = 500  # e_p; section 4.1.1
    projection_rate: float = 3e-4  # learning rate of Adam in a projection, without weight decay; section 4.1.1
    lambda_start: float = 10.0  # weight of a limit exceeded by its whole bound, equation 8; no number in the paper
    lambda_end: float = 1e-4  # share of `lambda_start` that is left at the end; the paper: towards 0, section 3.2.2
    cost: Literal["auto", "edges", "expected"] = "auto"  # Phi: equation 6 (`edges`), or the relaxation's expectation. auto: equation 6 of
    # what is exactly a sum over edges (parameters, MACs, cycles), the expectation of the rest: no sum over edges is a device's latency
    exact: bool = False  # beyond the paper: end in the nearest feasible point
    repair: bool = False  # beyond the paper: end with the feasible network that gives up the least strength
    learning_rate: float = 3e-4  # of Adam for alphas in free steps; DARTS, appendix A.1.1, which the paper follows
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas, in free steps and projections; section 4.1.1
    weight_decay: float = 1e-3  # of alphas in free steps; DARTS, appendix A.1.1
    deviation: float = 1e-3  # of the normal distribution that alphas start from; DARTS's release
    steps: int | None = None  # free steps; None: as many as the recipe has, on a table as many as it takes DARTS to settle
    channels: int | None = None  # of the search network; None: the space's own, 16 in section 4.1.1
    cells: int | None = None  # of the search network; None: the space's own, 8 in section 4.1.1

    version: ClassVar[int] = 2  # 2: `exact` leaves out operations that no network may keep; the error of additive costs
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})

    def __post_init__(self) -> None:
        check_adam("RC-DARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        least = {"free_steps": 1, "warm_up": 1, "projection_steps": 0, "lambda_start": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} of RC-DARTS is {getattr(self, name)}; give {value} or more")
        if not 0.0 < self.lambda_end <= 1.0 or not 0.0 < self.most_of_search <= 1.0:
            raise ValueError("lambda_end and most_of_search of RC-DARTS are shares; give each more than 0 and at most 1")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture after every projection; return its figures at the end, feasibility among them."""
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
        """Return how many free steps a phase of a search of `total` steps has."""
        return max(1, min(self.free_steps, int(self.most_of_search * total)))

    def most_projected(self, total: int) -> int:
        """Return how many steps a projection may make: as many for each free step as the settings have."""
        return math.ceil(self.projection_steps * self.phase_of(total) / self.free_steps)

    def projects_after(self, step: Step) -> bool:
        """Return whether a phase of free steps ends with this step: after the first, longer one, every so many, and at the very end."""
        phase = self.phase_of(step.total)
        after_first = step.index + 1 - self.warm_up * phase
        return step.index + 1 == step.total or (after_first >= 0 and after_first % phase == 0)

    def weight_at(self, step: Step) -> float:
        """Return lambda of equation 8: `lambda_start` at the first step, falling exponentially to `lambda_end` of it at the last."""
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
    """Return theta_p, which Adam reaches from theta on equation 8 by `steps` steps at most, and how many it made.

    It stops as soon as all limits hold. So a theta within its limits comes back as it is; so does any with `weight` (lambda) 0, as the
    distance alone has no gradient there. It also stops at a minimum of equation 8 outside the limits, where more steps would change
    nothing: when no alpha is farther than half a step of Adam from where it was `_REST` steps ago.
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
    """Return by how much every limit that does not hold is exceeded, as a share of its bound: the positive terms of equation 8."""
    found = []
    for limit in limits:
        value = costs[limit.resource]
        if value > limit.upper:
            found.append((value - limit.upper) / (limit.upper or 1.0))
        elif value < limit.lower:
            found.append((limit.lower - value) / limit.lower)
    return found


def _costs(problem: Problem, relaxation: Relaxation, kind: Literal["auto", "edges", "expected"]) -> Costs:
    """Return Phi of every limited resource as a function of alphas, with the fixed part of the network: limits are of all of it."""
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
    """Return Phi of equation 6 without its fixed part: the cost of the kept edges, each the mean of its operations by strength."""
    terms = [(edges * (each * weights).sum(dim=1)).sum() for edges, each, weights in zip(kept, costs, strengths, strict=True)]
    total: Tensor = sum(terms[1:], terms[0])
    return total


def nearest_feasible(problem: Problem, evaluator: Evaluator, relaxation: Relaxation, theta: Sequence[Tensor]) -> Architecture | None:
    """Return the feasible architecture at the least distance from theta: theta's own where it is feasible; None if none was found."""
    own = relaxation.discretise(theta)
    if problem.feasible(own, evaluator.cost(own)):
        return own
    return repaired(problem, evaluator, [nearness(alphas, cell.choosable) for alphas, cell in zip(theta, relaxation.cells, strict=True)])


def nearness(alphas: Tensor, choosable: Sequence[int] | None = None) -> Tensor:
    """Return s exp(-d/2), where s is an edge's greatest strength and d the least squared distance that makes an operation its strongest.

    Only the `choosable` operations compete, by default all; the others have 0. The alphas that are nearest to theta and have operation o
    on top raise o to a level m and lower to m all that lie above it, m being the mean of o and of those. The strongest operation of an
    edge has d = 0 and keeps its strength, so edges are ranked as before.
    """
    import torch

    chosen = list(range(alphas.shape[1]) if choosable is None else choosable)
    competing = alphas.detach()[:, chosen]
    above = torch.sort(competing, dim=1, descending=True).values  # (edges, choosable operations)
    squared = torch.zeros_like(competing)
    for operation in range(len(chosen)):
        own = competing[:, operation : operation + 1]
        # The level, if the k highest of the edge are lowered to it: the right k leaves the next one below.
        counts = torch.arange(1, above.shape[1] + 1, dtype=above.dtype, device=above.device)
        levels = (own + torch.cumsum(above, dim=1)) / (counts + 1)
        lowered = torch.clamp(above[:, None, :] - levels[:, :, None], min=0.0)
        distances = (levels - own) ** 2 + (lowered**2).sum(dim=2)
        squared[:, operation] = torch.where(own[:, 0] >= above[:, 0], 0.0, distances.min(dim=1).values)
    strengths = torch.softmax(alphas.detach(), dim=1)
    found = torch.zeros_like(strengths)
    found[:, chosen] = strengths[:, chosen].max(dim=1, keepdim=True).values * torch.exp(-0.5 * squared)
    return found
