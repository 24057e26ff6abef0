"""Random search: it samples the feasible architectures uniformly without repetition, and it ends."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from budgetnas.harness.costs.tabulated_space import Landscape
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, AllowanceSpent, Architecture, Limit, Need, Problem
from budgetnas.harness.trials.meter import Meter
from budgetnas.methods.random_search import RandomSearch
from budgetnas.spaces.nasbench201.space import NASBench201
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


def run(
    limits: tuple[Limit, ...], queries: int | None = 200, seed: int = 0, method: RandomSearch | None = None
) -> tuple[list[Architecture], Meter]:
    """Return the recommendations, in order, and the meter that recorded the questions."""
    meter = Meter(TableEvaluator(LANDSCAPE), None, SPACE, Allowance(queries))
    problem = Problem(SPACE, task_of(DATASET), DEVICE, limits, Allowance(queries))
    found = []
    try:
        for (arch,) in (method or RandomSearch()).search(problem, meter, np.random.default_rng(seed)):
            found.append(arch)
    except AllowanceSpent:
        pass
    return found, meter


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_queries_only_feasible_architectures_once_and_recommends_the_best(limits: tuple[Limit, ...]) -> None:
    found, meter = run(limits)
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


def test_finds_every_member_of_a_tiny_region_and_ends() -> None:
    limits = (Limit("latency_ms", lower=6.2),)
    _, meter = run(limits, queries=None)
    assert 0 < LANDSCAPE.admitted(limits).sum() < 10
    assert set(meter.answers) == set(np.flatnonzero(LANDSCAPE.admitted(limits)))


def test_ends_without_a_query_if_nothing_is_feasible() -> None:
    assert not LANDSCAPE.admitted(EMPTY).any()
    found, meter = run(EMPTY)
    assert (found, meter.queries) == ([], 0)


def test_ends_after_patience_draws_without_a_new_feasible_architecture() -> None:
    _, meter = run(EMPTY, method=RandomSearch(patience=300))
    assert 300 <= len(meter.log) <= 600


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="patience of random search is 0 draws; give 1 or more"):
        RandomSearch(patience=0)


class Small:
    """A space of 24 architectures, of which the twelve with an even sum of genes are connected."""

    name = "small"
    arity = (3, 2, 4)
    identity = None

    def connected(self, arch: Architecture) -> bool:
        return sum(arch.genes) % 2 == 0


class FirstQuestion:
    """An evaluator that records the architectures of its questions."""

    offers = frozenset({Need.ACCURACY})

    def __init__(self) -> None:
        self.asked: list[Architecture] = []

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        return {}

    def accuracy(self, arch: Architecture) -> float:
        self.asked.append(arch)
        return 50.0

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, options: Mapping[str, Any]) -> Any:
        raise NotImplementedError


def test_all_feasible_architectures_are_equally_likely() -> None:
    problem = Problem(Small(), task_of(DATASET), None, (), Allowance(None))  # type: ignore[arg-type]
    counts: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for seed in range(600):
        evaluator = FirstQuestion()
        list(RandomSearch().search(problem, evaluator, np.random.default_rng(seed)))
        assert len(evaluator.asked) == len(set(evaluator.asked)) == math.prod(Small.arity) // 2
        counts.update((place, evaluator.asked[at].genes) for place, at in (("first", 0), ("last", -1)))
    for place in ("first", "last"):
        seen = [count for (where, _), count in counts.items() if where == place]
        assert len(seen) == 12
        assert chisquare(seen).pvalue > 1e-4  # uniform draws fail for one set of seeds in 10,000
