"""RC-DARTS with `exact` in DARTS's space, compared with all architectures, and its figures of costs that are not a sum over edges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.problem import Allowance, Architecture, Limit, Problem, SearchedCell
from budgetnas.methods.rc_darts import RCDARTS, nearest_feasible, nearness
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.task import task_of

torch = pytest.importorskip("torch", reason="torch is not installed")

TASK = task_of("digits")
PLAIN: Any = space_of("darts[cells=5,channels=8]")
CONNECTED: Any = space_of("darts[cells=5,channels=8,connection=true]")


@dataclass(frozen=True)
class Known:
    """The costs of a space, and the part of its relaxation that `nearest_feasible` needs at given alphas."""

    space: Any

    @property
    def cells(self) -> tuple[SearchedCell, ...]:
        return tuple(self.space.searched)

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        return {"params": float(self.space.complexity(arch, TASK).params)}

    def discretise(self, alphas: Any) -> Architecture:
        # Double precision: in single precision, rounding of the softmax would rank almost equal edges.
        found: Architecture = self.space.strongest([torch.softmax(each.double(), dim=1).numpy() for each in alphas])
        return found

    def ended(self, alphas: Any, upper: float = math.inf) -> Architecture | None:
        known: Any = self
        limits = () if upper == math.inf else (Limit("params", upper),)
        return nearest_feasible(Problem(self.space, TASK, None, limits, Allowance(None)), known, known, alphas)


def alphas_of(space: Any, seed: int, scale: float, none: float, dtype: Any = torch.float64) -> list[Any]:
    """Return random alphas of standard deviation `scale`, with `none` added to those of the operation none."""
    rng, found = np.random.default_rng(seed), []
    for cell in space.searched:
        values = rng.normal(0.0, scale, (len(cell.edges), len(cell.operations)))
        values[:, [name == "none" for name in cell.operations]] += none
        found.append(torch.tensor(values, dtype=dtype))
    return found


def test_only_none_in_darts_cells_is_never_kept() -> None:
    assert [cell.choosable for cell in CONNECTED.searched] == [tuple(range(1, 8)), tuple(range(1, 8)), tuple(range(4))]
    assert [cell.choosable for cell in space_of("nasbench201").searched] == [tuple(range(5))]  # type: ignore[attr-defined]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1e-2, 1.0]), st.sampled_from([0.0, 0.5, 5.0]), st.booleans())
def test_without_a_limit_it_ends_with_the_architecture_of_darts(seed: int, scale: float, none: float, connection: bool) -> None:
    known = Known(CONNECTED if connection else PLAIN)
    alphas = alphas_of(known.space, seed, scale, none, torch.float32)
    assert known.ended(alphas) == known.discretise(alphas)
    # The search for a feasible architecture starts from the same one.
    strengths = [nearness(each.double(), cell.choosable).numpy() for each, cell in zip(alphas, known.cells, strict=True)]
    assert known.space.strongest(strengths) == known.discretise(alphas)


def test_an_operation_that_cannot_be_kept_does_not_compete() -> None:
    # (9, 0, 1, 1) without the 9: to be the strongest, the 0 and both 1 move to their mean, 2/3.
    alphas = torch.tensor([[9.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    (row,) = nearness(alphas, (1, 2, 3))
    assert row[0] == 0.0 and row[2] == row[3] == torch.softmax(alphas, dim=1)[0, 2]
    assert -2.0 * math.log(row[1] / row[2]) == pytest.approx(6.0 / 9.0)


def least_lost(space: Any, strengths: list[np.ndarray], upper: float) -> float:
    """Return the least -log of the product of strengths over all networks of at most `upper` parameters.

    It goes through the nodes of all cells, and keeps the non-dominated (parameters, -log) of what was chosen so far.
    """
    costs = space.edge_costs("params", TASK)
    front = [(space.fixed_cost("params", TASK), 0.0)]
    for cell, each, of_cell in zip(space.searched, strengths, costs, strict=True):
        for node in sorted({target for _, target in cell.edges}):
            incoming = [number for number, (_, target) in enumerate(cell.edges) if target == node]
            choices = [
                (of_cell[a, i] + of_cell[b, j], -math.log(each[a, i]) - math.log(each[b, j]))
                for a, b in combinations(incoming, 2)
                for i, j in product(cell.choosable, repeat=2)
            ]
            front = undominated([(cost + more, lost + given) for cost, lost in front for more, given in undominated(choices)])
    return min(lost for cost, lost in front if cost <= upper)


def undominated(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, lost) that no other point dominates."""
    found: list[tuple[float, float]] = []
    for cost, lost in sorted(points):
        if not found or lost < found[-1][1]:
            found.append((cost, lost))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("none", [0.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_under_a_limit_it_is_the_nearest_of_all_feasible_networks(seed: int, none: float) -> None:
    known, alphas = Known(PLAIN), alphas_of(PLAIN, seed, 0.3, none)
    own = known.cost(known.discretise(alphas))["params"]
    strengths = [nearness(each, cell.choosable).numpy() for each, cell in zip(alphas, known.cells, strict=True)]
    for share in (0.99, 0.97):  # tight enough to exclude the strongest, loose enough for the answer to be among those tried in order
        found = known.ended(alphas, share * own)
        assert found is not None and known.cost(found)["params"] <= share * own
        kept = zip(strengths, PLAIN.one_hot(found), strict=True)
        lost = -sum(float(np.log(each[hot > 0.0]).sum()) for each, hot in kept)
        assert lost == pytest.approx(least_lost(PLAIN, strengths, share * own), rel=1e-9)
    # Under a much tighter limit, changes of one gene lead to a feasible network.
    cheap = known.ended(alphas, 0.6 * own)
    assert cheap is not None and known.cost(cheap)["params"] <= 0.6 * own


def test_the_figures_have_the_error_of_a_device_s_additive_costs() -> None:
    from budgetnas.harness.evaluators.table import TableEvaluator

    tabulated = tabulated_space_of("nasbench201", "digits201", "amd-epyc")
    limits = (Limit("latency_ms", 0.02), Limit("params", 3000.0))
    problem = Problem(tabulated.space, tabulated.task, tabulated.device, limits, Allowance(200))

    def figures(method: RCDARTS) -> dict[str, float]:
        search: Any = method.search(problem, TableEvaluator(tabulated), np.random.default_rng(0))
        while True:
            try:
                next(search)
            except StopIteration as end:
                return {name: value for name, value in end.value.items() if name.startswith("additive_")}

    found = figures(RCDARTS(steps=2, projection_steps=1, cost="edges"))
    assert found.keys() == {"additive_variance_explained_latency_ms", "additive_mean_error_latency_ms"}
    assert 0.0 < found["additive_variance_explained_latency_ms"] < 1.0 and found["additive_mean_error_latency_ms"] > 0.0
    assert figures(RCDARTS(steps=2, projection_steps=1)) == {}
