"""Look-up graphs of DCA-NAS: which search limit delivers which cost. A study of its own, whose searches are trials kept like any run's.

A study names the file of its graphs, `lookup = "graphs.json"` at a method; `budgetnas lookup-graph STUDY` makes it; and a trial of that
method gets the rows of its own space, dataset, device and resources as plain values of its setting `lookup`, part of its identity.
Which searches a graph is made of, the method says in its class attribute `lookup_searches`: the settings that they do not take over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from budgetnas.harness.catalogue.catalogue import find_method
from budgetnas.harness.evaluators.registry import search_network_of
from budgetnas.harness.problem import Limit
from budgetnas.harness.problem.lookup import SETTING, SUMMED, envelope
from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.records.store import Store
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.trials.crew import run_trials
from budgetnas.harness.trials.deaths import summary
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Relaxable
from budgetnas.spaces.task import task_of


class LookupGraphError(ValueError):
    """A look-up graph that cannot be made, read or used for a trial; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The search limits of a graph: `points` of them, evenly spaced in the logarithm, from `lowest` to `highest`; `seeds` searches each."""

    lowest: float
    highest: float
    points: int = 16
    seeds: int = 3

    def __post_init__(self) -> None:
        if not (0 < self.lowest < self.highest < math.inf and self.points >= 2 and self.seeds >= 1):
            raise LookupGraphError(
                f"no grid of {self.points} search limits from {self.lowest:g} to {self.highest:g} with {self.seeds} seeds: "
                "give two or more, from a limit above 0 to a larger one, and a seed or more"
            )

    @property
    def limits(self) -> list[float]:
        """The search limits, ascending."""
        return [float(f"{limit:.12g}") for limit in np.geomspace(self.lowest, self.highest, self.points)]


@dataclass(frozen=True, slots=True)
class Graph:
    """What the searches under a range of limits on one resource delivered, and what they cost.

    `basis` is the hash of everything that a search depends on besides its limit and its seed. A search that delivered something
    disconnected or not supported says nothing of what networks cost: it is no node, and its search limit is among those `left_out`.
    `promised` is the envelope, without the search limits under which half of the searches or more did.
    """

    basis: str
    method: str
    space: str
    dataset: str
    device: str | None
    resource: str
    nodes: tuple[tuple[float, float], ...]  # (search limit, exact cost delivered), in the resource's unit, one a search
    left_out: tuple[float, ...]  # search limits, one a search
    searches: int
    steps: int
    seconds: float  # by the clock, all searches together

    @property
    def place(self) -> tuple[str, str]:
        """What tells it from other graphs: its basis and resource."""
        return self.basis, self.resource

    @property
    def title(self) -> str:
        """What it is about, in a line."""
        return f"{self.method} in {self.space}, {self.resource} on {self.dataset}{f', {self.device}' if self.device else ''}"

    @property
    def promised(self) -> list[tuple[float, float]]:
        """The envelope: what each search limit promises at most."""
        return envelope(self.nodes, self.left_out)

    @property
    def covered(self) -> str:
        """The limits that can be looked up, as text."""
        promised = self.promised
        return f"from {promised[0][1]:.6g} to {promised[-1][1]:.6g}" if promised else "none"


def looks_up(trial: Trial) -> bool:
    """Return whether the method of a trial takes a look-up graph."""
    return hasattr(find_method(trial.method, trial.folder).cls, "lookup_searches")


def without_file(settings: Mapping[str, Any], cls: type[Any]) -> tuple[dict[str, Any], str | None]:
    """Return a method's settings in a study without the file of its look-up graphs, and that file if it names one and looks anything up."""
    named = settings.get(SETTING)
    if not isinstance(named, str) or not hasattr(cls, "lookup_searches"):
        return dict(settings), None
    return {name: value for name, value in settings.items() if name != SETTING}, named


def search_of(trial: Trial, resource: str, limit: float, seed: int) -> Trial:
    """Return one of the searches that a graph for this trial is made of: the same method under one search limit, without a graph."""
    plain: dict[str, Any] = dict(find_method(trial.method, trial.folder).cls.lookup_searches)
    settings = tuple(sorted((dict(trial.settings) | plain).items()))
    return replace(trial, limits=(Limit(resource, limit),), settings=settings, seed=seed)


def basis_of(trial: Trial) -> str:
    """Return the hash of all that a graph for this trial depends on besides its grid: space, data, device, table or recipe, method."""
    payload = search_of(trial, "", 0.0, 0).payload()
    return identity_of({name: value for name, value in payload.items() if name not in ("limits", "seed", "allowance")})


def wanted(trials: Iterable[Trial]) -> list[tuple[Trial, str, tuple[float, ...]]]:
    """Return the graphs that trials look up: one of the trials, the resource, and all upper limits on it, ascending."""
    found: dict[tuple[str, str], tuple[Trial, set[float]]] = {}
    for trial in trials:
        for limit in trial.limits if looks_up(trial) else ():
            if limit.upper < math.inf:
                found.setdefault((basis_of(trial), limit.resource), (trial, set()))[1].add(limit.upper)
    return [(trial, resource, tuple(sorted(uppers))) for (_, resource), (trial, uppers) in found.items()]


