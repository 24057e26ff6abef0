"""Regularized evolution: feasibility first, ageing, tournaments, it ends, and it beats random search."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from budgetnas.harness.costs.tabulated_space import Landscape
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, AllowanceSpent, Architecture, Limit, Method, Problem
from budgetnas.harness.trials.meter import Meter
from budgetnas.methods.random_search import RandomSearch
from budgetnas.methods.regularized_evolution import RegularizedEvolution, _mutant, _winner
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
    limits: tuple[Limit, ...], queries: int | None = 200, seed: int = 0, method: Method | None = None
) -> tuple[list[Architecture], Meter]:
    """Return the recommendations, in order, and the meter that recorded the questions."""
    meter = Meter(TableEvaluator(LANDSCAPE), None, SPACE, Allowance(queries))
    problem = Problem(SPACE, task_of(DATASET), DEVICE, limits, Allowance(queries))
    found = []
    try:
        for (arch,) in (method or RegularizedEvolution()).search(problem, meter, np.random.default_rng(seed)):
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


def test_reaches_a_tiny_region_by_smaller_violations_and_ends() -> None:
    limits = (Limit("latency_ms", lower=6.2),)
    assert 0 < LANDSCAPE.admitted(limits).sum() < 10
    found, meter = run(limits, queries=None)
    assert found
    assert LANDSCAPE.admitted(limits)[list(meter.answers)].all()


def test_ends_without_a_query_if_nothing_is_feasible() -> None:
    assert not LANDSCAPE.admitted(EMPTY).any()
    found, meter = run(EMPTY)
    assert (found, meter.queries) == ([], 0)


def test_in_a_population_of_one_even_a_worse_child_replaces_the_member() -> None:
    _, meter = run((Limit("latency_ms", 4.0),), method=RegularizedEvolution(population=1, sample=1))
    walk = [SPACE.at(index) for index in meter.answers]  # type: ignore[arg-type]
    distances = [sum(a != b for a, b in zip(before.genes, after.genes, strict=True)) for before, after in pairwise(walk)]
    assert distances == [1] * 199
    assert min(np.diff(list(meter.answers.values()))) < 0.0


@pytest.mark.parametrize(("size", "draws"), [(10, 1), (10, 3), (100, 25), (4, 10)])
def test_a_tournament_by_one_uniform_number_has_the_distribution_of_all_its_draws(size: int, draws: int) -> None:
    grid = 100_000
    places = [_winner(size, 1.0 / draws, (i + 0.5) / grid) for i in range(grid)]
    expected = [((size - j) / size) ** draws - ((size - j - 1) / size) ** draws for j in range(size)]
    np.testing.assert_allclose(np.bincount(places, minlength=size) / grid, expected, atol=1.5 / grid)
    assert _winner(size, 1.0 / draws, 0.0) == 0
    assert _winner(size, 1.0 / draws, 1.0 - 2.0**-53) < size  # the greatest number that a generator draws


def test_a_mutant_differs_in_the_given_gene_and_all_other_values_are_equally_likely() -> None:
    mutants = [_mutant((0, 2, 1), (2, 4, 3), 1, (i + 0.5) / 300) for i in range(300)]
    assert {mutant: mutants.count(mutant) for mutant in mutants} == {(0, 3, 1): 100, (0, 0, 1): 100, (0, 1, 1): 100}


@pytest.mark.parametrize("setting", ["population", "sample", "refill", "patience"])
def test_settings_below_one_are_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} of regularized evolution is 0; give 1 or more"):
        RegularizedEvolution(**{setting: 0})


class Single(NASBench201):
    """A space of one architecture."""

    name = "single"
    arity = (1, 1)

    def connected(self, arch: Architecture) -> bool:
        return True


class AlwaysTheSame(TableEvaluator):
    """An evaluator with the same answer for all architectures."""

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        return {}

    def accuracy(self, arch: Architecture) -> float:
        return 50.0


def test_the_architecture_of_a_space_of_one_is_queried_once() -> None:
    evaluator = AlwaysTheSame(LANDSCAPE)
    problem = Problem(Single(), task_of(DATASET), None, (), Allowance(None))
    found = list(RegularizedEvolution().search(problem, evaluator, np.random.default_rng(0)))
    assert found == [(Architecture("single", (0, 0)),)]


@pytest.mark.parametrize("limits", [(), (Limit("latency_ms", 3.0),)], ids=["none", "one"])
def test_better_than_random_search(limits: tuple[Limit, ...]) -> None:
    """A search no better than random would pass with a probability of 1 in 1,000 (one-sided Mann-Whitney test over 20 seeds each)."""
    bests = [
        [max(run(limits, seed=seed, method=method)[1].answers.values()) for seed in range(20)]
        for method in (RegularizedEvolution(), RandomSearch())
    ]
    assert mannwhitneyu(*bests, alternative="greater").pvalue < 1e-3
