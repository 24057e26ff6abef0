"""Architectures in the order of the strengths of their operations, and the strongest feasible one."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from budgetnas.spaces.space import Architecture, Enumerable, Floats, Relaxable, neighbours

MOST_IN_ORDER = 200  # architectures that `nearest` tries in order, in a space that cannot be listed, before it changes single genes
Choice = tuple[int, int, int]  # searched cell, edge, operation


@dataclass(frozen=True, slots=True, order=True)
class _Found:
    """The strongest architecture without the forbidden choices. Sorted by falling strength, then by genes."""

    lost: float  # -log of the product of strengths
    genes: tuple[int, ...]
    number: int  # unique, so that sorting never compares the sets
    without: frozenset[Choice]  # the forbidden choices
    choices: tuple[Choice, ...]  # the choices that the architecture makes


def by_strength(space: Relaxable, strengths: Sequence[Floats]) -> Iterator[Architecture]:
    """Yield architectures by falling product of the strengths of their operations, each once.

    Forbid each choice of the strongest architecture in turn, solve again, and recurse (Murty, "An algorithm for ranking all the assignments
    in order of increasing cost", Operations Research 16, 1968). The order is exact if `space.strongest` returns the largest product among
    the operations that are left. That holds for a rule that takes the strongest operation on every edge, or the strongest few edges into a
    node. In a large space the generator practically never ends; take a slice of it.

    Args:
        space: The relaxable space.
        strengths: Values of at least 0, one array of shape (edges, operations) per searched cell. An operation of strength 0 never occurs.
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
    """Return the strongest architecture without the choices in `without`; None if every architecture needs one of them."""
    left = [each.copy() for each in strengths]
    for cell, edge, operation in without:
        left[cell][edge, operation] = 0.0
    arch = space.strongest(left)
    choices = _choices(space, arch)
    lost = _lost(left, choices)
    return _Found(lost, arch.genes, number, without, choices) if lost < math.inf else None


def _choices(space: Relaxable, arch: Architecture) -> tuple[Choice, ...]:
    """Return the operations of an architecture, as (searched cell, edge, operation)."""
    found: list[Choice] = []
    for cell, hot in enumerate(space.one_hot(arch)):
        edges, operations = np.nonzero(hot)
        found += [(cell, edge, operation) for edge, operation in zip(edges.tolist(), operations.tolist(), strict=True)]
    return tuple(found)


def _lost(strengths: Sequence[Floats], choices: Sequence[Choice]) -> float:
    """Return -log of the product of the strengths of `choices`; inf if one of them is 0."""
    chosen = [float(strengths[cell][edge, operation]) for cell, edge, operation in choices]
    return -sum(map(math.log, chosen)) if min(chosen, default=1.0) > 0.0 else math.inf


def nearest(space: Relaxable, strengths: Sequence[Floats], violation: Callable[[Architecture], float]) -> Architecture | None:
    """Return the feasible architecture with the largest product of strengths; None if none was found.

    The answer is exact in a space that can be listed, and in a larger space if it is among the `MOST_IN_ORDER` strongest architectures.
    Otherwise the search starts at the strongest architecture and changes one gene at a time. Each change is the one that lowers the
    violation most for the strength it loses. Once feasible, the search makes feasible changes as long as they raise the strength.

    Args:
        space: The relaxable space.
        strengths: As in `by_strength`.
        violation: Returns 0 for a feasible architecture, else a positive number that grows with the distance from feasibility.
    """
    most = space.size if isinstance(space, Enumerable) else MOST_IN_ORDER
    for arch in islice(by_strength(space, strengths), most):
        if violation(arch) == 0.0:
            return arch
    return None if isinstance(space, Enumerable) else _descended(space, strengths, violation)


def _descended(space: Relaxable, strengths: Sequence[Floats], violation: Callable[[Architecture], float]) -> Architecture | None:
    """Return a feasible architecture reached from the strongest by changes of one gene; None if no change lowers the violation."""

    def lost(arch: Architecture) -> float:
        return _lost(strengths, _choices(space, arch))

    arch = space.strongest(strengths)
    while (excess := violation(arch)) > 0.0:
        here, gains = lost(arch), []
        for near in neighbours(space, arch):
            left, given_up = violation(near), lost(near) - here
            if left < excess and given_up < math.inf:
                # First the changes that lose no strength, then the largest gain per strength lost; ties go to the lowest genes.
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
