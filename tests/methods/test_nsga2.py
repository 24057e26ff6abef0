"""NSGA-II: it stays within its allowance, queries feasible architectures only, is repeatable, returns a true front, and beats random."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import LANDSCAPE, LIMITS, SPACE, ask, run

from budgetnas.harness.problem import Architecture, Limit
from budgetnas.methods.nsga2 import NSGA2, _Front, _scales

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_it_recommends_the_front_of_the_evaluated_architectures(limits: tuple[Limit, ...]) -> None:
    resource = limits[0].resource if limits else "params"
    searched = run(NSGA2(), limits, seed=5)

    def point(index: int) -> tuple[float, float]:
        return -float(LANDSCAPE.validation[index]), float(LANDSCAPE.resource(resource)[index])

    points = [point(index) for index in searched.asked]
    front = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    assert [point(SPACE.index(arch)) for arch in searched.recommended[-1]] == sorted(front)


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
def test_a_resource_is_minimised_as_a_share_of_its_bound(limits: tuple[Limit, ...], scales: dict[str, float]) -> None:
    assert _scales(ask(limits)[0]) == scales
