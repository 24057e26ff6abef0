"""The exact best and the exact Pareto front, compared with plain loops and with published figures."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.oracle import Oracle, oracle, pareto_front
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.problem import Limit

CLOSED_FORM = tabulated_space_of("nasbench201", "closed-form", "closed-form")
MakeTabulatedSpace = Callable[..., TabulatedSpace]
RESOURCES = ("latency_ms", "energy_mj", "params", "macs")
COLUMNS = {name: CLOSED_FORM.resource(name).tolist() for name in RESOURCES}


def plainly_feasible(tabulated: TabulatedSpace, limits: list[Limit], columns: dict[str, list[float]]) -> list[int]:
    """Return the slow reference: check every architecture against every limit in a loop."""
    found = []
    for index in range(tabulated.space.size):
        connected = tabulated.space.connected(tabulated.space.at(index))
        supported = not any(math.isnan(column[index]) for column in columns.values())
        if connected and supported and all(limit.lower <= columns[limit.resource][index] <= limit.upper for limit in limits):
            found.append(index)
    return found


def plainly_best(indices: list[int], values: list[float]) -> int | None:
    best = None
    for index in indices:
        if best is None or values[index] > values[best]:
            best = index
    return best


def plain_front(indices: list[int], cost: list[float], test: list[float]) -> list[int]:
    """Return the slow reference, a nested loop: the indices that nothing dominates, by cost; of equal ones, the lowest index."""

    def beaten(one: int) -> bool:
        for other in indices:
            as_good = cost[other] <= cost[one] and test[other] >= test[one]
            if as_good and (cost[other] < cost[one] or test[other] > test[one] or other < one):
                return True
        return False

    return sorted([index for index in indices if not beaten(index)], key=lambda index: cost[index])


@st.composite
def some_limits(draw: st.DrawFn) -> list[Limit]:
    limits = []
    for name in draw(st.lists(st.sampled_from(RESOURCES), max_size=3, unique=True)):
        attained = sorted({value for value in COLUMNS[name] if not math.isnan(value)})
        lower, upper = sorted(draw(st.lists(st.sampled_from(attained), min_size=2, max_size=2)))
        kind = draw(st.sampled_from(["upper", "lower", "both"]))
        limits.append(Limit(name, math.inf if kind == "lower" else upper, 0.0 if kind == "upper" else lower))
    return limits


@settings(max_examples=25, deadline=None)
@given(some_limits())
def test_best_of_the_closed_form_equals_the_plain_loop(limits: list[Limit]) -> None:
    feasible = plainly_feasible(CLOSED_FORM, limits, COLUMNS)
    expected = [plainly_best(feasible, values.tolist()) for values in (CLOSED_FORM.validation, CLOSED_FORM.test)]
    assert oracle(CLOSED_FORM, limits) == Oracle(len(feasible), *expected)


@settings(max_examples=10, deadline=None)
@given(some_limits(), st.sampled_from(RESOURCES))
def test_the_front_of_the_closed_form_is_sound_and_complete(limits: list[Limit], resource: str) -> None:
    front = pareto_front(CLOSED_FORM, resource, limits).tolist()
    cost, test = np.array(COLUMNS[resource]), CLOSED_FORM.test
    feasible = np.array(plainly_feasible(CLOSED_FORM, limits, COLUMNS), int)
    assert set(front) <= set(feasible.tolist())
    for index in feasible.tolist():
        covered = [one for one in front if cost[one] <= cost[index] and test[one] >= test[index]]
        assert covered
        assert index not in front or covered == [index]
    assert (np.diff(cost[front]) > 0).all() and (np.diff(test[front]) > 0).all()


FEW = st.integers(0, 4).map(float)


@settings(deadline=None)
@given(st.data())
def test_best_and_front_with_many_ties(made_up: MakeTabulatedSpace, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 14))
    draw = lambda values: data.draw(st.lists(values, min_size=size, max_size=size))  # noqa: E731
    test, validation, latency = draw(FEW), draw(FEW), draw(FEW | st.just(math.nan))
    tabulated = made_up(test=test, validation=validation, latency_ms=latency, connected=draw(st.booleans()), params=draw(st.integers(1, 3)))
    limit = Limit("latency_ms", upper=data.draw(FEW))
    columns = {name: tabulated.resource(name).tolist() for name in tabulated.resources}
    feasible = plainly_feasible(tabulated, [limit], columns)
    assert oracle(tabulated, [limit]) == Oracle(len(feasible), plainly_best(feasible, validation), plainly_best(feasible, test))
    for name in tabulated.resources:
        assert pareto_front(tabulated, name, [limit]).tolist() == plain_front(feasible, columns[name], test)


def test_ties_go_to_the_lowest_index(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[90.0, 91.0, 91.0, 91.0], validation=[80.0, 70.0, 80.0, 80.0], latency_ms=[2.0, 2.0, 1.0, 1.0])
    assert oracle(tabulated, []) == Oracle(4, best_by_validation=0, best_by_test=1)
    assert pareto_front(tabulated, "latency_ms").tolist() == [2]
    assert oracle(tabulated, [Limit("latency_ms", upper=1)]) == Oracle(2, 2, 2)


def test_no_best_and_no_front_if_nothing_is_feasible(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[90.0, 91.0], latency_ms=[2.0, math.nan])
    assert oracle(tabulated, [Limit("latency_ms", upper=1)]) == Oracle(0, None, None)
    assert pareto_front(tabulated, "latency_ms", [Limit("latency_ms", upper=1)]).tolist() == []


def test_unknown_accuracies_of_a_partly_imported_table_are_ignored(made_up: MakeTabulatedSpace) -> None:
    unknown = math.nan
    tabulated = made_up(test=[90.0, unknown, 92.0, unknown], validation=[unknown, 80.0, 70.0, unknown], latency_ms=[1.0, 2.0, 3.0, 4.0])
    assert oracle(tabulated, []) == Oracle(4, best_by_validation=1, best_by_test=2)
    assert pareto_front(tabulated, "latency_ms").tolist() == [0, 2]
    assert oracle(tabulated, [Limit("latency_ms", lower=4)]) == Oracle(1, None, None)


@pytest.mark.parametrize(
    ("dataset", "by_test", "test", "by_validation", "validation"),
    [
        ("cifar10", 6111, 94.37, 6111, 91.61),
        ("cifar100", 9930, 73.51, 9930, 73.49),
        ("ImageNet16-120", 857, 47.31, 10676, 46.73),
    ],
)
def test_the_published_best(real_tables: object, dataset: str, by_test: int, test: float, by_validation: int, validation: float) -> None:
    tabulated = tabulated_space_of("nasbench201", dataset)
    best = oracle(tabulated, [])
    assert best == Oracle(15_625 - 341, by_validation, by_test)
    assert tabulated.test[by_test] == pytest.approx(test, abs=0.005)
    assert tabulated.validation[by_validation] == pytest.approx(validation, abs=0.005)


def test_best_and_front_are_supported_on_the_device(real_tables: object) -> None:
    tabulated = tabulated_space_of("nasbench201", "cifar10", "edgetpu")
    assert oracle(tabulated, []).feasible == 15_625 - 4_699
    for index in pareto_front(tabulated, "params").tolist():
        assert not math.isnan(tabulated.resource("latency_ms")[index])


@pytest.mark.parametrize("device", ["edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
def test_real_optima_equal_the_plain_loop(real_tables: object, dataset: str, device: str) -> None:
    tabulated = tabulated_space_of("nasbench201", dataset, device)
    bounds = resolve(tabulated, ["latency_ms@q10", "params<=800k"])
    columns = {name: tabulated.resource(name).tolist() for name in tabulated.resources}
    feasible = plainly_feasible(tabulated, list(bounds.limits), columns)
    expected = [plainly_best(feasible, values.tolist()) for values in (tabulated.validation, tabulated.test)]
    assert oracle(tabulated, bounds.limits) == Oracle(len(feasible), *expected)
    front = pareto_front(tabulated, "latency_ms", bounds.limits).tolist()
    assert front == plain_front(sorted({*front, *feasible[::40]}), columns["latency_ms"], tabulated.test.tolist())
    assert tabulated.test[front[-1]] == tabulated.test[expected[1]]
