"""The contract of every method, of the project and of users. It is checked in seconds and without a download.

A method must:

- end by itself or when its allowance is spent, without an error;
- recommend a feasible architecture whenever it asked about one;
- give the same result for the same seed, whatever the state of the global generators;
- not depend on the seed, if it declares itself deterministic;
- be no worse than random search with the same allowance.

A method over a relaxation reads the whole table. It must only end without an error, recommend something, and repeat its result.

The comparison with random search is a statistical test. For each group of limits, a one-sided Mann-Whitney test compares the regrets over
the seeds; the independent p-values are combined by Stouffer's method. The method is refused if the result is below 0.001, so a method
exactly as good as random search is refused about once in a thousand checks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from budgetnas.harness.catalogue.catalogue import FoundMethod, check_class, find_method
from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.evaluators.registry import offers
from budgetnas.harness.problem import Allowance, Need
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR, canonical_json
from budgetnas.harness.records.trial import Record, Trial
from budgetnas.harness.trials.conduct import conduct
from budgetnas.spaces.devices import DIGITS201_BUILDER

DATASET, DEVICE = "digits201", DIGITS201_BUILDER  # the benchmark that ships with the project
FALSE_ALARM_RATE = 0.001
SEEDS, QUERIES = 20, 200  # searches for each group of limits, and queries of each search: the allowance of the project's studies
# LIMITS: a loose limit, a tight one, two at once, a lower bound, and none. CORNERS: few feasible cells, a single one, and none.
LIMITS: tuple[tuple[str, ...], ...] = (
    ("latency_ms@q50",),
    ("latency_ms@q10",),
    ("latency_ms@q50", "cycles<=160k"),
    ("latency_ms@q50", "params>=2k"),
    ("unlimited",),
)
CORNERS: tuple[tuple[str, ...], ...] = (("latency_ms@q0.1",), ("macs>=400k",), ("latency_ms<=0.0001",))


class ContractBroken(ValueError):
    """Raised for a method that breaks its contract. The message lists every broken clause."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of the contract: its text, and how the method broke it ('' if it did not)."""

    text: str
    broken: str


def check_method(
    method: type[Any], settings: Mapping[str, Any] | None = None, *, seeds: int = SEEDS, queries: int = QUERIES, raising: bool = True
) -> tuple[Clause, ...]:
    """Check a method against the contract, on the benchmark digits201, and return the clauses.

    Args:
        method: The class of the method.
        settings: Its settings; defaults are used for the others.
        seeds: The number of searches for each group of limits.
        queries: The allowance of each search.
        raising: Whether to raise for a broken clause. If False, the returned clauses show what is broken.

    Raises:
        ContractBroken: A clause is broken.
        MethodError: The class is not a method, or has no such setting.
    """
    reference = f"{method.__module__}:{method.__qualname__}" if isinstance(method, type) else repr(method)
    check_class(reference, method)
    clauses = _check(FoundMethod(reference, method, "check", plugin=True), dict(settings or {}), seeds, queries)
    broken = [f"{clause.text}: {clause.broken}" for clause in clauses if clause.broken]
    if broken and raising:
        raise ContractBroken(f"{reference} breaks {len(broken)} of {len(clauses)} clauses: " + "; ".join(broken))
    return clauses


def check_reference(reference: str, folder: Path, settings: Mapping[str, Any]) -> tuple[Clause, ...]:
    """Check a method given by reference and return the clauses; a broken one is not raised."""
    found = find_method(reference, folder)
    return _check(found, dict(settings), SEEDS, QUERIES)


def _check(found: FoundMethod, settings: dict[str, Any], seeds: int, queries: int) -> tuple[Clause, ...]:
    settings = found.settings(settings)
    tabulated = tabulated_space_of("nasbench201", DATASET, DEVICE)
    if lacking := found.needs - offers(DEFAULT_EVALUATOR, tabulated.space):
        names = ", ".join(sorted(need.value for need in lacking))
        return (Clause("needs nothing that a table lacks", f"it needs {names}, which the check's benchmark does not offer here"),)
    if Need.RELAXATION in found.needs:
        return _check_relaxed(tabulated, found, settings, queries)
    trials = [_trials(tabulated, limits, found, settings, 1 if found.deterministic else seeds, queries) for limits in LIMITS]
    corners = [_trials(tabulated, limits, found, settings, 1, queries) for limits in CORNERS]
    records: list[list[Record]] = [[] for _ in LIMITS]
    corner_records: list[Record] = []
    kept = [*zip(records, trials, strict=True), *((corner_records, group) for group in corners)]
    # One trial for every group of limits, then the next round. The check stops at the first failure, which may have cost minutes.
    for place in range(max(len(group) for group in trials)):
        for done, group in kept:
            if place < len(group):
                done.append(conduct(found, group[place]))
                if done[-1]["failure"]:
                    return (Clause("ends without an error", done[-1]["failure"]),)
    everything = [record for group in records for record in group] + corner_records
    clauses = [
        Clause("ends without an error", ""),
        Clause("recommends something feasible whenever it asked about something feasible", _unseen(tabulated, everything)),
        Clause(
            "does the same again for the same seed", _unrepeatable(found, [group[0] for group in trials], [group[0] for group in records])
        ),
    ]
    if found.deterministic:
        clauses.append(Clause("is deterministic, as declared", _seed_dependent(tabulated, found, settings, queries)))
    if not any(clause.broken for clause in clauses):
        clauses.append(
            Clause("is no worse than random search at the same allowance", _worse_than_random(tabulated, records, seeds, queries))
        )
    return tuple(clauses)


