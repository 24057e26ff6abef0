"""Look-up graphs of DCA-NAS: which cost a search delivers under which search limit.

A study names the file of its graphs at a method, as in `lookup = "graphs.json"`, and `budgetnas lookup-graph STUDY` makes that file. The
searches behind the graphs are trials, and a store keeps their records. A trial of the method gets the rows for its space, dataset, device
and resources as plain values of its setting `lookup`, which are part of its identity. The method's class attribute `lookup_searches` gives
the settings in which the searches of a graph differ from the method's own.
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
    """Raised if a look-up graph cannot be made, read or used for a trial. The message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The search limits of a graph: `points` limits, evenly spaced in the logarithm, with `seeds` searches at each."""

    lowest: float
    highest: float
    points: int = 16
    seeds: int = 3

    def __post_init__(self) -> None:
        if not (0 < self.lowest < self.highest < math.inf and self.points >= 2 and self.seeds >= 1):
            raise LookupGraphError(
                f"cannot make a grid of {self.points} search limits from {self.lowest:g} to {self.highest:g} with {self.seeds} seeds; "
                "give 2 or more limits, the lowest above 0 and below the highest, and 1 or more seeds"
            )

    @property
    def limits(self) -> list[float]:
        """The search limits, ascending."""
        return [float(f"{limit:.12g}") for limit in np.geomspace(self.lowest, self.highest, self.points)]


@dataclass(frozen=True, slots=True)
class Graph:
    """The results of searches under a range of limits on one resource, and what these searches took.

    `basis` is the hash of everything that a search depends on, except its limit and its seed. A search that delivered a disconnected or
    unsupported network has no cost: it is not a node, and its search limit is in `left_out`. `promised` is the envelope; it skips the
    search limits at which half of the searches or more are in `left_out`.
    """

    basis: str
    method: str
    space: str
    dataset: str
    device: str | None
    resource: str
    nodes: tuple[tuple[float, float], ...]  # (search limit, exact cost delivered) in the unit of the resource, one for each search
    left_out: tuple[float, ...]  # search limits, one for each search
    searches: int
    steps: int
    seconds: float  # of wall-clock time, the sum over all searches

    @property
    def place(self) -> tuple[str, str]:
        """The key of the graph: its basis and resource."""
        return self.basis, self.resource

    @property
    def title(self) -> str:
        """The title of the graph, one line."""
        return f"{self.method} in {self.space}, {self.resource} on {self.dataset}{f', {self.device}' if self.device else ''}"

    @property
    def promised(self) -> list[tuple[float, float]]:
        """The envelope: pairs of a search limit and the highest cost that it promises."""
        return envelope(self.nodes, self.left_out)

    @property
    def covered(self) -> str:
        """The range of limits that can be looked up, as text."""
        promised = self.promised
        return f"from {promised[0][1]:.6g} to {promised[-1][1]:.6g}" if promised else "none"


def looks_up(trial: Trial) -> bool:
    """Return whether the method of a trial uses look-up graphs."""
    return hasattr(find_method(trial.method, trial.folder).cls, "lookup_searches")


def without_file(settings: Mapping[str, Any], cls: type[Any]) -> tuple[dict[str, Any], str | None]:
    """Return a method's settings without the file of its look-up graphs, and that file; None if the method uses none."""
    named = settings.get(SETTING)
    if not isinstance(named, str) or not hasattr(cls, "lookup_searches"):
        return dict(settings), None
    return {name: value for name, value in settings.items() if name != SETTING}, named


def search_of(trial: Trial, resource: str, limit: float, seed: int) -> Trial:
    """Return one of the searches behind a graph for this trial: the same method under one search limit, without a graph."""
    plain: dict[str, Any] = dict(find_method(trial.method, trial.folder).cls.lookup_searches)
    settings = tuple(sorted((dict(trial.settings) | plain).items()))
    return replace(trial, limits=(Limit(resource, limit),), settings=settings, seed=seed)


def basis_of(trial: Trial) -> str:
    """Return the hash of all that a graph for this trial depends on, except its grid: space, data, device, table or recipe, method."""
    payload = search_of(trial, "", 0.0, 0).payload()
    return identity_of({name: value for name, value in payload.items() if name not in ("limits", "seed", "allowance")})


def wanted(trials: Iterable[Trial]) -> list[tuple[Trial, str, tuple[float, ...]]]:
    """Return the graphs that trials need, each as (one of the trials, resource, all upper limits on it in ascending order)."""
    found: dict[tuple[str, str], tuple[Trial, set[float]]] = {}
    for trial in trials:
        for limit in trial.limits if looks_up(trial) else ():
            if limit.upper < math.inf:
                found.setdefault((basis_of(trial), limit.resource), (trial, set()))[1].add(limit.upper)
    return [(trial, resource, tuple(sorted(uppers))) for (_, resource), (trial, uppers) in found.items()]


def default_range(trial: Trial, resource: str, uppers: Sequence[float]) -> tuple[float, float]:
    """Return the default range of a graph's search limits: from half the tightest limit to twice the loosest.

    In a supernet, parameters and MACs are bounded in the search network (equation 3), and its size is unrelated to the limits of the
    evaluation network. There the range goes from the lowest possible value to twice the value when all operations have equal weights.
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
    """Run the searches that the store has no record of, `workers` at a time, and return the graphs.

    Any store can be used: records are found by identity, so a wider or finer grid reuses earlier searches.

    Raises:
        LookupGraphError: A search failed; the message gives the reason. It runs again the next time.
        RunError: A record is damaged.
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
            raise LookupGraphError(f"the search under {limit} failed: {reason}; fix the cause and run the command again")
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
    """Return, from the graphs of a file, those for the resources that a trial limits. `source` names the file in errors.

    Raises:
        LookupGraphError: A graph is missing: there is none for the resource, or the method, settings, table or recipe have changed since.
    """
    basis = basis_of(trial)
    chosen = []
    for resource in dict.fromkeys(limit.resource for limit in trial.limits if limit.upper < math.inf):
        found = next((graph for graph in graphs if graph.place == (basis, resource)), None)
        if found is None:
            place = f"{trial.space} on {trial.dataset}{f', {trial.device}' if trial.device else ''}"
            raise LookupGraphError(
                f"{source} has no look-up graph of {resource} for method '{trial.method}' with the present settings and data, {place}; "
                "make it with `budgetnas lookup-graph STUDY`"
            )
        chosen.append(found)
    return chosen


def looked_up(trial: Trial, graphs: Sequence[Graph]) -> Trial:
    """Return the trial with the graphs in its setting `lookup`, one row for each search."""
    rows: list[list[Any]] = []
    for graph in graphs:
        rows += [[graph.resource, limit, delivered] for limit, delivered in graph.nodes]
        rows += [[graph.resource, limit] for limit in graph.left_out]  # these searches took as long as the others
    settings = dict(trial.settings) | {SETTING: rows}
    return replace(trial, settings=tuple(sorted(settings.items())))
