"""RCAS: resource-constrained architecture search by a lazy, cost-effective greedy.

Xiong, Mehta and Singh, "Resource Constrained Neural Network Architecture Search" (ICCV 2019), equations 4 and 9, algorithms 1 to 3.
`lazy_greedy` is the algorithm on any set function; `RCAS` applies it to a space.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from budgetnas.harness.problem import AllowanceSpent, Architecture, Evaluator, Limit, Need, Problem

_ROUNDING = 1e-9  # a gain that grows by less than this, in percentage points, did not grow


class Element(NamedTuple):
    """A block for a position. A position holds one block."""

    position: int
    value: int


Chosen = tuple[Element, ...]  # a set, in the order in which its elements were picked


@dataclass(frozen=True, slots=True)
class Pick:
    """A step of the greedy. The first has the empty set, from which it starts."""

    chosen: Chosen
    value: float  # F(chosen)
    candidates: Chosen  # all that fitted when the last of `chosen` was picked: those that an eager greedy compares
    changes: Mapping[Element, float]  # new gain minus old gain of what was re-evaluated; with diminishing returns none is above 0


def lazy_greedy(
    elements: Sequence[Element],
    values: Callable[[Sequence[Chosen]], list[float]],
    fits: Callable[[Chosen, Element], bool],
    cost: Callable[[Element], float] | None = None,
) -> Iterator[Pick]:
    """Yield the picks of the lazy greedy (algorithm 2) until no element fits.

    values: F of several sets, asked as one batch where they do not wait for each other: the empty set and all fitting singles first.
    fits: whether an element may join a set. It is tested before an element is evaluated and before it is taken, and again at every pick.
    cost: c(v) of an element alone, for the ratio rule (equation 9); None is the uniform cost (equation 4).

    A pick is the element of the greatest rank (`_order`); equal ones go to the lowest position, then the lowest value. A gain found at
    an earlier pick stands in for the present one until its element reaches the top of the queue, which is right while returns diminish.
    An element of a filled position is out. With a modular F, |V| + K - 1 evaluations beside the empty set's pick K elements.
    """
    chosen: Chosen = ()
    candidates = _candidates(elements, chosen, fits)
    value, *singles = values([(), *((element,) for element in candidates)])
    reached = dict(zip(candidates, singles, strict=True))  # F(S + v), where S is what had been chosen when v was last evaluated
    gains = {element: single - value for element, single in reached.items()}
    fresh = set(candidates)
    yield Pick(chosen, value, candidates, {})
    while candidates:
        changes = {}
        queue = [(_order(gains[v], cost(v) if cost else 1.0), v) for v in candidates]
        heapq.heapify(queue)
        while (top := queue[0][1]) not in fresh:
            (reached[top],) = values([(*chosen, top)])
            gain = reached[top] - value
            changes[top], gains[top] = gain - gains[top], gain
            fresh.add(top)
            heapq.heapreplace(queue, (_order(gain, cost(top) if cost else 1.0), top))
        chosen, value = (*chosen, top), reached[top]
        yield Pick(chosen, value, candidates, changes)
        candidates = _candidates(elements, chosen, fits)
        # What never fitted before has no gain that could stand in, so it is evaluated now.
        late = [v for v in candidates if v not in gains]
        for v, score in zip(late, values([(*chosen, v) for v in late]) if late else [], strict=True):
            reached[v], gains[v] = score, score - value
        fresh = set(late)


def _candidates(elements: Sequence[Element], chosen: Chosen, fits: Callable[[Chosen, Element], bool]) -> Chosen:
    """Return the elements of open positions that fit."""
    filled = {element.position for element in chosen}
    return tuple([v for v in elements if v.position not in filled and fits(chosen, v)])


def _order(gain: float, cost: float) -> tuple[int, float]:
    """Return the place in the queue, the smallest first: the greatest gain for its cost.

    What costs nothing and gains comes before every ratio, the greatest gain first; what costs nothing and loses comes behind every ratio.
    An element whose cost alone is not known (NaN) comes last, by its gain.
    """
    if cost > 0.0:
        return (1, -gain / cost)
    if math.isnan(cost):
        return (3, -gain)
    return (0 if gain > 0.0 else 1 if gain == 0.0 else 2, -gain)


@dataclass(frozen=True)
class RCAS:
    """Fill positions one at a time by the greatest gain in accuracy, or gain for its cost, and return the best network met on the way.

    The search starts from the space's identity, in which every position is unfilled. An element is a position with a value other than
    the identity's there; its cost c(v) is what it adds to the identity's. One lazy greedy runs for each rule: uniform cost, the ratio to
    parameters, the ratio to MACs (algorithm 3) and, beyond the paper, the ratio to every other resource with an upper limit. They share
    what they asked. Nothing is drawn at random.

    What the paper leaves open:
    - F is validation accuracy [%]. F(empty) is the identity's own, asked like any other, where the paper sets 0. It matters to ratios only.
    - A disconnected network scores chance, without a query; a run that cannot but take one ends.
    - An element fits while the upper limits hold. Where the identity itself breaks them, what brings the network closest to them fits,
      until they hold. Lower limits do not steer the filling.
    - A run ends when nothing fits, not when gains turn negative. Recommended is the best by validation, among the feasible networks that
      the runs went through; where they went through none, the best feasible one asked about.
    The bound of theorem 1, half of 1 - 1/e, holds for a nondecreasing submodular F under one additive cost. Accuracy is neither, limits
    may be several and latencies are not additive: nothing is promised here.

    The figures that the search returns: `evaluations` made; `evaluations_saved`, what an eager greedy, sharing and knowing chance alike,
    would have asked beyond them for the same picks; `reevaluations`, each counted once over all runs; `reevaluations_rising`, those whose
    gain had grown, against diminishing returns; and `largest_rise_percent`, `mean_rise_percent`, by how many percentage points of
    accuracy these grew.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    deterministic: ClassVar[bool] = True

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield every better feasible network on the search paths, as a tuple of one; return the figures listed above.

        `ValueError` if the space has no identity to start from.
        """
        networks = _Networks.of(problem, evaluator)
        eager: set[Architecture] = set()
        changes: dict[tuple[Architecture, Element], float] = {}
        best = -math.inf
        try:
            for resource in (None, *networks.resources()):
                cost = None if resource is None else networks.element_costs(resource).__getitem__
                for pick in lazy_greedy(networks.elements, networks.values, networks.fits, cost):
                    arch = networks.build(pick.chosen)
                    if not problem.space.connected(arch):
                        break
                    eager |= networks.compared(pick)
                    before = networks.build(pick.chosen[:-1])
                    changes |= {(before, element): change for element, change in pick.changes.items()}
                    if networks.feasible(arch) and pick.value > best:
                        best = pick.value
                        yield (arch,)
        except AllowanceSpent:
            pass
        if best == -math.inf:
            asked = [arch for arch in networks.accuracies if networks.feasible(arch)]
            if asked:
                yield (max(asked, key=networks.accuracies.__getitem__),)
        return _figures(set(networks.accuracies), eager, changes.values())


def _figures(asked: set[Architecture], eager: set[Architecture], changes: Collection[float]) -> dict[str, float]:
    """Return the figures that `RCAS` promises."""
    rises = [change for change in changes if change > _ROUNDING]
    return {
        "evaluations": float(len(asked)),
        "evaluations_saved": float(len(eager - asked)),
        "reevaluations": float(len(changes)),
        "reevaluations_rising": float(len(rises)),
        "largest_rise_percent": max(rises, default=0.0),
        "mean_rise_percent": sum(rises) / len(rises) if rises else 0.0,
    }


@dataclass
class _Networks:
    """The networks that sets of elements stand for, and what was asked about them."""

    problem: Problem
    evaluator: Evaluator
    identity: Architecture
    elements: Chosen
    uppers: tuple[Limit, ...]
    accuracies: dict[Architecture, float] = field(default_factory=dict)  # [%], of those asked about
    costs: dict[Architecture, Mapping[str, float]] = field(default_factory=dict)
    least: dict[Chosen, float] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, evaluator: Evaluator) -> _Networks:
        """Return the networks of a problem, none asked about yet. `ValueError` if its space has no identity."""
        identity = problem.space.identity
        if identity is None:
            raise ValueError(
                f"RCAS fills the positions of an identity network, and the space '{problem.space.name}' has none; leave RCAS out"
            )
        choices = enumerate(zip(problem.space.arity, identity.genes, strict=True))
        elements = tuple(
            [Element(position, value) for position, (arity, unfilled) in choices for value in range(arity) if value != unfilled]
        )
        uppers = tuple([Limit(limit.resource, upper=limit.upper) for limit in problem.limits if limit.upper < math.inf])
        return cls(problem, evaluator, identity, elements, uppers)

    def build(self, chosen: Chosen) -> Architecture:
        """Return the identity with `chosen` filled in."""
        genes = list(self.identity.genes)
        for position, value in chosen:
            genes[position] = value
        return Architecture(self.identity.space, tuple(genes))

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return the resources of `arch`, asking once."""
        if arch not in self.costs:
            self.costs[arch] = self.evaluator.cost(arch)
        return self.costs[arch]

    def feasible(self, arch: Architecture) -> bool:
        """Return whether `arch` is connected and within all limits, lower ones too."""
        return self.problem.feasible(arch, self.cost(arch))

    def excess(self, arch: Architecture) -> float:
        """Return by how much `arch` breaks the upper limits, as a sum of shares; inf where it is not supported."""
        cost = self.cost(arch)
        if any(value != value for value in cost.values()):  # NaN
            return math.inf
        return sum([limit.excess(cost[limit.resource]) for limit in self.uppers])

    def fits(self, chosen: Chosen, element: Element) -> bool:
        """Return whether the upper limits hold with `element` or, where they do not hold without it, no other brings them closer."""
        with_it = self.excess(self.build((*chosen, element)))
        before = self.excess(self.build(chosen))
        return with_it == 0.0 if before == 0.0 else with_it < before and with_it == self.least_excess(chosen)

    def least_excess(self, chosen: Chosen) -> float:
        """Return the excess of the best that one more element does to it."""
        if chosen not in self.least:
            filled = {element.position for element in chosen}
            excesses = [self.excess(self.build((*chosen, v))) for v in self.elements if v.position not in filled]
            self.least[chosen] = min(excesses, default=math.inf)
        return self.least[chosen]

    def resources(self) -> tuple[str, ...]:
        """Return the resources whose ratios rank: those of the paper and those with an upper limit, as far as they are known."""
        known = self.cost(self.identity)
        return tuple([name for name in dict.fromkeys(("params", "macs", *(limit.resource for limit in self.uppers))) if name in known])

    def element_costs(self, resource: str) -> dict[Element, float]:
        """Return c(v) for every element, in the resource's unit: what it adds to the identity; NaN if either is not supported."""
        base = self.cost(self.identity)[resource]
        return {element: self.cost(self.build((element,)))[resource] - base for element in self.elements}

    def compared(self, pick: Pick) -> set[Architecture]:
        """Return the networks that an eager greedy asks about for `pick`."""
        before = pick.chosen[:-1]
        sets = [before, *((*before, element) for element in pick.candidates)]
        return {arch for arch in map(self.build, sets) if self.problem.space.connected(arch)}

    def values(self, sets: Sequence[Chosen]) -> list[float]:
        """Return F of every set [%]: validation accuracy, chance where disconnected. New questions go out as one batch."""
        archs = [self.build(chosen) for chosen in sets]
        self._ask([arch for arch in dict.fromkeys(archs) if arch not in self.accuracies and self.problem.space.connected(arch)])
        return [self.accuracies.get(arch, self.problem.task.chance) for arch in archs]

    def _ask(self, archs: Sequence[Architecture]) -> None:
        """Learn the accuracies of `archs`; `AllowanceSpent` after as many as the allowance covers."""
        queries = self.problem.allowance.queries
        covered = archs if queries is None else archs[: queries - len(self.accuracies)]
        try:
            self.accuracies.update(zip(covered, self.evaluator.accuracies(covered) if covered else [], strict=True))
        except AllowanceSpent:
            # The seconds ran out within the batch, and its answers with them. Those that were paid for are free to ask again.
            for arch in covered:
                self.accuracies[arch] = self.evaluator.accuracy(arch)
        if len(covered) < len(archs):
            raise AllowanceSpent(f"{len(archs)} questions where {len(covered)} are covered")
