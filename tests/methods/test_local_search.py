"""Local search: it climbs to local optima, reduces violations without queries, restarts, ends, and beats random search."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from budgetnas.harness.costs.tabulated_space import Landscape
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, AllowanceSpent, Architecture, Limit, Method, Problem
from budgetnas.harness.trials.meter import Meter
from budgetnas.methods.local_search import LocalSearch, _Walk
from budgetnas.methods.random_search import RandomSearch
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.space import neighbours, sample
from budgetnas.spaces.tables.closed_form import DATASET, DEVICE, closed_form_table
from budgetnas.spaces.task import task_of

SPACE = NASBench201()
LANDSCAPE = Landscape(SPACE, closed_form_table(), task_of(DATASET), DEVICE)
LIMITS = {
    "none": (),
    "one": (Limit("latency_ms", 2.0),),
    "several": (Limit("latency_ms", 2.5), Limit("energy_mj", 12.0), Limit("params", lower=3e5)),
    "both ends": (Limit("macs", 6e7, 3e7), Limit("latency_ms", lower=2.0)),
}
EMPTY = (Limit("latency_ms", 1.2), Limit("params", lower=2e5))


def ask(limits: tuple[Limit, ...], queries: int | None) -> tuple[Problem, Meter]:
    problem = Problem(SPACE, task_of(DATASET), DEVICE, limits, Allowance(queries))
    return problem, Meter(TableEvaluator(LANDSCAPE), None, SPACE, Allowance(queries))


def run(
    limits: tuple[Limit, ...], queries: int | None = 200, seed: int = 0, method: Method | None = None
) -> tuple[list[Architecture], Meter]:
    """Return the recommendations, in order, and the meter that recorded the questions."""
    problem, meter = ask(limits, queries)
    found = []
    try:
        for (arch,) in (method or LocalSearch()).search(problem, meter, np.random.default_rng(seed)):
            found.append(arch)
    except AllowanceSpent:
        pass
    return found, meter


@pytest.mark.parametrize("first_improvement", [True, False])
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_queries_only_feasible_architectures_once_and_recommends_the_best(limits: tuple[Limit, ...], first_improvement: bool) -> None:
    found, meter = run(limits, method=LocalSearch(first_improvement))
    admitted = LANDSCAPE.admitted(limits)
    assert meter.queries == min(200, admitted.sum())
    assert meter.repeats == 0
    assert all(admitted[list(meter.answers)])
    records = list(np.maximum.accumulate(list(meter.answers.values())))
    assert [LANDSCAPE.validation[SPACE.index(arch)] for arch in found] == sorted(set(records))


def test_the_seed_decides_the_search_and_global_random_state_is_unchanged() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    first, again, other = (run(LIMITS["one"], seed=seed)[1].log for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[union-attr]


def test_reaches_a_tiny_region_by_smaller_violations_and_ends() -> None:
    limits = (Limit("latency_ms", lower=6.2),)
    assert 0 < LANDSCAPE.admitted(limits).sum() < 10
    found, meter = run(limits, queries=None, method=LocalSearch(patience=50))
    assert found
    assert LANDSCAPE.admitted(limits)[list(meter.answers)].all()


def test_ends_without_a_query_if_nothing_is_feasible() -> None:
    assert not LANDSCAPE.admitted(EMPTY).any()
    found, meter = run(EMPTY)
    assert (found, meter.queries) == ([], 0)


@pytest.mark.parametrize("first_improvement", [True, False])
def test_a_climb_ends_when_no_feasible_neighbour_is_better(first_improvement: bool) -> None:
    problem, meter = ask(LIMITS["one"], None)
    admitted, validation = LANDSCAPE.admitted(problem.limits), LANDSCAPE.validation
    for seed, start in enumerate(np.flatnonzero(admitted)[::200]):
        walk = _Walk(problem, meter, np.random.default_rng(seed))
        answers = dict(walk.climb(SPACE.at(int(start)), first_improvement))
        top = max(answers, key=answers.__getitem__)
        near = [SPACE.index(arch) for arch in neighbours(SPACE, top)]
        assert max([validation[index] for index in near if admitted[index]], default=0.0) <= answers[top]


def test_without_first_improvement_a_climb_takes_the_steepest_step() -> None:
    problem, meter = ask((), None)
    walk = _Walk(problem, meter, np.random.default_rng(0))
    start = arch = SPACE.decode("|skip_connect~0|+|none~0|none~1|+|none~0|avg_pool_3x3~1|none~2|")
    asked, steps = {SPACE.index(arch)}, 0
    while True:
        near = [SPACE.index(other) for other in neighbours(SPACE, arch)]
        near = [index for index in near if LANDSCAPE.eligible[index]]
        asked |= set(near)
        top = max(near, key=LANDSCAPE.validation.__getitem__)
        if LANDSCAPE.validation[top] <= LANDSCAPE.validation[SPACE.index(arch)]:
            break
        arch, steps = SPACE.at(top), steps + 1
    assert steps > 2
    assert {SPACE.index(other) for other, _ in walk.climb(start, first_improvement=False)} == asked


def test_a_descent_costs_no_query_and_ends_feasible_or_when_no_neighbour_has_a_smaller_violation() -> None:
    problem, meter = ask(LIMITS["several"], None)
    rng = np.random.default_rng(0)
    walk, ends = _Walk(problem, meter, rng), []
    for _ in range(100):
        start = sample(SPACE, rng)
        end = walk.descend(start)
        ends.append(end is not None)
        if end is not None:
            assert walk.violation(end) == 0.0
    assert any(ends)
    assert meter.queries == 0
    out_of_reach = ask((Limit("params", lower=1e9),), None)[0]
    assert _Walk(out_of_reach, meter, rng).descend(SPACE.at(0)) is None


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="patience of local search is 0 restarts; give 1 or more"):
        LocalSearch(patience=0)


@pytest.mark.parametrize("limits", [(), (Limit("latency_ms", 3.0),)], ids=["none", "one"])
def test_better_than_random_search(limits: tuple[Limit, ...]) -> None:
    """A search no better than random would pass with a probability of 1 in 1,000 (one-sided Mann-Whitney test over 20 seeds each)."""
    bests = [
        [max(run(limits, seed=seed, method=method)[1].answers.values()) for seed in range(20)] for method in (LocalSearch(), RandomSearch())
    ]
    assert mannwhitneyu(*bests, alternative="greater").pvalue < 1e-3
