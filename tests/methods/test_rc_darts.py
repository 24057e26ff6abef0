"""RC-DARTS: the projection of equations 7 and 8 by hand and by brute force, phases, lambda, `exact`, repair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from scipy.optimize import minimize
from searching import DIGITS, relax

from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, Architecture, Limit, Need, Problem, Step, SupernetOptions
from budgetnas.methods.rc_darts import RCDARTS, _costs, kept_cost, nearness, project
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.task import task_of

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.slow
SHORT: dict[str, Any] = {"steps": 200}
NO_LIMIT: tuple[Limit, ...] = ()


def relaxation_of(limits: tuple[Limit, ...], seed: int = 0, scale: float = 1.0, kind: Any = "auto") -> tuple[Any, Any]:
    problem = Problem(DIGITS.space, DIGITS.task, DIGITS.device, limits, Allowance(200))
    relaxation: Any = TableEvaluator(DIGITS).relaxation(SupernetOptions(), np.random.default_rng(seed), scale)
    return relaxation, _costs(problem, relaxation, kind)


def linear(weights: Sequence[float]) -> Any:
    """Return the costs of a resource that is linear in the alphas."""
    return lambda theta: {"macs": (torch.tensor(weights, dtype=torch.float64) * theta[0]).sum()}


def theta_of(*values: float) -> list[Any]:
    return [torch.tensor([values], dtype=torch.float64)]


# --- equation 6 ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["params", "macs", "cycles"])
def test_one_hot_alphas_have_the_cost_of_their_cell(resource: str) -> None:
    _, costs = relaxation_of((Limit(resource, 1.0),), kind="edges")
    for index in range(0, 15_625, 1500):
        certain = [torch.tensor(1000.0 * hot) for hot in cast(Any, DIGITS.space).one_hot(DIGITS.space.at(index))]
        assert costs(certain)[resource].item() == pytest.approx(DIGITS.resource(resource)[index], rel=1e-12)


@pytest.mark.parametrize("name", ["darts", "darts[groups=3]", "darts[connection=true]", "darts[cells=8,channels=16]"])
@pytest.mark.parametrize("resource", ["params", "macs"])
def test_in_the_darts_space_only_kept_predecessors_count(name: str, resource: str) -> None:
    space: Any = space_of(name)
    task = task_of("cifar10")
    rng = np.random.default_rng(0)
    arch = Architecture(space.name, tuple(int(rng.integers(arity)) for arity in space.arity))
    strengths = [0.9 * hot + 0.1 / hot.shape[1] for hot in space.one_hot(arch)]
    kept = [torch.tensor(edges) for edges in space.kept_edges(strengths)]
    assert space.strongest(strengths) == arch
    costs = [torch.tensor(each) for each in space.edge_costs(resource, task)]
    hot = [torch.tensor(each) for each in space.one_hot(arch)]
    exact = getattr(space.complexity(arch, task), resource)
    assert space.fixed_cost(resource, task) + kept_cost(kept, costs, hot).item() == pytest.approx(exact, rel=1e-12)
    # By hand: the mean over the operations of each kept edge; the other edges do not count.
    expected = sum(
        float((each[edge] * weights[edge]).sum())
        for each, weights, edges in zip(costs, [torch.tensor(s) for s in strengths], kept, strict=True)
        for edge in range(len(edges))
        if edges[edge]
    )
    assert kept_cost(kept, costs, [torch.tensor(s) for s in strengths]).item() == pytest.approx(expected, rel=1e-12)


def test_a_resource_that_is_not_a_sum_over_edges_has_its_expected_cost() -> None:
    limits = (Limit("latency_ms", 1.0), Limit("params", 1.0))
    relaxation, costs = relaxation_of(limits)
    found = costs(relaxation.alphas)
    assert found["latency_ms"].item() == relaxation.expected_cost("latency_ms").item()
    p = torch.softmax(relaxation.alphas[0], 1)
    by_edges = {name: relaxation.fixed_cost(name) + (relaxation.edge_costs(name)[0] * p).sum().item() for name in ("latency_ms", "params")}
    assert found["params"].item() == pytest.approx(by_edges["params"])
    assert relaxation_of(limits, kind="edges")[1](relaxation.alphas)["latency_ms"].item() == pytest.approx(by_edges["latency_ms"])
    assert relaxation_of(limits, kind="expected")[1](relaxation.alphas)["params"].item() == pytest.approx(
        relaxation_of(limits)[0].expected_cost("params").item()
    )


# --- equations 7 and 8 --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [NO_LIMIT, (Limit("latency_ms", 1.0),), (Limit("params", 1e9, 10.0), Limit("latency_ms", 1.0))])
def test_alphas_within_their_limits_are_returned_bit_for_bit(limits: tuple[Limit, ...]) -> None:
    relaxation, costs = relaxation_of(limits)
    moved, made = project(relaxation.alphas, costs, limits, 10.0)
    assert made == 0 and torch.equal(moved[0], relaxation.alphas[0])


def test_with_lambda_zero_alphas_beyond_their_limits_are_returned_unchanged() -> None:
    limits = (Limit("params", 1.0), Limit("latency_ms", 1.0, 0.9))
    relaxation, costs = relaxation_of(limits)
    moved, _ = project(relaxation.alphas, costs, limits, 0.0, steps=60)
    assert torch.equal(moved[0], relaxation.alphas[0])


def test_the_given_alphas_are_not_modified() -> None:
    limits = (Limit("params", 1.0),)
    relaxation, costs = relaxation_of(limits)
    before = relaxation.alphas[0].detach().clone()
    moved, made = project(relaxation.alphas, costs, limits, 10.0, steps=20)
    assert made == 20 and torch.equal(relaxation.alphas[0], before) and not torch.equal(moved[0], before)
    assert relaxation.alphas[0].grad is None


@pytest.mark.parametrize("resource", ["params", "latency_ms"])
def test_an_exceeded_upper_bound_lowers_the_cost_and_an_exceeded_lower_one_raises_it(resource: str) -> None:
    relaxation, costs = relaxation_of((Limit(resource, 1.0),), scale=0.1)
    here = costs(relaxation.alphas)[resource].item()
    for limit, sign in ((Limit(resource, 0.7 * here), -1), (Limit(resource, lower=1.3 * here), 1)):
        moved, _ = project(relaxation.alphas, costs, (limit,), 10.0, steps=100)
        assert sign * (costs(moved)[resource].item() - here) > 0.002 * here


def test_it_stops_as_soon_as_all_limits_hold() -> None:
    relaxation, costs = relaxation_of((Limit("params", 1.0), Limit("latency_ms", 1.0)), scale=0.1)
    here = {name: value.item() for name, value in costs(relaxation.alphas).items()}
    limits = (Limit("params", 0.98 * here["params"]), Limit("latency_ms", 0.99 * here["latency_ms"]))
    moved, made = project(relaxation.alphas, costs, limits, 10.0)
    before, _ = project(relaxation.alphas, costs, limits, 10.0, steps=made - 1)
    assert 1 < made < 500
    assert all(costs(moved)[limit.resource].item() <= limit.upper for limit in limits)
    assert any(costs(before)[limit.resource].item() > limit.upper for limit in limits)


def test_a_projection_reduces_equation_8() -> None:
    limits = (Limit("latency_ms", 0.01), Limit("params", 1e9, 4000.0))
    relaxation, costs = relaxation_of(limits)
    theta = relaxation.alphas[0].detach()

    def value(alphas: Any) -> float:
        found = costs([alphas])
        distance = 0.5 * ((alphas - theta) ** 2).sum().item()
        upper = max(found["latency_ms"].item() / 0.01 - 1.0, 0.0)
        return distance + 2.0 * (upper + max(1.0 - found["params"].item() / 4000.0, 0.0))

    values = [value(project([theta], costs, limits, 2.0, steps=steps)[0][0]) for steps in range(0, 120, 20)]
    assert all(later < earlier for earlier, later in pairwise(values))


def test_a_projection_ends_at_the_minimum_of_equation_8_computed_by_hand() -> None:
    # 0.5 (x^2 + y^2) + lambda (3 + 2 x + y) / 3 has its minimum at (x, y) = -lambda (2, 1) / 3, which is outside the limit of 3.
    moved, _ = project(theta_of(0.0, 0.0), lambda theta: {"macs": 6.0 + linear([2.0, 1.0])(theta)["macs"]}, (Limit("macs", 3.0),), 0.01)
    assert moved[0][0].tolist() == pytest.approx([-0.02 / 3.0, -0.01 / 3.0], abs=1e-5)


def test_with_a_large_lambda_a_projection_ends_at_the_limit() -> None:
    moved, made = project(theta_of(1.0, 1.0), linear([1.0, 1.0]), (Limit("macs", 1.9),), 100.0)
    assert 0 < made < 500
    # The point of x + y <= 1.9 nearest to (1, 1), up to one step of Adam.
    assert moved[0][0].tolist() == pytest.approx([0.95, 0.95], abs=3.1e-4)


def test_the_unit_of_a_resource_does_not_matter() -> None:
    def in_unit(unit: float) -> Any:
        return lambda theta: {"macs": unit * (4.0 + theta[0].sum())}

    for limit in (Limit("macs", 3.0), Limit("macs", lower=6.0)):
        small, large = (
            project(theta_of(0.3, 0.1), in_unit(unit), (Limit("macs", unit * limit.upper, unit * limit.lower),), 0.05)[0][0]
            for unit in (1.0, 2.0**20)
        )
        assert torch.equal(small, large)


# --- phases and lambda --------------------------------------------------------------------------------------------------------------------


def ends(method: RCDARTS, total: int) -> list[int]:
    return [index + 1 for index in range(total) if method.projects_after(Step(index, total, 0, 1))]


def test_phases_have_free_steps_steps_and_the_first_is_longer() -> None:
    assert ends(RCDARTS(), 5000) == [*range(600, 5000, 150), 5000]
    assert ends(RCDARTS(free_steps=10, warm_up=1), 200) == [*range(10, 201, 10)]


def test_a_short_search_has_phases_too() -> None:
    assert ends(RCDARTS(), 100) == [*range(20, 101, 5)]
    assert ends(RCDARTS(), 3) == [3]
    assert ends(RCDARTS(warm_up=100), 400) == [400]


def test_projections_are_shortened_in_the_same_proportion_as_phases() -> None:
    method = RCDARTS()
    assert [method.phase_of(total) for total in (1, 100, 3000, 19_550)] == [1, 5, 150, 150]
    assert [method.most_projected(total) for total in (1, 100, 3000, 19_550)] == [4, 17, 500, 500]


def test_lambda_falls_exponentially_to_the_given_share() -> None:
    method = RCDARTS(lambda_start=8.0, lambda_end=0.001)
    weights = [method.weight_at(Step(index, 101, 0, 1)) for index in range(101)]
    assert weights[0] == 8.0 and weights[-1] == pytest.approx(0.008)
    ratios = [later / earlier for earlier, later in pairwise(weights)]
    assert ratios == pytest.approx([0.001**0.01] * 100)
    assert method.weight_at(Step(0, 1, 0, 1)) == 8.0


def test_a_search_alternates_free_steps_and_projections() -> None:
    """The reference is a plain loop: Adam on the loss, and after each phase a projection with a falling lambda."""
    limits = resolve(DIGITS, ["latency_ms@q25"]).limits
    settings = {"free_steps": 4, "warm_up": 2, "most_of_search": 1.0, "projection_steps": 30, "lambda_start": 5.0, "lambda_end": 0.5}
    found, figures = relax(RCDARTS(steps=14, **cast(Any, settings)), limits)
    relaxation, costs = relaxation_of(limits, scale=1e-3)
    (alphas,) = relaxation.alphas
    optimizer = torch.optim.Adam([alphas], 3e-4, (0.5, 0.999), weight_decay=1e-3)
    expected = []
    for index in range(14):
        optimizer.zero_grad()
        relaxation.backward()
        optimizer.step()
        if index + 1 in (8, 12, 14):
            moved, _ = project([alphas], costs, limits, 5.0 * 0.5 ** (index / 13), steps=30)
            with torch.no_grad():
                alphas.copy_(moved[0])
            expected.append(relaxation.discretise())
    assert found == expected
    assert figures["expected_latency_ms"] == pytest.approx(relaxation.expected_cost("latency_ms").item(), rel=1e-12)


# --- the end ------------------------------------------------------------------------------------------------------------------------------


def nearest_squared(values: list[float], operation: int) -> float:
    """Return the least squared distance to alphas whose greatest is `operation`, by a general minimiser."""
    start = np.array(values)
    constraints = [{"type": "ineq", "fun": lambda x, j=j: x[operation] - x[j]} for j in range(len(values)) if j != operation]
    return float(minimize(lambda x: ((x - start) ** 2).sum(), start, constraints=constraints, method="SLSQP", tol=1e-12).fun)


@pytest.mark.parametrize("seed", range(4))
def test_nearness_uses_the_least_squared_distance(seed: int) -> None:
    alphas = np.random.default_rng(seed).normal(0.0, 1.0, (6, 5))
    found = -2.0 * np.log(
        nearness(torch.tensor(alphas)).numpy() / torch.softmax(torch.tensor(alphas), 1).numpy().max(axis=1, keepdims=True)
    )
    expected = [[nearest_squared(row, operation) for operation in range(5)] for row in alphas.tolist()]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nearness_by_hand() -> None:
    # For the last of (0, 1, 1, -1) to be the greatest, both 1 and the -1 move to 1/3.
    (row,) = -2.0 * torch.log(nearness(torch.tensor([[0.0, 1.0, 1.0, -1.0]], dtype=torch.float64)))
    squared = row - row.min()
    assert squared.tolist() == pytest.approx([6.0 / 9.0, 0.0, 0.0, 24.0 / 9.0])


LIMITS = ("latency_ms@q10", "latency_ms@q25", "latency_ms@q50", "params<=2000")


@pytest.mark.parametrize("text", LIMITS)
def test_with_exact_it_ends_with_the_nearest_feasible_cell(text: str) -> None:
    limits = resolve(DIGITS, [text]).limits
    plain, figures = relax(RCDARTS(**SHORT), limits)
    found, exact = relax(RCDARTS(**SHORT, exact=True), limits)
    assert found[: len(plain)] == plain and len(found) == len(plain) + 1
    assert exact == {**figures, "repaired": float(found[-1] != plain[-1])}
    assert DIGITS.admitted(limits)[DIGITS.space.index(found[-1])]
    theta = {}

    class Watched(TableEvaluator):
        def relaxation(self, *arguments: Any) -> Any:
            theta["made"] = super().relaxation(*arguments)
            return theta["made"]

    problem = Problem(DIGITS.space, DIGITS.task, DIGITS.device, limits, Allowance(200))
    # Without projection steps, theta_p equals theta.
    list(RCDARTS(steps=200, projection_steps=0).search(problem, Watched(DIGITS), np.random.default_rng(0)))
    alphas = theta["made"].alphas[0].detach()
    squared = np.array([[nearest_squared(row, operation) for operation in range(5)] for row in alphas.tolist()])
    admitted = [DIGITS.space.at(int(index)) for index in np.flatnonzero(DIGITS.admitted(limits))]
    distances = [squared[np.arange(6), list(arch.genes)].sum() for arch in admitted]
    free, _ = relax(RCDARTS(steps=200, projection_steps=0, exact=True), limits)
    assert squared[np.arange(6), list(free[-1].genes)].sum() == pytest.approx(min(distances), abs=1e-5)


def test_figures_have_feasibility_before_and_after_the_last_projection_which_changes_nothing() -> None:
    limits = resolve(DIGITS, ["latency_ms@q10"]).limits
    _, figures = relax(RCDARTS(**SHORT), limits)
    assert figures["feasible_before_projection"] == figures["feasible_after_projection"] == 0.0
    strong, figures = relax(RCDARTS(steps=200, free_steps=10, warm_up=1, lambda_start=100.0, lambda_end=1.0, projection_steps=3000), limits)
    assert figures["expected_latency_ms"] <= limits[0].upper * 1.01
    assert figures["feasible_after_projection"] == float(DIGITS.admitted(limits)[DIGITS.space.index(strong[-1])])


def test_with_the_final_lambda_a_projection_hardly_moves_the_alphas() -> None:
    limits = resolve(DIGITS, ["latency_ms@q10"]).limits
    relaxation, costs = relaxation_of(limits, scale=1e-3)
    method = RCDARTS()
    last, first = method.weight_at(Step(4999, 5000, 0, 1)), method.weight_at(Step(0, 5000, 0, 1))
    moved, made = project(relaxation.alphas, costs, limits, last)
    assert made > 0 and float((moved[0] - relaxation.alphas[0]).detach().abs().max()) < 1e-3
    moved, _ = project(relaxation.alphas, costs, limits, first)
    assert float((moved[0] - relaxation.alphas[0]).detach().abs().max()) > 0.05


def test_figures_show_whether_the_last_projection_made_the_cell_feasible() -> None:
    """A search with one projection, at its end: with a large lambda it reaches the limit, with lambda 0 it changes nothing."""
    settings: dict[str, Any] = {
        "steps": 60,
        "most_of_search": 1.0,
        "free_steps": 60,
        "warm_up": 1,
        "lambda_end": 1.0,
        "learning_rate": 0.005,
    }
    limits = resolve(DIGITS, ["params@q25"]).limits
    _, heavy = relax(RCDARTS(lambda_start=1000.0, projection_steps=4000, projection_rate=3e-3, **settings), limits)
    _, none = relax(RCDARTS(lambda_start=0.0, projection_steps=4000, projection_rate=3e-3, **settings), limits)
    assert (heavy["feasible_before_projection"], heavy["feasible_after_projection"]) == (0.0, 1.0)
    assert none["feasible_before_projection"] == none["feasible_after_projection"] == 0.0


def test_without_limits_it_is_darts() -> None:
    from budgetnas.methods.darts import DARTS

    found, figures = relax(RCDARTS(**SHORT))
    darts, of_darts = relax(DARTS(steps=200))
    assert found[-1] == darts[-1] and figures["last_projection_steps"] == 0.0
    assert {name: figures[name] for name in of_darts} == of_darts


def test_if_nothing_is_feasible_the_recommendation_is_unchanged() -> None:
    limits = (Limit("params", 1.0),)
    found, figures = relax(RCDARTS(steps=20, exact=True), limits)
    assert found == relax(RCDARTS(steps=20), limits)[0] and figures["repaired"] == 0.0


@pytest.mark.parametrize("text", LIMITS[:3])
def test_exact_and_repaired_recommendations_are_feasible_for_every_seed(text: str) -> None:
    limits = resolve(DIGITS, [text]).limits
    for seed in range(3):
        for method in (RCDARTS(steps=60, exact=True), RCDARTS(steps=60, repair=True)):
            found, _ = relax(method, limits, seed)
            assert DIGITS.admitted(limits)[DIGITS.space.index(found[-1])]


@pytest.mark.parametrize("device", ["pixel3", "raspi4", "eyeriss", "fpga"])
def test_the_exact_ending_is_feasible_on_real_devices(real_tables: Path, device: str) -> None:
    tabulated = tabulated_space_of("nasbench201", "cifar10", device)
    for text in ("latency_ms@q10", "latency_ms@q50"):
        limits = resolve(tabulated, [text]).limits
        found, _ = relax(RCDARTS(steps=60, exact=True), limits, tabulated=tabulated)
        assert tabulated.admitted(limits)[tabulated.space.index(found[-1])]


@pytest.mark.parametrize(
    "wrong",
    [{"free_steps": 0}, {"warm_up": 0}, {"projection_steps": -1}, {"lambda_start": -1.0}, {"lambda_end": 0.0}, {"most_of_search": 2.0}],
)
def test_invalid_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* of RC-DARTS"):
        RCDARTS(**wrong)
    assert RCDARTS.needs == {Need.RELAXATION}
