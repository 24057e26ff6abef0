"""DCA-NAS: multipliers by hand, algorithm 1 as printed, and look-up graphs: monotone, conservative, with a known range."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, Limit, Problem, SearchedCell
from budgetnas.harness.problem.lookup import OutsideLookupGraph, envelope, search_limit
from budgetnas.methods.dca_nas import DCANAS, Multipliers, sizes

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

EDGES = SearchedCell("cell", ((0, 1), (0, 2)), ("skip_connect", "small", "large"))
OTHER = SearchedCell("other", ((0, 1),), ("skip_connect", "small", "large"))
GAINS = [[[0.0, 0.2, 0.3], [0.0, 0.1, 0.3]], [[0.0, 0.1, 0.15]]]
TIMES = [[[0.0, 1.0, 4.0], [0.0, 1.0, 5.0]], [[0.0, 2.0, 4.0]]]
SIZES = [[[0.0, 100.0, 300.0], [0.0, 150.0, 450.0]], [[0.0, 80.0, 160.0]]]


def closed_form(conduct: Any, **changes: Any) -> Any:
    costs = {"latency_ms": TIMES, "params": SIZES}
    return conduct.closed_form(
        **{"cells": (EDGES, OTHER), "gains": GAINS, "costs": costs, "fixed": {"latency_ms": 1.0, "params": 50.0}} | changes
    )


# --- multipliers ------------------------------------------------------------------------------------------------------------------------


def test_multipliers_over_steps_by_hand_and_back_to_exactly_0_within_the_limit() -> None:
    multipliers = Multipliers(2)
    seen = []
    for excesses in ([0.4, -0.2], [0.2, 0.1], [-0.1, -0.3], [-0.9, 0.0]):
        multipliers.ascend(excesses, eta=0.5)
        seen.append(list(multipliers.values))
    assert seen[:3] == [[0.2, 0.0], pytest.approx([0.3, 0.05]), pytest.approx([0.25, 0.0])]
    assert seen[1][0] == 0.2 + 0.5 * 0.2
    assert seen[2][1] == seen[3][0] == 0.0


def test_multipliers_are_restored_from_their_state() -> None:
    first, second = Multipliers(1), Multipliers(1)
    first.ascend([3.0], 0.1)
    second.load_state_dict(first.state_dict())
    first.ascend([1.0], 0.1)
    second.ascend([1.0], 0.1)
    assert first.values == second.values == [pytest.approx(0.4)]


def as_printed(conduct: Any, method: DCANAS, eta: float, limit: float, steps: int) -> tuple[list[Any], float]:
    """Run algorithm 1 line by line, for one upper limit on latency_ms: alphas, then k_s, then lambda. Return the alphas and lambda."""
    relaxation = closed_form(conduct).relaxation(None, np.random.default_rng(0))
    optimizer = torch.optim.Adam(relaxation.alphas, method.learning_rate, method.momentum, weight_decay=method.weight_decay)
    multiplier = 0.0
    for _ in range(steps):
        loss = 1.0 - relaxation._sum(GAINS, relaxation.strengths())
        optimizer.zero_grad()
        (loss + multiplier * (relaxation.expected_cost("latency_ms") - limit) / limit).backward()
        optimizer.step()
        size = float(relaxation.expected_cost("latency_ms").detach())
        multiplier = max(0.0, multiplier + eta * (size - limit) / limit)
    return relaxation.alphas, multiplier


@pytest.mark.parametrize("eta", [0.3, None])
@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_a_search_equals_algorithm_1(conduct: Any, steps: int, eta: float | None) -> None:
    method = DCANAS(eta=eta, learning_rate=0.05, steps=steps)
    evaluator = closed_form(conduct)
    _, figures = conduct(method, evaluator.problem(Limit("latency_ms", 2.0)), evaluator)
    alphas, multiplier = as_printed(conduct, method, eta or 1.0 / steps, 2.0, steps)
    for mine, theirs in zip(evaluator.alphas, alphas, strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)
    assert figures["multiplier_latency_ms"] == pytest.approx(multiplier, abs=1e-12)
    assert figures["steps"] == steps and multiplier > 0.0
    assert figures["size_over_limit_latency_ms"] == pytest.approx(float(evaluator.expected_cost("latency_ms").detach()) / 2.0)


def test_the_multiplier_of_a_limit_that_holds_ends_at_exactly_0(conduct: Any) -> None:
    evaluator = closed_form(conduct, gains=[np.zeros((2, 3)), np.zeros((1, 3))])
    method = DCANAS(eta=0.05, learning_rate=0.05, weight_decay=0.0, steps=400)
    found, figures = conduct(method, evaluator.problem(Limit("latency_ms", 4.0)), evaluator)
    assert max(note["multiplier_latency_ms"] for note in evaluator.notes) > 0.0
    assert figures["multiplier_latency_ms"] == 0.0
    assert evaluator.cost(found[-1])["latency_ms"] <= 4.0


def test_without_limits_it_is_darts_and_finds_the_most_accurate(conduct: Any) -> None:
    evaluator = closed_form(conduct)
    found, figures = conduct(DCANAS(learning_rate=0.05, steps=200), evaluator.problem(), evaluator)
    assert found[-1].genes == (2, 2, 2) and figures["excess"] == 0.0
    assert not [name for name in figures if name.startswith("multiplier")]


def test_minimising_over_the_multiplier_finds_the_slowest_network_and_maximising_finds_one_within_the_limit(conduct: Any) -> None:
    limit = Limit("latency_ms", 3.0)
    harmful = [np.array([[0.3, 0.2, 0.0], [0.3, 0.1, 0.0]]), np.array([[0.2, 0.1, 0.0]])]  # the slowest network also has the greatest loss
    descended = closed_form(conduct, gains=harmful).relaxation(None, np.random.default_rng(0))
    multiplier = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([*descended.alphas, multiplier], 0.05, (0.5, 0.999))
    for _ in range(300):
        optimizer.zero_grad()
        descended.backward(multiplier * (descended.expected_cost("latency_ms") - limit.upper) / limit.upper)
        optimizer.step()
    assert multiplier.item() < 0.0 and descended.discretise().genes == (2, 2, 2)
    evaluator = closed_form(conduct, gains=harmful)
    found, _ = conduct(DCANAS(eta=0.05, learning_rate=0.05, steps=300), evaluator.problem(limit), evaluator)
    assert evaluator.cost(found[-1])["latency_ms"] <= limit.upper


def test_each_bound_of_each_limit_has_its_own_multiplier(conduct: Any) -> None:
    evaluator = closed_form(conduct)
    limits = (Limit("params", 500.0, 400.0), Limit("latency_ms", upper=30.0))
    _, figures = conduct(DCANAS(eta=0.02, learning_rate=0.02, weight_decay=0.0, steps=600), evaluator.problem(*limits), evaluator)
    assert {name for name in figures if name.startswith("multiplier")} == {
        "multiplier_params", "multiplier_lower_params", "multiplier_latency_ms",
    }  # fmt: skip
    assert max(note["multiplier_params"] for note in evaluator.notes) > 0.0 == figures["multiplier_latency_ms"]


def test_a_lower_bound_keeps_a_network_large_that_would_otherwise_be_small(conduct: Any) -> None:
    small = [-np.array(table) for table in GAINS]
    evaluator = closed_form(conduct, gains=small)
    method = DCANAS(eta=0.02, learning_rate=0.02, weight_decay=0.0, steps=600)
    without, _ = conduct(method, evaluator.problem(), evaluator)
    found, figures = conduct(method, evaluator.problem(Limit("params", lower=400.0)), evaluator)
    assert evaluator.cost(without[-1])["params"] == 50.0 and evaluator.cost(found[-1])["params"] >= 400.0
    assert figures["multiplier_lower_params"] > 0.0


def test_the_unit_of_a_resource_does_not_matter(conduct: Any) -> None:
    found = []
    for unit in (1.0, 2.0**20):
        times = [[[unit * value for value in row] for row in table] for table in TIMES]
        evaluator = closed_form(conduct, costs={"latency_ms": times, "params": SIZES}, fixed={"latency_ms": unit, "params": 50.0})
        archs, figures = conduct(DCANAS(learning_rate=0.05, steps=60), evaluator.problem(Limit("latency_ms", 2.0 * unit)), evaluator)
        found.append((archs, evaluator.alphas[0].tolist(), figures["multiplier_latency_ms"], figures["size_over_limit_latency_ms"]))
    assert found[0] == found[1] and found[0][2] > 0.0


# --- k_s --------------------------------------------------------------------------------------------------------------------------------


def test_the_size_of_one_hot_alphas_is_the_exact_size_of_the_search_network(conduct: Any) -> None:
    class Smaller(conduct.closed_form):  # type: ignore[misc,name-defined]
        def edge_costs(self, resource: str, network: str = "evaluation") -> list[Any]:
            return [each / 10 if network == "search" else each for each in super().edge_costs(resource)]

    relaxation = closed_form(conduct).relaxation(None, np.random.default_rng(0))
    with torch.no_grad():
        relaxation.alphas[0].copy_(torch.tensor([[0.0, 900.0, 0.0], [0.0, 0.0, 900.0]]))
        relaxation.alphas[1].copy_(torch.tensor([[900.0, 0.0, 0.0]]))
    assert relaxation.discretise().genes == (1, 2, 0)
    assert sizes(relaxation, "params")().item() == relaxation.cost(relaxation.discretise())["params"] == 50.0 + 100.0 + 450.0
    assert sizes(relaxation, "latency_ms")().item() == 1.0 + 1.0 + 5.0
    smaller = Smaller(relaxation.cells, GAINS, relaxation.costs, relaxation.fixed).relaxation(None, np.random.default_rng(0))
    smaller.alphas = relaxation.alphas
    assert sizes(smaller, "params")().item() == pytest.approx(50.0 + 55.0)


# --- the look-up graph ------------------------------------------------------------------------------------------------------------------

NODES = st.lists(st.tuples(st.integers(1, 12).map(float), st.integers(1, 30).map(float)), min_size=1, max_size=20)


@given(NODES)
def test_the_envelope_is_monotone_and_conservative(nodes: list[tuple[float, float]]) -> None:
    graph = envelope(nodes)
    assert [limit for limit, _ in graph] == sorted({limit for limit, _ in nodes})
    assert all(low <= high for (_, low), (_, high) in pairwise(graph))
    promised = dict(graph)
    assert all(delivered <= promised[limit] for limit, delivered in nodes)
    assert {value for _, value in graph} <= {delivered for _, delivered in nodes}


def test_a_search_limit_under_which_half_of_the_searches_delivered_nothing_is_left_out() -> None:
    nodes = [(1.0, 2.0), (1.0, 2.5), (2.0, 4.0), (3.0, 3.0), (3.0, 3.0)]
    assert envelope(nodes, [1.0, 2.0, 2.0, 4.0]) == [(1.0, 2.5), (3.0, 4.0)]  # the cost delivered under 2 still counts under 3
    assert search_limit(nodes, 3.9, left_out=[2.0]) == 1.0 and search_limit(nodes, 4.0, left_out=[2.0]) == 3.0
    assert envelope([(1.0, 2.0)], [1.0]) == []


@given(NODES, st.integers(2, 62).map(lambda half: half / 2), st.sampled_from(["steps", "linear"]))
def test_no_search_under_the_returned_search_limit_or_a_smaller_one_delivered_more_than_the_limit(
    nodes: list[tuple[float, float]], limit: float, shape: Any
) -> None:
    graph = envelope(nodes)
    try:
        answer = search_limit(nodes, limit, shape)
    except OutsideLookupGraph:
        assert limit < graph[0][1] or (limit > graph[-1][1] and (len(graph) == 1 or graph[-2][1] < graph[-1][1]))
        return
    assert all(delivered <= limit for there, delivered in nodes if there <= answer)
    # It is the largest such search limit: at all larger ones the envelope is above the limit.
    assert all(promised > limit for there, promised in graph if there > answer)
    assert shape == "linear" or answer in dict(graph)


def test_both_shapes_are_exact_at_the_nodes_and_linear_interpolates_between_them() -> None:
    nodes = [(1.0, 2.0), (2.0, 4.0), (3.0, 10.0), (3.0, 8.0)]
    for shape in ("steps", "linear"):
        assert [search_limit(nodes, limit, shape) for limit in (2.0, 4.0, 10.0)] == [1.0, 2.0, 3.0]  # type: ignore[arg-type]
    assert search_limit(nodes, 7.0, "linear") == 2.5
    assert search_limit(nodes, 7.0, "steps") == 2.0


def test_outside_its_range_a_graph_raises_an_error_that_names_the_range() -> None:
    nodes = [(1.0, 2.0), (2.0, 4.0)]
    with pytest.raises(OutsideLookupGraph, match=r"graph of macs covers limits from 2 to 4, not 1.5; choose a looser limit"):
        search_limit(nodes, 1.5, resource="macs")
    with pytest.raises(OutsideLookupGraph, match=r"from 2 to 4, not 4.5; choose a tighter limit"):
        search_limit(nodes, 4.5)
    with pytest.raises(OutsideLookupGraph, match="empty"):
        search_limit([], 1.0)
    # The graph has levelled off: a larger search limit delivers the same cost, so every larger limit holds.
    assert search_limit([*nodes, (3.0, 4.0)], 4.5) == 3.0


def test_a_search_uses_the_looked_up_limit_and_reports_the_cost_of_the_graph(conduct: Any) -> None:
    evaluator = closed_form(conduct)
    rows = (("latency_ms", 1.5, 2.0), ("latency_ms", 1.5, 2.5), ("latency_ms", 2.5, 4.0), ("params", 100.0, 200.0), ("latency_ms", 9.0))
    _, figures = conduct(DCANAS(lookup=rows, steps=7), evaluator.problem(Limit("latency_ms", 3.0)), evaluator)
    assert figures["search_limit_latency_ms"] == 1.5
    assert (figures["lookup_searches"], figures["lookup_steps"]) == (4, 28)
    _, figures = conduct(DCANAS(lookup=rows, shape="linear", steps=7), evaluator.problem(Limit("latency_ms", 3.25, 2.0)), evaluator)
    assert (figures["search_limit_latency_ms"], figures["search_limit_lower_latency_ms"]) == (2.0, 2.0)
    _, figures = conduct(DCANAS(steps=7), evaluator.problem(Limit("latency_ms", 3.0)), evaluator)
    assert (figures["search_limit_latency_ms"], figures["lookup_searches"]) == (3.0, 0)


def test_a_missing_or_empty_graph_is_an_error_before_the_search_starts(conduct: Any) -> None:
    evaluator = closed_form(conduct)
    method = DCANAS(lookup=(("params", 1.0, 2.0),))
    with pytest.raises(OutsideLookupGraph, match="lookup has no graph of latency_ms, only of params"):
        conduct(method, evaluator.problem(Limit("latency_ms", 3.0)), evaluator)
    strayed = DCANAS(lookup=(("latency_ms", 1.0), ("latency_ms", 2.0)))
    with pytest.raises(OutsideLookupGraph, match="graph of latency_ms is empty, because under each search limit half or more of the"):
        conduct(strayed, evaluator.problem(Limit("latency_ms", 3.0)), evaluator)
    assert not hasattr(evaluator, "alphas")


# --- settings ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"eta": 0.0},
        {"bottleneck": 0},
        {"derive_epochs": 0},
        {"lookup": [["params"]]},
        {"lookup": [["params", 1.0, 2.0, 3.0]]},
        {"lookup": [["params", 1.0, math.nan]]},
        {"lookup": [["params", -1.0, 2.0]]},
    ],
    ids=str,
)
def test_invalid_settings_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        DCANAS(**settings)


@pytest.mark.parametrize("every", [1, 2])
def test_cells_are_derived_at_the_start_of_every_derive_epochs_epochs(conduct: Any, every: int) -> None:
    evaluator = closed_form(conduct, epoch_steps=5)
    conduct(DCANAS(steps=23, derive_epochs=every, shared=False), evaluator.problem(), evaluator)
    assert evaluator.derived_at == [0, 5, 10, 15, 20][::every]
    assert (evaluator.options.shared, evaluator.options.bottleneck, evaluator.options.derived) == (False, 4, True)


def test_the_state_given_to_the_steps_is_the_optimizer_and_the_multipliers(conduct: Any) -> None:
    evaluator = closed_form(conduct)
    conduct(DCANAS(steps=3, eta=1.0), evaluator.problem(Limit("latency_ms", 2.0)), evaluator)
    optimizer, multipliers = evaluator.state
    trained = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert trained == [id(alphas) for alphas in evaluator.alphas]
    assert multipliers.values[0] > 0.0


# --- on the table that ships with the project -------------------------------------------------------------------------------------------


def test_on_digits201_a_limit_that_the_graph_covers_is_met_by_another_seed(conduct: Any) -> None:
    tabulated = tabulated_space_of("nasbench201", "digits201", "amd-epyc")

    def searched(limit: float, seed: int, lookup: Any = ()) -> Any:
        problem = Problem(tabulated.space, tabulated.task, "amd-epyc", (Limit("latency_ms", limit),), Allowance(None))
        method = DCANAS(learning_rate=6e-3, steps=800, lookup=lookup)
        found, figures = conduct(method, problem, TableEvaluator(tabulated), seed)
        assert figures["not_modelled_shared"] == figures["not_modelled_bottleneck"] == figures["not_modelled_derived"] == 1.0
        return problem, found[-1], figures

    rows = []
    for limit in np.geomspace(0.008, 0.03, 4).tolist():
        _, arch, _ = searched(limit, 0)
        rows.append(("latency_ms", limit, tabulated.cost_at(tabulated.space.index(arch))["latency_ms"]))
    for wanted in {promised for _, promised in envelope([row[1:] for row in rows])}:
        problem, arch, figures = searched(wanted, 1, tuple(rows))
        assert figures["search_limit_latency_ms"] in [row[1] for row in rows]
        assert problem.feasible(arch, tabulated.cost_at(tabulated.space.index(arch)))
