"""NSGA-II: it stays within its allowance, queries feasible architectures only, is repeatable, returns a true front, and beats random."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from budgetnas.harness.problem import Allowance, AllowanceSpent, Architecture, Evaluator, Limit, Method, Need, Problem
from budgetnas.methods.nsga2 import NSGA2, _Front, _scales
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.space import sample
from budgetnas.spaces.tables.accuracy import accuracy
from budgetnas.spaces.tables.closed_form import closed_form_table
from budgetnas.spaces.tables.hardware import device_cost
from budgetnas.spaces.task import task_of

pytestmark = pytest.mark.slow

SPACE = NASBench201()
TABLE = closed_form_table()
ACCURACY = accuracy(TABLE, "closed-form", "validation").tolist()
PARAMS, MACS = (column.tolist() for column in SPACE.complexities(task_of("closed-form")))
LATENCY_MS, ENERGY_MJ = (device_cost(TABLE, name, "closed-form", "closed-form").tolist() for name in ("latency_ms", "energy_mj"))

LIMITS = {
    "none": (),
    "one": (Limit("latency_ms", 2.0),),
    "several": (Limit("latency_ms", 2.5), Limit("energy_mj", 12.0), Limit("params", lower=3e5)),
    "lower only": (Limit("params", lower=7e5),),
    "both ends": (Limit("macs", 6e7, 3e7), Limit("latency_ms", lower=2.0)),
    "seven cells": (Limit("latency_ms", lower=6.2),),
}
IMPOSSIBLE = (Limit("latency_ms", 1.2), Limit("params", lower=2e5))


class ClosedForm:
    """An evaluator of the closed-form table that refuses new accuracies beyond its allowance and records all questions."""

    offers = frozenset({Need.ACCURACY})

    def __init__(self, allowance: int):
        self.allowance = allowance
        self.questions: list[int] = []

    def cost(self, arch: Architecture) -> dict[str, float]:
        i = SPACE.index(arch)
        return {"params": PARAMS[i], "macs": MACS[i], "latency_ms": LATENCY_MS[i], "energy_mj": ENERGY_MJ[i]}

    def accuracy(self, arch: Architecture) -> float:
        i = SPACE.index(arch)
        if i not in self.questions and len(set(self.questions)) >= self.allowance:
            raise AllowanceSpent(f"{self.allowance} queries are spent")
        self.questions.append(i)
        return ACCURACY[i]

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, options: Mapping[str, Any]) -> Any:
        raise NotImplementedError


def run(
    method: Method, limits: tuple[Limit, ...], seed: int, allowance: int = 200
) -> tuple[ClosedForm, list[tuple[Architecture, ...]], bool]:
    """Return the evaluator with its questions, all recommendations, and whether the search ended before its allowance was spent."""
    evaluator = ClosedForm(allowance)
    problem = Problem(SPACE, task_of("closed-form"), "closed-form", limits, Allowance(allowance))
    recommendations = []
    try:
        for recommendation in method.search(problem, evaluator, np.random.default_rng(seed)):
            recommendations.append(recommendation)
    except AllowanceSpent:
        return evaluator, recommendations, False
    return evaluator, recommendations, True


def feasible(index: int, limits: tuple[Limit, ...]) -> bool:
    arch = SPACE.at(index)
    return SPACE.connected(arch) and all(limit.excess(ClosedForm(0).cost(arch)[limit.resource]) == 0 for limit in limits)


class Random:
    """The simplest random search, for comparison."""

    needs = frozenset({Need.ACCURACY})

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        best, asked = -np.inf, set()
        while True:
            arch = sample(problem.space, rng)
            if arch not in asked and problem.feasible(arch, evaluator.cost(arch)):
                asked.add(arch)
                found = evaluator.accuracy(arch)
                if found > best:
                    best = found
                    yield (arch,)


class Handful:
    """A space of six connected architectures, in which one gene has a single value."""

    name = "handful"
    arity = (2, 1, 3)
    identity = None

    def connected(self, arch: Architecture) -> bool:
        return True


class OfHandful(ClosedForm):
    """An evaluator of that space: accuracy is the sum of the genes, `params` is the first gene."""

    def cost(self, arch: Architecture) -> dict[str, float]:
        return {"params": float(arch.genes[0])}

    def accuracy(self, arch: Architecture) -> float:
        self.questions.append(arch.genes[0] * 3 + arch.genes[2])
        return float(sum(arch.genes))


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_the_same_seed_asks_the_same_questions_and_another_seed_asks_others(limits: tuple[Limit, ...]) -> None:
    first, again, other = (run(NSGA2(), limits, seed, allowance=60) for seed in (1, 1, 2))
    assert first[0].questions == again[0].questions
    assert first[1:] == again[1:]
    assert first[0].questions != other[0].questions


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_every_query_is_feasible_and_new(limits: tuple[Limit, ...]) -> None:
    evaluator, _, _ = run(NSGA2(), limits, seed=3, allowance=80)
    assert evaluator.questions
    assert all(feasible(index, limits) for index in evaluator.questions)
    assert len(set(evaluator.questions)) == len(evaluator.questions) <= 80


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_it_recommends_the_front_of_the_evaluated_architectures(limits: tuple[Limit, ...]) -> None:
    resource = limits[0].resource if limits else "params"
    evaluator, recommendations, _ = run(NSGA2(), limits, seed=5)
    points = [(-ACCURACY[i], evaluator.cost(SPACE.at(i))[resource]) for i in evaluator.questions]
    front = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    recommended = [(-ACCURACY[SPACE.index(arch)], evaluator.cost(arch)[resource]) for arch in recommendations[-1]]
    assert recommended == sorted(front)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40))
def test_a_front_has_the_non_dominated_points_in_order(points: list[tuple[int, int]]) -> None:
    front, members = _Front(), set()
    for number, point in enumerate(points):
        before = front.members
        assert front.add(Architecture("points", (number,)), *point) == (front.members != before)
    members = {points[arch.genes[0]] for arch in front.members}
    assert members == {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    assert len(members) == len(front.members)
    assert [points[arch.genes[0]] for arch in front.members] == sorted(members)


@pytest.mark.parametrize(
    ("limits", "scales"),
    [
        ((), {"params": 1e6}),
        ((Limit("macs", 5e7, 1e7), Limit("params", lower=2e5)), {"macs": 5e7, "params": 2e5}),
        ((Limit("params", lower=2e5), Limit("params", 3e5)), {"params": 2e5}),
        ((Limit("latency_ms", 0.0),), {"latency_ms": 1.0}),
    ],
)
def test_resources_are_divided_by_their_bounds(limits: tuple[Limit, ...], scales: dict[str, float]) -> None:
    problem = Problem(SPACE, task_of("closed-form"), "closed-form", limits, Allowance())
    assert _scales(problem) == scales


def test_an_allowance_of_one_is_used() -> None:
    evaluator, recommendations, ended = run(NSGA2(), LIMITS["one"], seed=0, allowance=1)
    assert len(evaluator.questions) == len(recommendations) == 1
    assert not ended


def test_impossible_limits_end_the_search_without_a_query() -> None:
    evaluator, recommendations, ended = run(NSGA2(), IMPOSSIBLE, seed=0)
    assert (evaluator.questions, recommendations, ended) == ([], [], True)


def test_a_tiny_feasible_region_ends_the_search() -> None:
    region = {index for index in range(SPACE.size) if feasible(index, LIMITS["seven cells"])}
    evaluator, recommendations, ended = run(NSGA2(), LIMITS["seven cells"], seed=0)
    assert len(region) == 7
    assert ended
    assert recommendations
    assert set(evaluator.questions) <= region


def test_in_a_space_of_six_all_are_queried_and_the_search_ends() -> None:
    evaluator = OfHandful(allowance=1000)
    problem = Problem(Handful(), task_of("closed-form"), None, (), Allowance(None))  # type: ignore[arg-type]  # only what a method uses
    recommendations = list(NSGA2().search(problem, evaluator, np.random.default_rng(0)))
    assert sorted(evaluator.questions) == [0, 1, 2, 3, 4, 5]
    assert Architecture("handful", (1, 0, 2)) in recommendations[-1]


def test_it_changes_no_global_state_prints_nothing_and_gives_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    before = random.getstate(), repr(np.random.get_state())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, _, _ = run(NSGA2(), LIMITS["one"], seed=4, allowance=40)
    assert (random.getstate(), repr(np.random.get_state())) == before
    assert tuple(capfd.readouterr()) == ("", "")
    random.seed(123)
    np.random.seed(123)
    second, _, _ = run(NSGA2(), LIMITS["one"], seed=4, allowance=40)
    assert first.questions == second.questions


def test_it_beats_random_search() -> None:
    # A rank test over seeds at level 0.01: a method no better than random search would pass one time in a hundred.
    limits = (Limit("latency_ms", 2.5),)
    mine, chance = ([best_found(method, limits, seed) for seed in range(20)] for method in (NSGA2(), Random()))
    assert mannwhitneyu(mine, chance, alternative="greater").pvalue < 0.01


def best_found(method: Method, limits: tuple[Limit, ...], seed: int) -> float:
    _, recommendations, _ = run(method, limits, seed, allowance=200)
    return max(ACCURACY[SPACE.index(arch)] for arch in recommendations[-1])
