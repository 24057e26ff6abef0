"""From strengths of operations to the architectures in their order, and to the strongest one that violates nothing."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from budgetnas.spaces.space import Architecture, Enumerable, Floats, Relaxable, neighbours

MOST_IN_ORDER = 200  # of a space that cannot be listed, before `nearest` takes to single changes
Choice = tuple[int, int, int]  # searched cell, edge, operation


@dataclass(frozen=True, slots=True, order=True)
class _Found:
    """The strongest architecture without some choices. Ordered by what it lacks in strength, then by its genes."""

    lost: float
    genes: tuple[int, ...]
    number: int
    without: frozenset[Choice]
    choices: tuple[Choice, ...]


def by_strength(space: Relaxable, strengths: Sequence[Floats]) -> Iterator[Architecture]:
    """Yield architectures by falling product of the strengths of their operations, each once; without end for people's purposes.

    strengths: (edges, operations), one array a searched cell, at least 0; an operation of strength 0 is never chosen.

    An architecture other than the strongest lacks one of the strongest's choices, and is the strongest without it or lacks another
    (Murty, "An algorithm for ranking all the assignments in order of increasing cost", Operations Research 16, 1968). The order is exact
    where the space's rule picks the largest product among the operations left, as one does that takes the strongest on every edge, or
    the strongest few edges into a node.
    """
    start = [np.array(each, dtype=np.float64) for each in strengths]
    waiting = [found for found in [_strongest_without(space, start, frozenset(), 0)] if found]
    seen, yielded = {frozenset[Choice]()}, set[tuple[int, ...]]()
    while waiting:
        best = heapq.heappop(waiting)
        if best.genes not in yielded:
            yielded.add(best.genes)
            yield Architecture(space.name, best.genes)
        for choice in best.choices:
            without = best.without | {choice}
            if without in seen:
                continue
            seen.add(without)
            found = _strongest_without(space, start, without, len(seen))
            if found:
                heapq.heappush(waiting, found)


def _strongest_without(space: Relaxable, strengths: Sequence[Floats], without: frozenset[Choice], number: int) -> _Found | None:
    """Return the strongest architecture that has none of the choices, None where it cannot do without them."""
    left = [each.copy() for each in strengths]
    for cell, edge, operation in without:
        left[cell][edge, operation] = 0.0
    arch = space.strongest(left)
    choices = _choices(space, arch)
    lost = _lost(left, choices)
    return _Found(lost, arch.genes, number, without, choices) if lost < math.inf else None


def _choices(space: Relaxable, arch: Architecture) -> tuple[Choice, ...]:
    """Return the operations that an architecture has."""
    found: list[Choice] = []
    for cell, hot in enumerate(space.one_hot(arch)):
        edges, operations = np.nonzero(hot)
        found += [(cell, edge, operation) for edge, operation in zip(edges.tolist(), operations.tolist(), strict=True)]
    return tuple(found)


def _lost(strengths: Sequence[Floats], choices: Sequence[Choice]) -> float:
    """Return -log of the product of the strengths of what was chosen; inf where one of them is 0."""
    chosen = [float(strengths[cell][edge, operation]) for cell, edge, operation in choices]
    return -sum(map(math.log, chosen)) if min(chosen, default=1.0) > 0.0 else math.inf


def nearest(space: Relaxable, strengths: Sequence[Floats], violation: Callable[[Architecture], float]) -> Architecture | None:
    """Return an architecture that violates nothing, the one of the largest product of strengths; None if none was found.

    violation: 0 for what is feasible, greater the farther from it. In a space that can be listed the answer is exact. In a larger one it
    is exact if among the `MOST_IN_ORDER` strongest; else it is reached from the strongest by changes of one gene, each the one that
    lowers the violation most for the strength it gives up, after which changes that win strength back are made as long as there are any.
    """
    most = space.size if isinstance(space, Enumerable) else MOST_IN_ORDER
    for arch in islice(by_strength(space, strengths), most):
        if violation(arch) == 0.0:
            return arch
    return None if isinstance(space, Enumerable) else _descended(space, strengths, violation)


def _descended(space: Relaxable, strengths: Sequence[Floats], violation: Callable[[Architecture], float]) -> Architecture | None:
    """Return a feasible architecture reached by single changes from the strongest, or None where none of them helps."""

    def lost(arch: Architecture) -> float:
        return _lost(strengths, _choices(space, arch))

    arch = space.strongest(strengths)
    while (excess := violation(arch)) > 0.0:
        here, gains = lost(arch), []
        for near in neighbours(space, arch):
            left, given_up = violation(near), lost(near) - here
            if left < excess and given_up < math.inf:
                # What gives up nothing comes first, then the most for the strength given up; ties to the lowest genes.
                gains.append(((given_up > 0.0, -(excess - left) / max(given_up, 1e-12)), near.genes))
        if not gains:
            return None
        arch = Architecture(space.name, min(gains)[1])
    while True:
        feasible = [near for near in neighbours(space, arch) if violation(near) == 0.0]
        best = min([arch, *feasible], key=lambda near: (lost(near), near.genes))
        if lost(best) >= lost(arch):
            return arch
        arch = best
