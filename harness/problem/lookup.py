"""How methods read a look-up graph of DCA-NAS, which maps a search limit to the cost of the delivered network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

SETTING = "lookup"
Node: TypeAlias = tuple[float, float]  # a search limit, and the exact cost of the network that a search under it delivered
Shape: TypeAlias = Literal["steps", "linear"]
SUMMED = ("params", "macs")  # resources whose size of the search network is equation 3


class OutsideLookupGraph(ValueError):
    """A limit that a look-up graph does not cover; the message names the covered range and the remedy."""


def envelope(nodes: Sequence[Node], left_out: Sequence[float] = ()) -> list[Node]:
    """Return the conservative, monotone graph, as nodes with ascending search limits.

    The cost at a search limit is the largest cost delivered under that search limit or a smaller one. A search limit is left out if half
    or more of its searches delivered no network.

    Args:
        nodes: one node per search that delivered a network; a search limit may occur several times, once per seed.
        left_out: the search limits of the searches that delivered none.
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
    """Return the largest search limit whose cost in the envelope is at most `limit`.

    Above the range of the graph, the result is the largest search limit if the graph has levelled off, that is, if its two largest search
    limits deliver the same cost.

    Args:
        nodes: the nodes of the graph, see `envelope`.
        limit: the limit on the delivered network, in the resource's unit.
        shape: the envelope between two search limits. `steps`: the cost of the larger one, so that only delivered costs count. `linear`:
            the straight line between both.
        resource: the resource's name, for messages.
        left_out: see `envelope`.

    Raises:
        OutsideLookupGraph: the graph is empty, or the limit is below its range, or above it while the graph still rises.
    """
    graph = envelope(nodes, left_out)
    if not graph:
        raise OutsideLookupGraph(
            f"the look-up graph of {resource} is empty, because under each search limit half or more of the searches delivered no network; "
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
