"""RCAS: resource-constrained architecture search by a lazy, cost-effective greedy.

Xiong, Mehta and Singh, "Resource Constrained Neural Network Architecture Search" (ICCV 2019), equations 4 and 9, algorithms 1 to 3.
`lazy_greedy` is the algorithm on any set function; `RCAS` applies it to a space.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from budgetnas.harness.problem import AllowanceSpent, Architecture, Evaluator, Limit, Need, Problem
from budgetnas.spaces.space import CostedElements

_ROUNDING = 1e-9  # a gain that grows by less than this, in percentage points, did not grow
_TAILS = 10_000  # random tails drawn before it is said that none keeps the limits


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
    the identity's there. Its cost c(v) is that of the block at its own position where the space knows one, else what it adds to the
    identity's; limits are held to the cost of the whole network. One lazy greedy runs for each rule: uniform cost, the ratio to
    parameters, the ratio to MACs (algorithm 3) and, beyond the paper, the ratio to every other resource with an upper limit. They share
    what they asked. Nothing is drawn from the generator.

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
    accuracy these grew. With a random tail, `random_blocks` that were drawn, and `searched_percent`, what the search had reached before.
    """

    values: tuple[int, ...] = ()  # that elements may have, such as one block type (section 4.3); none given allows all
    merge_identical: bool = False  # ask once about identical networks; on a table, where each was trained by itself, they differ
    keep_path: bool = False  # recommend, at the end, all feasible networks that the runs went through, in order: the curve of figure 3
    random_tail: int = 0  # filled positions, from the last, that are drawn anew after the search, within the limits (section 4.3)

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if self.random_tail < 0 or (self.random_tail and self.keep_path):
            raise ValueError("random_tail of RCAS is 0 or more blocks, and 0 with keep_path: the best network of a path has no random tail")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield every better feasible network on the search paths, as a tuple of one, then what the settings ask for; return the figures.

        `ValueError` if the space has no identity to start from, or no element of the values.
        """
        networks = _Networks.of(problem, evaluator, self)
        tally, path = _Tally(), dict[Architecture, float]()  # the feasible networks on the paths, with their accuracies [%]
        try:
            for resource in (None, *networks.resources()):
                cost = None if resource is None else networks.element_costs(resource).__getitem__
                for pick in lazy_greedy(networks.elements, networks.values, networks.fits, cost):
                    arch = networks.build(pick.chosen)
                    if not problem.space.connected(arch):
                        break
                    tally.add(networks, pick)
                    if networks.feasible(arch):
                        best = max(path.values(), default=-math.inf)
                        path.setdefault(arch, pick.value)
                        if pick.value > best:
                            yield (arch,)
        except AllowanceSpent:
            pass
        if not path and (asked := {arch: value for arch, value in networks.accuracies.items() if networks.feasible(arch)}):
            found = max(asked, key=asked.__getitem__)
            path[found] = asked[found]
            yield (found,)
        if path and self.keep_path:
            yield tuple(path)
        figures = {}
        if path and self.random_tail:
            found = max(path, key=path.__getitem__)
            tail = networks.with_random_tail(found, self.random_tail)
            filled = sum(gene != unfilled for gene, unfilled in zip(found.genes, networks.identity.genes, strict=True))
            figures = {"random_blocks": float(min(filled, self.random_tail) if tail else 0), "searched_percent": path[found]}
            if tail:
                yield (tail,)
        return tally.figures(set(networks.accuracies)) | figures


@dataclass
class _Tally:
    """What an eager greedy would have asked about, and how gains changed when they were evaluated again."""

    eager: set[Architecture] = field(default_factory=set)
    changes: dict[tuple[Architecture, Element], float] = field(default_factory=dict)

    def add(self, networks: _Networks, pick: Pick) -> None:
        """Count a pick."""
        self.eager |= networks.compared(pick)
        before = networks.build(pick.chosen[:-1])
        self.changes |= {(before, element): change for element, change in pick.changes.items()}

    def figures(self, asked: set[Architecture]) -> dict[str, float]:
        """Return the figures that `RCAS` promises of every search."""
        rises = [change for change in self.changes.values() if change > _ROUNDING]
        return {
            "evaluations": float(len(asked)),
            "evaluations_saved": float(len(self.eager - asked)),
            "reevaluations": float(len(self.changes)),
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
    merged: bool  # identical networks are one
    reserved: int  # queries kept for after the search
    accuracies: dict[Architecture, float] = field(default_factory=dict)  # [%], of those asked about
    costs: dict[Architecture, Mapping[str, float]] = field(default_factory=dict)
    least: dict[Chosen, float] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, evaluator: Evaluator, settings: RCAS) -> _Networks:
        """Return the networks of a problem, none asked about yet. `ValueError` if its space has no identity, or no such values."""
        identity, space = problem.space.identity, problem.space
        if identity is None:
            raise ValueError(f"RCAS fills the positions of an identity network, and the space '{space.name}' has none; leave RCAS out")
        choices = enumerate(zip(space.arity, identity.genes, strict=True))
        elements = [Element(position, value) for position, (arity, unfilled) in choices for value in range(arity) if value != unfilled]
        chosen = tuple([element for element in elements if not settings.values or element.value in settings.values])
        if not chosen:
            raise ValueError(f"no position of '{space.name}' can be filled with one of the values {list(settings.values)} of RCAS")
        uppers = tuple([Limit(limit.resource, upper=limit.upper) for limit in problem.limits if limit.upper < math.inf])
        return cls(problem, evaluator, identity, chosen, uppers, settings.merge_identical, int(settings.random_tail > 0))

    def build(self, chosen: Chosen) -> Architecture:
        """Return the identity with `chosen` filled in, or the representative of all that are identical to it."""
        genes = list(self.identity.genes)
        for position, value in chosen:
            genes[position] = value
        return self._named(genes)

    def _named(self, genes: Sequence[int]) -> Architecture:
        arch = Architecture(self.identity.space, tuple(genes))
        return self.problem.space.canonical(arch) if self.merged else arch

    def with_random_tail(self, arch: Architecture, blocks: int) -> Architecture | None:
        """Return `arch` with its last filled positions drawn anew until the limits hold, asked about; None if none does or may be asked.

        What is drawn depends on `arch` alone.
        """
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(arch.genes))))
        unfilled = self.identity.genes
        tail = [position for position, gene in enumerate(arch.genes) if gene != unfilled[position]][-blocks:]
        choices = [[element.value for element in self.elements if element.position == position] for position in tail]
        for _ in range(_TAILS if tail else 0):
            genes = list(arch.genes)
            for position, values in zip(tail, choices, strict=True):
                genes[position] = values[rng.integers(len(values))]
            drawn = self._named(genes)
            if drawn != arch and self.feasible(drawn):
                self.reserved = 0
                try:
                    self._ask([] if drawn in self.accuracies else [drawn])
                except AllowanceSpent:
                    return None
                return drawn
        return None

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
        """Return c(v) for every element, in the resource's unit: its own if the space knows it, else what it adds to the identity's.

        NaN is 'not supported'.
        """
        space, base = self.problem.space, self.cost(self.identity)[resource]
        costs = {}
        for element in self.elements:
            own = space.element_cost(*element, self.problem.task, self.problem.device) if isinstance(space, CostedElements) else {}
            costs[element] = own[resource] if resource in own else self.cost(self.build((element,)))[resource] - base
        return costs

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
        covered = archs if queries is None else archs[: max(queries - self.reserved - len(self.accuracies), 0)]
        try:
            self.accuracies.update(zip(covered, self.evaluator.accuracies(covered) if covered else [], strict=True))
        except AllowanceSpent:
            # The seconds ran out within the batch, and its answers with them. Those that were paid for are free to ask again.
            for arch in covered:
                self.accuracies[arch] = self.evaluator.accuracy(arch)
        if len(covered) < len(archs):
            raise AllowanceSpent(f"{len(archs)} questions where {len(covered)} are covered")
