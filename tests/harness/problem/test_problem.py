"""Limits and problems: relative excess, violation and feasibility."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.problem import Allowance, Limit, Problem
from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.task import TASKS

SPACE = NASBench201()
SKIPS, DISCONNECTED = SPACE.identity, Architecture("nasbench201", (0,) * 6)
NAN, INF = math.nan, math.inf


def problem(*limits: Limit) -> Problem:
    return Problem(SPACE, TASKS["cifar10"], "pixel3", limits, Allowance())


@pytest.mark.parametrize(
    ("limit", "value", "excess"),
    [
        (Limit("latency_ms", upper=4), 4.0, 0.0),
        (Limit("latency_ms", upper=4), 5.0, 0.25),
        (Limit("latency_ms", upper=4), 0.0, 0.0),
        (Limit("latency_ms", lower=4), 4.0, 0.0),
        (Limit("latency_ms", lower=4), 3.0, 0.25),
        (Limit("latency_ms", lower=4), 0.0, 1.0),
        (Limit("latency_ms", upper=6, lower=4), 5.0, 0.0),
        (Limit("latency_ms", upper=6, lower=4), 9.0, 0.5),
        (Limit("latency_ms", upper=6, lower=4), 2.0, 0.5),
        (Limit("latency_ms", upper=0), 0.0, 0.0),
        (Limit("latency_ms", upper=0), 1e-9, INF),
        (Limit("latency_ms", upper=4), NAN, INF),
        (Limit("latency_ms"), NAN, INF),
        (Limit("latency_ms"), 1e300, 0.0),
    ],
)
def test_the_excess_of_a_limit_is_a_share_of_its_bound(limit: Limit, value: float, excess: float) -> None:
    assert limit.excess(value) == excess


@settings(deadline=None)
@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e9))
def test_the_excess_is_0_exactly_for_values_within_the_bounds(one: float, other: float, value: float) -> None:
    lower, upper = sorted((one, other))
    assert (Limit("latency_ms", upper, lower).excess(value) == 0) == (lower <= value <= upper)
    assert Limit("latency_ms", upper, lower).excess(value) >= 0


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit("latency_ms", upper=3.5), "latency_ms<=3.5"),
        (Limit("params", upper=1_531_546, lower=73_306), "params<=1531546,params>=73306"),
        (Limit("macs", lower=220_119_680), "macs>=220119680"),
        (Limit("macs"), "macs unlimited"),
    ],
)
def test_a_limit_prints_as_it_is_written_in_a_study(limit: Limit, text: str) -> None:
    assert str(limit) == text


def test_the_violation_is_the_sum_of_excesses() -> None:
    limits = Limit("latency_ms", upper=4), Limit("params", upper=100), Limit("macs", lower=10)
    assert problem(*limits).violation(SKIPS, {"latency_ms": 5.0, "params": 150.0, "macs": 5.0}) == 0.25 + 0.5 + 0.5
    assert problem(*limits).violation(SKIPS, {"latency_ms": 4.0, "params": 150.0, "macs": 10.0}) == 0.5
    assert problem(*limits).violation(SKIPS, {"latency_ms": 4.0, "params": 100.0, "macs": 10.0}) == 0.0
    assert problem(*limits).feasible(SKIPS, {"latency_ms": 4.0, "params": 100.0, "macs": 10.0})
    assert not problem(*limits).feasible(SKIPS, {"latency_ms": 4.0, "params": 101.0, "macs": 10.0})


def test_a_disconnected_cell_is_never_feasible_even_if_it_is_cheap() -> None:
    for limits in ((), (Limit("params", upper=1e9),)):
        assert problem(*limits).violation(DISCONNECTED, {"latency_ms": 0.1, "params": 1.0}) == INF
        assert not problem(*limits).feasible(DISCONNECTED, {"latency_ms": 0.1, "params": 1.0})


def test_an_unsupported_network_is_never_feasible_even_if_other_resources_are_limited() -> None:
    for limits in ((), (Limit("params", upper=1e9),), (Limit("latency_ms", upper=1e9),)):
        assert problem(*limits).violation(SKIPS, {"latency_ms": NAN, "params": 1.0}) == INF


def test_limited_resources_are_named_once_in_order() -> None:
    limits = Limit("params", upper=5), Limit("latency_ms", upper=5), Limit("params", lower=1)
    assert problem(*limits).resources == ("params", "latency_ms")


def test_a_method_s_view_and_the_table_s_agree_on_what_is_feasible() -> None:
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    limits = (Limit("latency_ms", upper=3, lower=1.5), Limit("params", upper=5e5))
    search = Problem(SPACE, tabulated.task, "closed-form", limits, Allowance())
    admitted = tabulated.admitted(limits)
    assert 0 < admitted.sum() < tabulated.eligible.sum()
    for index in range(0, SPACE.size, 3):
        assert search.feasible(SPACE.at(index), tabulated.cost_at(index)) == admitted[index]


def test_limit_allowance_problem_and_architecture_are_frozen() -> None:
    for value in (Limit("params"), Allowance(), problem(), SKIPS):
        for field in dataclasses.fields(value):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, field.name, None)
