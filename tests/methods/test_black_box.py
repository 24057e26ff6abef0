"""What all methods keep that only ask for accuracies: within allowance and limits, repeatable, with an end, and better than chance."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from searching import EMPTY, LANDSCAPE, LIMITS, SEVEN_CELLS, Blocks, Limits, Rated, run, validations

from budgetnas.harness.problem import Allowance, Limit, Method, Problem
from budgetnas.methods.local_search import LocalSearch
from budgetnas.methods.nsga2 import NSGA2
from budgetnas.methods.random_search import RandomSearch
from budgetnas.methods.regularized_evolution import RegularizedEvolution
from budgetnas.methods.tpe import TPE
from budgetnas.spaces.tables.closed_form import DATASET
from budgetnas.spaces.task import task_of

pytestmark = pytest.mark.slow

METHODS: dict[str, Method] = {
    "random search": RandomSearch(),
    "local search, first improvement": LocalSearch(first_improvement=True),
    "local search, steepest": LocalSearch(first_improvement=False),
    "regularized evolution": RegularizedEvolution(),
    "NSGA-II": NSGA2(),
    "TPE": TPE(),
}


@pytest.fixture(params=METHODS.values(), ids=METHODS)
def method(request: pytest.FixtureRequest) -> Method:
    found: Method = request.param
    return found


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_it_asks_feasible_ones_once_until_its_allowance_or_the_region_is_spent(method: Method, limits: Limits) -> None:
    searched, admitted = run(method, limits), LANDSCAPE.admitted(limits)
    assert len(searched.asked) == searched.meter.queries == min(200, admitted.sum())
    assert all(admitted[searched.asked])
    assert searched.meter.repeats == 0
    assert searched.ended == (admitted.sum() < 200)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_it_recommends_the_best_one_asked(method: Method, limits: Limits) -> None:
    searched = run(method, limits, seed=5)
    assert max(validations(searched.recommended[-1])) == searched.best
    if not isinstance(method, NSGA2):  # which recommends fronts
        records = np.maximum.accumulate(list(searched.meter.answers.values()))
        assert [value for archs in searched.recommended for value in validations(archs)] == sorted(set(records))


@pytest.mark.parametrize("limits", [(), LIMITS["one"], LIMITS["several"]], ids=["none", "one", "several"])
def test_a_seed_decides_everything(method: Method, limits: Limits) -> None:
    first, again, other = (run(method, limits, seed, queries=60) for seed in (3, 3, 4))
    assert (first.meter.log, first.recommended) == (again.meter.log, again.recommended)
    assert first.meter.log != other.meter.log


def test_it_touches_no_global_state_and_depends_on_none_prints_nothing_and_warns_of_nothing(
    method: Method, capfd: pytest.CaptureFixture[str]
) -> None:
    before = random.getstate(), repr(np.random.get_state())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = run(method, LIMITS["one"], seed=4, queries=40)
    assert (random.getstate(), repr(np.random.get_state())) == before
    assert tuple(capfd.readouterr()) == ("", "")
    random.seed(123)
    np.random.seed(123)
    assert run(method, LIMITS["one"], seed=4, queries=40).meter.log == first.meter.log


def test_an_allowance_of_one_is_used(method: Method) -> None:
    searched = run(method, LIMITS["one"], queries=1)
    assert (len(searched.asked), len(searched.recommended), searched.ended) == (1, 1, False)


def test_it_ends_by_itself_in_a_tiny_region(method: Method) -> None:
    searched, admitted = run(method, SEVEN_CELLS, queries=None), LANDSCAPE.admitted(SEVEN_CELLS)
    assert set(searched.asked) == set(np.flatnonzero(admitted)) and len(searched.asked) == 7
    assert searched.ended


def test_it_ends_without_a_question_where_nothing_is_feasible(method: Method) -> None:
    assert not LANDSCAPE.admitted(EMPTY).any()
    searched = run(method, EMPTY)
    assert (searched.asked, searched.recommended, searched.ended) == ([], [], True)


def test_a_space_of_six_is_asked_whole_and_the_search_ends(method: Method) -> None:
    space, evaluator = Blocks((2, 1, 3)), Rated(lambda genes: float(sum(genes)), lambda genes: {"params": float(genes[0])})
    problem = Problem(space, task_of(DATASET), None, (), Allowance(None))  # type: ignore[arg-type]  # only what a method uses
    recommended = list(method.search(problem, evaluator, np.random.default_rng(0)))  # type: ignore[arg-type]
    assert set(evaluator.asked) == {(a, 0, b) for a in range(2) for b in range(3)}
    assert (1, 0, 2) in {arch.genes for arch in recommended[-1]}


@pytest.mark.parametrize("limits", [(), (Limit("latency_ms", 3.0),)], ids=["none", "one"])
@pytest.mark.parametrize("better", [name for name in METHODS if name != "random search"])
def test_it_beats_random_search(better: str, limits: Limits) -> None:
    """Were it no better, it would pass with a probability of 1 in 1,000 (one-sided Mann-Whitney test)."""
    seeds, queries = (12, 60) if better == "TPE" else (20, 200)  # TPE is slow, and soon ahead
    mine, chance = ([run(method, limits, seed, queries).best for seed in range(seeds)] for method in (METHODS[better], RandomSearch()))
    assert mannwhitneyu(mine, chance, alternative="greater").pvalue < 1e-3
