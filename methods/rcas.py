"""RCAS: resource-constrained architecture search with a lazy, cost-effective greedy algorithm.

Xiong, Mehta and Singh, "Resource Constrained Neural Network Architecture Search" (ICCV 2019), equations 4 and 9, algorithms 1 to 3.
`lazy_greedy` is the algorithm for any set function; `RCAS` applies it to a space.
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

_ROUNDING = 1e-9  # a gain that grows by no more than this, in percentage points, counts as not grown
_TAILS = 10_000  # largest number of random tails drawn to find one within the limits


class Element(NamedTuple):
    """A block (gene value) at a position. A position holds one block."""

    position: int
    value: int


Chosen = tuple[Element, ...]  # a set of elements, in the order in which they were picked


@dataclass(frozen=True, slots=True)
class Pick:
    """One step of the greedy algorithm. The first step is the empty set."""

    chosen: Chosen
    value: float  # F(chosen)
    candidates: Chosen  # the elements that fitted when the last of `chosen` was picked; an eager greedy compares all of them
    changes: Mapping[Element, float]  # new gain minus old gain of each re-evaluated element; never above 0 if returns diminish


def lazy_greedy(
    elements: Sequence[Element],
    values: Callable[[Sequence[Chosen]], list[float]],
    fits: Callable[[Chosen, Element], bool],
    cost: Callable[[Element], float] | None = None,
) -> Iterator[Pick]:
    """Yield the picks of the lazy greedy algorithm (algorithm 2) until no element fits.

    A pick is the first element in the queue (`_order`); ties go to the lowest position, then to the lowest value. An element keeps the gain
    from an earlier pick, and is evaluated again only when it reaches the top of the queue. The picks equal those of an eager greedy while
    returns diminish. With a modular F, picking K of |V| elements takes |V| + K - 1 evaluations and one of the empty set.

    Args:
        elements: V, the elements to pick from.
        values: F of several sets. Independent sets are one batch; the first batch is the empty set and all fitting single elements.
        fits: whether an element may join a set. Asked for each element of an unfilled position, before every pick.
        cost: c(v) of an element, for the ratio rule (equation 9). None: uniform cost (equation 4).
    """
    chosen: Chosen = ()
    candidates = _candidates(elements, chosen, fits)
    value, *singles = values([(), *((element,) for element in candidates)])
    reached = dict(zip(candidates, singles, strict=True))  # F(S + v), where S is the set at the last evaluation of v
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
        # Elements that did not fit before have no earlier gain, so they are evaluated now.
        late = [v for v in candidates if v not in gains]
        for v, score in zip(late, values([(*chosen, v) for v in late]) if late else [], strict=True):
            reached[v], gains[v] = score, score - value
        fresh = set(late)


def _candidates(elements: Sequence[Element], chosen: Chosen, fits: Callable[[Chosen, Element], bool]) -> Chosen:
    """Return the fitting elements of unfilled positions."""
    filled = {element.position for element in chosen}
    return tuple([v for v in elements if v.position not in filled and fits(chosen, v)])


def _order(gain: float, cost: float) -> tuple[int, float]:
    """Return the sort key of an element in the queue: smaller keys come first, and a greater gain / cost gives a smaller key.

    An element of cost 0 comes before all ratios if it gains, the greatest gain first, and behind all ratios if it loses. An element of
    unknown cost (NaN) comes last, ordered by gain.
    """
    if cost > 0.0:
        return (1, -gain / cost)
    if math.isnan(cost):
        return (3, -gain)
    return (0 if gain > 0.0 else 1 if gain == 0.0 else 2, -gain)


@dataclass(frozen=True)
class RCAS:
    """Fill one position after another by the greatest gain in accuracy, or gain per cost, and return the best network on the way.

    The search starts from the space's identity network, in which all positions are unfilled. An element is a position with a value other
    than the identity's. Its cost c(v) is the cost of the block at that position, or, if the space does not know it, the cost that it adds
    to the identity. Limits apply to the whole network. The lazy greedy runs once per rule: uniform cost, the ratio to parameters, the ratio
    to MACs (algorithm 3) and, beyond the paper, the ratio to every other resource with an upper limit. The runs share their evaluations.
    The search itself is deterministic.

    Choices that the paper leaves open:
    - F is validation accuracy [%]. F(empty) is that of the identity, which costs a query; the paper sets 0. This affects ratios only.
    - A disconnected network scores chance, without a query. A run ends when its next pick would be disconnected.
    - An element fits if the upper limits hold with it. If they do not hold without it either, only the element that brings the network
      closest to them fits. Lower limits do not affect which elements fit.
    - A run ends when no element fits, even if gains are negative before. The recommendation is the network of the best validation
      accuracy among the feasible networks on the runs' paths, or, if there are none, among all feasible networks evaluated.
    The bound of theorem 1, half of 1 - 1/e, holds for a nondecreasing submodular F and one additive cost. It does not apply here: accuracy
    is neither, there may be several limits, and latency is not additive.

    Figures: `evaluations`; `evaluations_saved`, the further evaluations of an eager greedy with the same picks and the same shortcuts;
    `reevaluations`, each counted once over all runs; `reevaluations_rising`, those in which the gain grew, against diminishing returns;
    `largest_rise_percent` and `mean_rise_percent`, the growth of those gains in percentage points of accuracy. With a random tail also
    `random_blocks`, the number of blocks drawn, and `searched_percent`, the accuracy before the draw.
    """

    values: tuple[int, ...] = ()  # values that elements may have, for example one block type (section 4.3); empty: all
    merge_identical: bool = False  # evaluate only one of several identical networks; a table has a separate training for each
    keep_path: bool = False  # recommend, at the end, all feasible networks on the runs' paths, in order: the curve of figure 3
    random_tail: int = 0  # after the search, redraw so many filled positions, the last ones, at random within the limits (section 4.3)

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    deterministic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if self.random_tail < 0 or (self.random_tail and self.keep_path):
            raise ValueError(f"random_tail of RCAS is {self.random_tail}; give 0 or more blocks, and leave it out with keep_path")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield each better feasible network on the paths, as a tuple of one, then the path or random tail; return the search's figures.

        Raises ValueError if the space has no identity, or no element with one of `values`.
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
    """The networks that an eager greedy would have evaluated, and the changes of gains that were evaluated again."""

    eager: set[Architecture] = field(default_factory=set)
    changes: dict[tuple[Architecture, Element], float] = field(default_factory=dict)

    def add(self, networks: _Networks, pick: Pick) -> None:
        """Add a pick."""
        self.eager |= networks.compared(pick)
        before = networks.build(pick.chosen[:-1])
        self.changes |= {(before, element): change for element, change in pick.changes.items()}

    def figures(self, asked: set[Architecture]) -> dict[str, float]:
        """Return the figures of every search, as listed in `RCAS`, given the evaluated networks."""
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
    """The networks of sets of elements, and their accuracies and costs so far."""

    problem: Problem
    evaluator: Evaluator
    identity: Architecture
    elements: Chosen
    uppers: tuple[Limit, ...]
    merged: bool  # treat identical networks as one
    reserved: int  # queries kept for the random tail
    accuracies: dict[Architecture, float] = field(default_factory=dict)  # [%], of evaluated networks
    costs: dict[Architecture, Mapping[str, float]] = field(default_factory=dict)
    least: dict[Chosen, float] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, evaluator: Evaluator, settings: RCAS) -> _Networks:
        """Return the networks of a problem, none evaluated yet. Raises ValueError if its space has no identity, or none of the values."""
        identity, space = problem.space.identity, problem.space
        if identity is None:
            raise ValueError(f"RCAS starts from an identity network, and the space '{space.name}' has none; use another method")
        choices = enumerate(zip(space.arity, identity.genes, strict=True))
        elements = [Element(position, value) for position, (arity, unfilled) in choices for value in range(arity) if value != unfilled]
        chosen = tuple([element for element in elements if not settings.values or element.value in settings.values])
        if not chosen:
            allowed = sorted({element.value for element in elements})
            raise ValueError(f"values of RCAS is {list(settings.values)}; positions of '{space.name}' can be filled with {allowed}")
        uppers = tuple([Limit(limit.resource, upper=limit.upper) for limit in problem.limits if limit.upper < math.inf])
        return cls(problem, evaluator, identity, chosen, uppers, settings.merge_identical, int(settings.random_tail > 0))

    def build(self, chosen: Chosen) -> Architecture:
        """Return the identity with `chosen` filled in; with `merged`, the canonical one of all networks identical to it."""
        genes = list(self.identity.genes)
        for position, value in chosen:
            genes[position] = value
        return self._named(genes)

    def _named(self, genes: Sequence[int]) -> Architecture:
        arch = Architecture(self.identity.space, tuple(genes))
        return self.problem.space.canonical(arch) if self.merged else arch

    def with_random_tail(self, arch: Architecture, blocks: int) -> Architecture | None:
        """Return `arch` with its last `blocks` filled positions redrawn until the limits hold, and evaluate it.

        Return None if no draw holds the limits or the allowance does not cover it. The draws depend on `arch` alone.
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
        """Return the cost of `arch`, computed once."""
        if arch not in self.costs:
            self.costs[arch] = self.evaluator.cost(arch)
        return self.costs[arch]

    def feasible(self, arch: Architecture) -> bool:
        """Return whether `arch` is connected and within all limits, including lower ones."""
        return self.problem.feasible(arch, self.cost(arch))

    def excess(self, arch: Architecture) -> float:
        """Return the sum of the relative excesses of `arch` over the upper limits; inf if the device does not support it."""
        cost = self.cost(arch)
        if any(value != value for value in cost.values()):  # NaN
            return math.inf
        return sum([limit.excess(cost[limit.resource]) for limit in self.uppers])

    def fits(self, chosen: Chosen, element: Element) -> bool:
        """Return whether the upper limits hold with `element`, or, if they are broken already, whether it reduces the excess the most."""
        with_it = self.excess(self.build((*chosen, element)))
        before = self.excess(self.build(chosen))
        return with_it == 0.0 if before == 0.0 else with_it < before and with_it == self.least_excess(chosen)

    def least_excess(self, chosen: Chosen) -> float:
        """Return the smallest excess of `chosen` with one more element."""
        if chosen not in self.least:
            filled = {element.position for element in chosen}
            excesses = [self.excess(self.build((*chosen, v))) for v in self.elements if v.position not in filled]
            self.least[chosen] = min(excesses, default=math.inf)
        return self.least[chosen]

    def resources(self) -> tuple[str, ...]:
        """Return the known resources with a ratio rule: the paper's (parameters, MACs), and those with an upper limit."""
        known = self.cost(self.identity)
        return tuple([name for name in dict.fromkeys(("params", "macs", *(limit.resource for limit in self.uppers))) if name in known])

    def element_costs(self, resource: str) -> dict[Element, float]:
        """Return c(v) of each element: the block's cost if the space knows it, else the cost added to the identity; NaN: not supported."""
        space, base = self.problem.space, self.cost(self.identity)[resource]
        costs = {}
        for element in self.elements:
            own = space.element_cost(*element, self.problem.task, self.problem.device) if isinstance(space, CostedElements) else {}
            costs[element] = own[resource] if resource in own else self.cost(self.build((element,)))[resource] - base
        return costs

    def compared(self, pick: Pick) -> set[Architecture]:
        """Return the networks that an eager greedy evaluates for `pick`."""
        before = pick.chosen[:-1]
        sets = [before, *((*before, element) for element in pick.candidates)]
        return {arch for arch in map(self.build, sets) if self.problem.space.connected(arch)}

    def values(self, sets: Sequence[Chosen]) -> list[float]:
        """Return F of each set [%]: validation accuracy, or chance if disconnected. New networks are evaluated as one batch."""
        archs = [self.build(chosen) for chosen in sets]
        self._ask([arch for arch in dict.fromkeys(archs) if arch not in self.accuracies and self.problem.space.connected(arch)])
        return [self.accuracies.get(arch, self.problem.task.chance) for arch in archs]

    def _ask(self, archs: Sequence[Architecture]) -> None:
        """Evaluate `archs`. Raises AllowanceSpent after as many as the allowance covers."""
        queries = self.problem.allowance.queries
        covered = archs if queries is None else archs[: max(queries - self.reserved - len(self.accuracies), 0)]
        try:
            self.accuracies.update(zip(covered, self.evaluator.accuracies(covered) if covered else [], strict=True))
        except AllowanceSpent:
            # The allowance of seconds ended within the batch, which returned no answers. The answers already charged are free to repeat.
            for arch in covered:
                self.accuracies[arch] = self.evaluator.accuracy(arch)
        if len(covered) < len(archs):
            raise AllowanceSpent(f"{len(archs)} evaluations requested, of which the allowance covers {len(covered)}")