def _check_relaxed(tabulated: TabulatedSpace, found: FoundMethod, settings: dict[str, Any], queries: int) -> tuple[Clause, ...]:
    """Return the clauses for a method over a relaxation. It reads the whole table, so no rival has an equal allowance."""
    trials = [_trials(tabulated, limits, found, settings, 1, queries)[0] for limits in (LIMITS[0], LIMITS[3], CORNERS[-1])]
    records = []
    for trial in trials:
        records.append(conduct(found, trial))
        if records[-1]["failure"]:
            return (Clause("ends without an error", records[-1]["failure"]),)
    silent = next((f"{_where(record)}, it recommended nothing" for record in records if record["final"] is None), "")
    return (
        Clause("ends without an error", ""),
        Clause("recommends something, feasible or not", silent),
        Clause("does the same again for the same seed", _unrepeatable(found, trials[:1], records[:1])),
    )


def _trials(
    tabulated: TabulatedSpace, limits: Sequence[str], found: FoundMethod, settings: dict[str, Any], seeds: int, queries: int, first: int = 0
) -> list[Trial]:
    bounds = resolve(tabulated, limits)
    return [
        Trial(
            space=tabulated.space.name,
            dataset=DATASET,
            device=DEVICE,
            limits=bounds.limits,
            allowance=Allowance(queries),
            validation="mean",
            method=found.reference,
            settings=tuple(sorted(settings.items())),
            version=found.version,
            table=tabulated.table.checksum,
            seed=seed,
        )
        for seed in range(first, first + seeds)
    ]


def _where(record: Record) -> str:
    trial = record["trial"]
    limits = ",".join(f"{x['resource']} {x['lower']:g} to {x['upper'] if x['upper'] is not None else 'any'}" for x in trial["limits"])
    return f"with the limits {limits or 'none'}, seed {trial['seed']}"


def _unseen(tabulated: TabulatedSpace, records: Sequence[Record]) -> str:
    for record in records:
        admitted = _admitted(tabulated, record)
        asked = [key for kind, keys in record["questions"] if kind == "accuracy" for key in keys]
        if any(admitted[key] for key in asked) and not (record["final"] and record["final"]["feasible"]):
            return f"{_where(record)}, it asked about feasible architectures and recommended an infeasible one"
    return ""


def _admitted(tabulated: TabulatedSpace, record: Record) -> Any:
    from budgetnas.harness.problem import Limit

    limits = [Limit(x["resource"], float("inf") if x["upper"] is None else x["upper"], x["lower"]) for x in record["trial"]["limits"]]
    return tabulated.admitted(limits)


def _unrepeatable(found: FoundMethod, trials: Sequence[Trial], records: Sequence[Record]) -> str:
    state, old_state = random.getstate(), np.random.get_state()
    try:
        for trial, record in zip(trials, records, strict=True):
            random.seed(f"another start {trial.seed}")
            np.random.seed(12345)
            if canonical_json(conduct(found, trial)) != canonical_json(record):
                return f"{_where(record)}, a second run asked or recommended something else; draw from the given `rng` alone"
    finally:
        random.setstate(state)
        np.random.set_state(old_state)
    return ""


def _seed_dependent(tabulated: TabulatedSpace, found: FoundMethod, settings: dict[str, Any], queries: int) -> str:
    runs = [conduct(found, trial) for trial in _trials(tabulated, LIMITS[0], found, settings, 2, queries)]
    return "" if runs[0]["questions"] == runs[1]["questions"] else "two seeds asked different questions; leave `deterministic` out"


def _worse_than_random(tabulated: TabulatedSpace, records: Sequence[Sequence[Record]], seeds: int, queries: int) -> str:
    rival = find_method("random_search")
    own_regrets, rival_regrets = [], []
    for limits, group in zip(LIMITS, records, strict=True):
        # Random search gets other seeds, so that a method that draws in the same way is still independent of it.
        randoms = [
            conduct(rival, trial) for trial in _trials(tabulated, limits, rival, rival.settings({}), max(seeds, 20), queries, first=1000)
        ]
        own_regrets.append(_regrets(tabulated, group))
        rival_regrets.append(_regrets(tabulated, randoms))
    p = p_value(own_regrets, rival_regrets)
    if p >= FALSE_ALARM_RATE:
        return ""
    pairs = ", ".join(f"{np.mean(own):.2f} against {np.mean(other):.2f}" for own, other in zip(own_regrets, rival_regrets, strict=True))
    return f"its mean regrets are {pairs} points; a method as good as random search does so with probability {p:.1g}"


def p_value(own: Sequence[Sequence[float]], rival: Sequence[Sequence[float]]) -> float:
    """Return the p-value of the hypothesis that a method is no worse than its rival.

    One-sided Mann-Whitney tests are combined by Stouffer's method. A group of limits with equal regrets has the p-value 0.5.

    Args:
        own: The regrets of the method, one list for each group of limits.
        rival: The regrets of the rival, in the same order.
    """
    from scipy.stats import combine_pvalues, mannwhitneyu

    p_values = [
        float(mannwhitneyu(ours, theirs, alternative="greater").pvalue) if np.ptp([*ours, *theirs]) else 0.5
        for ours, theirs in zip(own, rival, strict=True)
    ]
    return float(combine_pvalues(np.clip(p_values, 1e-12, 1 - 1e-12), method="stouffer").pvalue)


def _regrets(tabulated: TabulatedSpace, records: Sequence[Record]) -> list[float]:
    """Return the regrets in percentage points; without a feasible recommendation, the accuracy of guessing counts."""
    best = [record["oracle"]["best_by_test"]["test"] for record in records]
    return [
        record["regret"] if record["regret"] is not None else optimum - tabulated.task.chance
        for record, optimum in zip(records, best, strict=True)
    ]