def default_range(trial: Trial, resource: str, uppers: Sequence[float]) -> tuple[float, float]:
    """Return the least and the largest search limit of a graph unless told otherwise: half the tightest limit to twice the loosest.

    A supernet's parameters and MACs are bounded in the search network (equation 3), whose size has nothing to do with the limits of the
    evaluation network: there it is from the least that they can be to twice what they are when all operations weigh the same.
    """
    space = space_of(trial.space)
    size, task = search_network_of(trial), task_of(trial.dataset)
    if size is None or resource not in SUMMED or not isinstance(space, Relaxable):
        return 0.5 * uppers[0], 2.0 * uppers[-1]
    costs, fixed = space.edge_costs(resource, task, *size), space.fixed_cost(resource, task, *size)
    least = fixed + sum(float(rows.min(axis=1).sum()) for rows in costs)
    uniform = fixed + sum(float(rows.mean(axis=1).sum()) for rows in costs)
    return least, 2.0 * uniform


def build(
    graphs: Sequence[tuple[Trial, str, Grid]], store: Store, workers: int, progress: Callable[[int, int], None] = lambda done, all_: None
) -> list[Graph]:
    """Return the graphs, running the searches that the store has no record of, `workers` at a time.

    The store may be any: records are named by identity, so that a wider or finer grid keeps what was done. `LookupGraphError` says which
    search failed and why, and a failed one runs again the next time; `RunError` names a record that is damaged.
    """
    searches = [[search_of(t, r, limit, seed) for limit in grid.limits for seed in range(grid.seeds)] for t, r, grid in graphs]
    everything = {search.identity: search for each in searches for search in each}
    with store.locked():
        there = {identity for identity, status in store.statuses().items() if status == "ok"}
        missing = [search for identity, search in everything.items() if identity not in there]
        count = {"done": len(everything) - len(missing)}
        progress(count["done"], len(everything))

        def settled(search: Trial, ok: bool) -> None:
            count["done"] += 1
            progress(count["done"], len(everything))

        if unfinished := run_trials(missing, store, min(workers, max(len(missing), 1)), None, settled):
            raise LookupGraphError(summary(unfinished))
        return [_graph(trial, resource, each, store) for (trial, resource, _), each in zip(graphs, searches, strict=True)]


def _graph(trial: Trial, resource: str, searches: Sequence[Trial], store: Store) -> Graph:
    nodes, broken, steps, seconds = [], [], 0.0, 0.0
    for search in searches:
        record, (limit,) = store.get(search.identity), search.limits
        if record["status"] != "ok" or not record["final"]:
            reason = record["failure"] or "nothing was delivered"
            raise LookupGraphError(f"the search under {limit} failed: {reason}; mend its cause and run the command again")
        final = record["final"]
        if final["violation"] is None:  # disconnected, or not supported on the device
            broken.append(limit.upper)
        else:
            nodes.append((limit.upper, final["cost"][resource]))
        steps += record["report"].get("steps") or 0.0
        seconds += store.timing(search.identity)["trial_seconds"]
    return Graph(
        basis_of(trial), trial.method, trial.space, trial.dataset, trial.device, resource,
        tuple(nodes), tuple(broken), len(searches), int(steps), round(seconds, 1),
    )  # fmt: skip


def graphs_of(trial: Trial, graphs: Sequence[Graph], source: str) -> list[Graph]:
    """Return the graphs of a trial's limited resources, among those of a file that errors call `source`.

    `LookupGraphError` if one is missing: there is none for the resource, or method, settings, table or recipe are others by now.
    """
    basis = basis_of(trial)
    chosen = []
    for resource in dict.fromkeys(limit.resource for limit in trial.limits if limit.upper < math.inf):
        found = next((graph for graph in graphs if graph.place == (basis, resource)), None)
        if found is None:
            place = f"{trial.space} on {trial.dataset}{f', {trial.device}' if trial.device else ''}"
            raise LookupGraphError(
                f"{source} has no look-up graph of {resource} for method '{trial.method}' with these settings, {place}, "
                "as the data are now; make it with `budgetnas lookup-graph STUDY`"
            )
        chosen.append(found)
    return chosen


def looked_up(trial: Trial, graphs: Sequence[Graph]) -> Trial:
    """Return the trial with its graphs as its setting `lookup`, a row a search."""
    rows: list[list[Any]] = []
    for graph in graphs:
        rows += [[graph.resource, limit, delivered] for limit, delivered in graph.nodes]
        rows += [[graph.resource, limit] for limit in graph.left_out]  # which cost as much as the others
    settings = dict(trial.settings) | {SETTING: rows}
    return replace(trial, settings=tuple(sorted(settings.items())))
