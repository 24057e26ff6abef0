"""A look-up graph, as methods read it: which search limit delivers which cost (DCA-NAS)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

SETTING = "lookup"
Node: TypeAlias = tuple[float, float]  # a search limit, and the exact cost of the network that a search under it delivered
Shape: TypeAlias = Literal["steps", "linear"]
SUMMED = ("params", "macs")  # whose size of the search network is equation 3's


class OutsideLookupGraph(ValueError):
    """A limit of which a look-up graph says nothing; the message says what it covers and what to do."""


def envelope(nodes: Sequence[Node], left_out: Sequence[float] = ()) -> list[Node]:
    """Return the conservative, monotone graph: for every search limit, ascending, the largest cost delivered under it or a smaller one.

    Nodes may hold a search limit several times, once a seed; `left_out` has the search limits of those that delivered no network. A search
    limit under which they are half or more promises nothing, and is not in the graph.
    """
    largest: dict[float, float] = {}
    for search_limit, delivered in nodes:
        largest[search_limit] = max(delivered, largest.get(search_limit, -math.inf))
    ascending, there, missing = sorted(largest), Counter(limit for limit, _ in nodes), Counter(left_out)
    promised = zip(ascending, accumulate((largest[each] for each in ascending), max), strict=True)
    return [(search_limit, delivered) for search_limit, delivered in promised if there[search_limit] > missing[search_limit]]


def search_limit(
    nodes: Sequence[Node], limit: float, shape: Shape = "steps", resource: str = "the resource", left_out: Sequence[float] = ()
) -> float:
    """Return the largest search limit under which the envelope promises at most `limit`.

    Between two search limits the envelope is the larger one's (`steps`: only what a search has delivered is promised) or the straight
    line (`linear`); at the nodes both are the same. Above all that was delivered, a graph that has levelled off, where its two largest
    search limits deliver the same, gives the largest. `OutsideLookupGraph` below the range, and above it where the graph still rises.
    """
    graph = envelope(nodes, left_out)
    if not graph:
        raise OutsideLookupGraph(
            f"the look-up graph of {resource} is empty, since under no search limit most searches delivered a network; "
            "make it again with `budgetnas lookup-graph` over other search limits"
        )
    (_, lowest), (top, highest) = graph[0], graph[-1]
    covered = f"the look-up graph of {resource} covers limits from {lowest:.6g} to {highest:.6g}, not {limit:.6g}"
    if limit < lowest:
        raise OutsideLookupGraph(f"{covered}; choose a looser limit, or make the graph again from a smaller search limit")
    if limit > highest and (len(graph) == 1 or graph[-2][1] < highest):
        raise OutsideLookupGraph(f"{covered}; choose a tighter limit, or make the graph again up to a larger search limit")
    place = max(index for index, (_, delivered) in enumerate(graph) if delivered <= limit)
    here, delivered = graph[place]
    if here == top or shape == "steps":
        return here
    following, beyond = graph[place + 1]
    return here + (following - here) * (limit - delivered) / (beyond - delivered)
