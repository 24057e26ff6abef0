"""DEff-ARTS: the gradient of the penalty in closed form, the paper's cycles, and the effect of a large Gamma."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, Limit, Problem, SearchedCell
from budgetnas.methods.deff_arts import BOUND_CYCLES, DEffARTS, NothingLimited, computing_cost, weighted
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.task import task_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

OPERATIONS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
CYCLES = np.array([999_999, 27_648, 30_720, 0, 368_640, 860_160, 184_320, 430_080], dtype=float)  # table 2
EDGES = tuple((source, node) for node in range(2, 6) for source in range(node))
CELLS = (SearchedCell("normal", EDGES, OPERATIONS), SearchedCell("reduce", EDGES, OPERATIONS))
TIME_MS = np.array([0.0, 0.2, 0.2, 0.1, 1.0, 2.0, 0.5, 0.7])
GAIN = np.array([-0.5, 0.01, 0.01, 0.0, 0.03, 0.04, 0.02, 0.025])


def darts_like(conduct: Any, cells: tuple[SearchedCell, ...] = CELLS) -> Any:
    def spread(row: Any) -> list[Any]:
        return [np.tile(row, (len(cell.edges), 1)) for cell in cells]

    costs = {"paper_cycles": spread(CYCLES), "latency_ms": spread(TIME_MS), "params": spread(10.0 * TIME_MS)}
    return conduct.closed_form(cells, spread(GAIN), costs, {"latency_ms": 2.0, "params": 7.0})


def relaxed(conduct: Any, cells: tuple[SearchedCell, ...] = CELLS) -> Any:
    return darts_like(conduct, cells).relaxation(None, np.random.default_rng(0), 1.0)


# --- equation 1 -------------------------------------------------------------------------------------------------------------------------


def test_the_gradient_of_the_weighted_power_equals_its_closed_form(conduct: Any) -> None:
    relaxation = relaxed(conduct)
    gamma, beta = 0.02, 0.27
    cost = computing_cost(relaxation.problem(), relaxation, "paper_cycles", 999_999.0)()
    weighted(cost, gamma, beta).backward()
    for alphas in relaxation.alphas:
        p = torch.softmax(alphas.detach(), dim=1)
        costs = torch.tensor(CYCLES)
        # d L_com / d alpha_ij = p_ij (cost_j - sum over k of p_ik cost_k): the full derivative of the softmax.
        of_cost = p * (costs - (p * costs).sum(dim=1, keepdim=True))
        expected = gamma * beta * cost.detach() ** (beta - 1.0) * of_cost
        assert torch.allclose(alphas.grad, expected, rtol=1e-10, atol=0)


def test_at_cost_0_the_penalty_and_its_gradient_are_0(conduct: Any) -> None:
    alphas = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    penalty = weighted((torch.softmax(alphas, 1) * 0.0).sum(), 0.04, 0.27)
    penalty.backward()
    assert penalty.item() == 0.0 and alphas.grad.tolist() == [[0.0, 0.0]]


# --- equation 4 -------------------------------------------------------------------------------------------------------------------------


def test_one_hot_alphas_cost_the_papers_cycles_with_separable_convolutions_counted_twice(conduct: Any) -> None:
    # DARTS (second order) has eight kept edges per cell. The paper counts separable convolutions once:
    # (5 + 1) x 184,320 + 5 x 27,648 = 1,244,160.
    normal = ["sep_conv_3x3"] * 5 + ["skip_connect"] * 2 + ["dil_conv_3x3"]
    reduce = ["max_pool_3x3"] * 5 + ["skip_connect"] * 3
    relaxation = relaxed(conduct)
    for alphas, names in zip(relaxation.alphas, (normal, reduce), strict=True):
        chosen = [OPERATIONS.index(name) for name in names + ["skip_connect"] * 6]
        alphas.data = torch.nn.functional.one_hot(torch.tensor(chosen), 8).double() * 900.0
    found = float(computing_cost(relaxation.problem(), relaxation, "paper_cycles", 999_999.0)().detach())
    assert found == 5 * 368_640 + 184_320 + 5 * 27_648 == 1_244_160 + 5 * 184_320


def test_uniform_alphas_cost_the_mean_of_table_2_on_each_edge(conduct: Any) -> None:
    relaxation = relaxed(conduct)
    for alphas in relaxation.alphas:
        alphas.data.zero_()
    for zero_cost in (999_999.0, 0.0, 5.0):
        found = float(computing_cost(relaxation.problem(), relaxation, "paper_cycles", zero_cost)().detach())
        assert found == pytest.approx(28 * (CYCLES[1:].sum() + zero_cost) / 8, rel=1e-12)


def test_any_other_resource_at_its_bound_costs_as_much_as_the_cells_of_darts(conduct: Any) -> None:
    relaxation = relaxed(conduct)
    expected = float(relaxation.expected_cost("latency_ms").detach())
    nothing = sum(float(p.detach()[:, 0].sum()) for p in relaxation.strengths())
    problem = relaxation.problem(Limit("latency_ms", 10.0), Limit("params", lower=3.0))
    for resource in ("latency_ms", "limited"):
        found = float(computing_cost(problem, relaxation, resource, 999_999.0)().detach())
        assert found == pytest.approx(expected / 10.0 * BOUND_CYCLES + nothing * 999_999.0, rel=1e-12)
    # Several limits have equal weights, and units cancel.
    both = relaxation.problem(Limit("latency_ms", 10.0), Limit("params", 100.0))
    found = float(computing_cost(both, relaxation, "limited", 0.0)().detach())
    size = float(relaxation.expected_cost("params").detach())
    assert found == pytest.approx(BOUND_CYCLES * (expected / 10.0 + size / 100.0) / 2, rel=1e-12)


def test_the_unit_of_a_limited_resource_does_not_matter(conduct: Any) -> None:
    found = []
    for unit in (1.0, 2.0**20):
        known = darts_like(conduct)
        evaluator = conduct.closed_form(
            known.cells, known.gains, {"latency_ms": [unit * each for each in known.costs["latency_ms"]]}, {"latency_ms": 2.0 * unit}
        )
        method = DEffARTS(resource="limited", gamma=0.02, learning_rate=0.05, steps=40)
        archs, figures = conduct(method, evaluator.problem(Limit("latency_ms", 5.0 * unit)), evaluator)
        found.append((archs, evaluator.alphas[0].tolist(), figures["penalty"]))
    assert found[0] == found[1]


def test_without_a_limit_a_resource_is_divided_by_its_cost_at_equal_weights(conduct: Any) -> None:
    relaxation = relaxed(conduct)
    cost = computing_cost(relaxation.problem(), relaxation, "latency_ms", 0.0)
    for alphas in relaxation.alphas:
        alphas.data.zero_()
    assert float(cost().detach()) == pytest.approx(BOUND_CYCLES, rel=1e-12)


@pytest.mark.parametrize("limits", [(), (Limit("latency_ms", lower=3.0),)], ids=["none", "a lower one"])
def test_the_cost_of_limited_resources_is_refused_without_an_upper_limit(conduct: Any, limits: tuple[Limit, ...]) -> None:
    evaluator = darts_like(conduct)
    with pytest.raises(NothingLimited, match=r"resource = 'limited' .* add an upper limit, or set resource to 'cycles', 'paper_cycles' or"):
        conduct(DEffARTS(steps=3, resource="limited"), evaluator.problem(*limits), evaluator)


def test_a_space_without_the_papers_costs_counts_the_cycles_of_its_network_and_reports_it(conduct: Any) -> None:
    class Without(conduct.closed_form):  # type: ignore[misc,name-defined]
        def edge_costs(self, resource: str, network: str = "evaluation") -> list[Any]:
            raise ValueError(f"unknown resource {resource}")

    known = darts_like(conduct)
    evaluator = Without(known.cells, known.gains, {"cycles": known.costs["latency_ms"]}, {"cycles": 2.0})
    problem = evaluator.problem(Limit("cycles", 20.0))
    _, figures = conduct(DEffARTS(steps=3, zero_cost=0.0), problem, evaluator)
    assert figures["computing_cost"] == pytest.approx(float(evaluator.expected_cost("cycles").detach()) / 20.0 * BOUND_CYCLES)
    assert figures["not_modelled_paper_cycles"] == 1.0
    assert "not_modelled_paper_cycles" not in conduct(DEffARTS(steps=3), known.problem(), known)[1]


# --- the search -------------------------------------------------------------------------------------------------------------------------


def test_a_large_gamma_gives_skip_connections_only_and_cost_0(conduct: Any) -> None:
    evaluator = darts_like(conduct)
    found, figures = conduct(DEffARTS(gamma=1.0, learning_rate=0.05, steps=600), evaluator.problem(), evaluator)
    assert set(found[-1].genes) == {OPERATIONS.index("skip_connect")}
    assert evaluator.cost(found[-1])["paper_cycles"] == 0.0
    assert figures["computing_cost"] < 30_000 and figures["penalty"] == pytest.approx(figures["computing_cost"] ** 0.27)
    assert figures["skip_share"] == 1.0


def test_gamma_0_is_darts(conduct: Any) -> None:
    evaluator = darts_like(conduct)
    found, figures = conduct(DEffARTS(gamma=0.0, learning_rate=0.05, steps=200), evaluator.problem(), evaluator)
    assert set(found[-1].genes) == {int(GAIN.argmax())} and figures["penalty"] == 0.0


def test_more_gamma_never_costs_more(conduct: Any) -> None:
    evaluator = darts_like(conduct)
    costs = []
    for gamma in (0.0, 0.005, 0.01, 0.02, 0.04, 0.2):
        found, _ = conduct(DEffARTS(gamma=gamma, learning_rate=0.05, steps=200), evaluator.problem(), evaluator)
        costs.append(evaluator.cost(found[-1])["paper_cycles"])
    assert costs == sorted(costs, reverse=True) and costs[0] > 0


def test_with_a_zero_operation_of_cost_0_a_cell_that_may_keep_it_becomes_empty(conduct: Any) -> None:
    cell = SearchedCell("cell", ((0, 1), (0, 2)), OPERATIONS)
    evaluator = darts_like(conduct, (cell,))
    evaluator.gains = [np.zeros((2, 8))]
    problem = evaluator.problem(Limit("latency_ms", 3.0))
    method = {"gamma": 1.0, "resource": "latency_ms", "learning_rate": 0.05, "steps": 600}
    emptied, _ = conduct(DEffARTS(**method, zero_cost=0.0), problem, evaluator)
    kept, _ = conduct(DEffARTS(**method), problem, evaluator)
    assert {OPERATIONS[gene] for gene in emptied[-1].genes} == {"none"}
    assert {OPERATIONS[gene] for gene in kept[-1].genes} == {"skip_connect"}


def test_the_gradient_is_second_order_by_default(conduct: Any) -> None:
    evaluator = darts_like(conduct)
    conduct(DEffARTS(steps=2), evaluator.problem(), evaluator)
    assert evaluator.unrolled == {True}
    conduct(DEffARTS(steps=2, unrolled=False), evaluator.problem(), evaluator)
    assert evaluator.unrolled == {False}


@pytest.mark.parametrize("settings", [{"gamma": -1.0}, {"beta": 0.0}, {"beta": 1.5}, {"zero_cost": -1.0}, {"learning_rate": 0.0}], ids=str)
def test_invalid_settings_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        DEffARTS(**settings)


# --- on the table that ships with the project, and on DARTS ------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["limited", "paper_cycles"])
def test_on_digits201_a_large_gamma_gives_skips_and_nothing_but_them(conduct: Any, resource: str) -> None:
    tabulated = tabulated_space_of("nasbench201", "digits201", "amd-epyc")
    problem = Problem(tabulated.space, tabulated.task, "amd-epyc", (Limit("latency_ms", 0.02),), Allowance(None))
    method = DEffARTS(gamma=1.0, resource=resource, learning_rate=0.02, steps=400)
    found, figures = conduct(method, problem, TableEvaluator(tabulated))
    assert tabulated.space.encode(found[-1]) == "|skip_connect~0|+|skip_connect~0|skip_connect~1|+" + "|".join(
        ["", *(f"skip_connect~{node}" for node in range(3)), ""]
    )
    assert figures["skip_share"] == 1.0 and figures["not_modelled_unrolled"] == 1.0
    assert ("not_modelled_paper_cycles" in figures) == (resource == "paper_cycles")


def test_the_costs_of_table_2_are_those_of_the_darts_space() -> None:
    space: Any = space_of("darts")
    for costs in space.edge_costs("paper_cycles", task_of("cifar10")):
        assert costs.tolist() == [CYCLES.tolist()] * 14
    assert [cell.operations for cell in space.searched] == [OPERATIONS] * 2
