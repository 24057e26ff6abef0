"""The costs and results of the constrained methods in DARTS's space, with its real search network on a few digits."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from budgetnas.harness.problem import Allowance, Limit, Problem, SupernetOptions
from budgetnas.methods.dca_nas import sizes
from budgetnas.methods.deff_arts import DEffARTS
from budgetnas.methods.rc_darts import _costs
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.task import task_of

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from budgetnas.harness.evaluators.supernet_inputs import SupernetInputs  # noqa: E402
from budgetnas.harness.evaluators.supernet_relaxation import SupernetRelaxation  # noqa: E402
from budgetnas.harness.training.images.load import load  # noqa: E402
from budgetnas.harness.training.recipes.recipe import Optimiser, Subset  # noqa: E402
from budgetnas.harness.training.recipes.search_recipe import SearchRecipe  # noqa: E402

pytestmark = pytest.mark.slow
SPACE: Any = space_of("darts[cells=4,channels=8]")
TASK = task_of("digits")
RECIPE = SearchRecipe(
    name="tiny", version=1, source="these tests", kind="search", epochs=2, batch=8, optimiser=Optimiser(learning_rate=0.05, clip=5.0),
    channels=4, cells=3, images=Subset(train=128),
)  # fmt: skip


def relaxation_of(**options: Any) -> Any:
    inputs = SupernetInputs(SPACE, TASK, RECIPE, load(TASK), ("params", "macs", "cycles"), None, {"seed": 0}, None, None)
    return SupernetRelaxation(inputs, SupernetOptions(**options), np.random.default_rng(0), 1e-3)


def drawn(seed: int) -> Architecture:
    rng = np.random.default_rng(seed)
    return Architecture(SPACE.name, tuple(int(rng.integers(arity)) for arity in SPACE.arity))


def certain(arch: Architecture, seed: int) -> list[Any]:
    """Return alphas whose discrete architecture is `arch`, with one certain operation on each edge, including the edges that it drops.

    In single precision the operation of a kept edge has strength 1, and that of a dropped edge 1 - 1e-6, so that there are no ties.
    """
    rng, found = np.random.default_rng(seed), []
    for cell, hot in zip(SPACE.searched, SPACE.one_hot(arch), strict=True):
        rows = torch.zeros(hot.shape)
        for edge, row in enumerate(hot):
            operation = int(row.argmax()) if row.any() else int(rng.choice(cell.choosable or range(len(cell.operations))))
            rows[edge, operation] = 40.0 if row.any() else 15.8
        found.append(rows)
    return found


@pytest.mark.parametrize("resource", ["params", "macs", "cycles"])
def test_equation_6_of_certain_alphas_is_the_exact_cost_and_leaves_out_dropped_edges(resource: str) -> None:
    problem = Problem(SPACE, TASK, None, (Limit(resource, 1.0),), Allowance(None))
    relaxation = relaxation_of()
    costs = _costs(problem, relaxation, "auto")
    for seed in range(5):
        arch = drawn(seed)
        alphas = certain(arch, seed)
        assert relaxation.discretise(alphas) == arch
        exact = SPACE.figures(arch, TASK)["cycles"] if resource == "cycles" else getattr(SPACE.complexity(arch, TASK), resource)
        assert costs(alphas)[resource].item() == pytest.approx(exact, rel=1e-5)
        dropped = sum(
            float(rows[~edges].max(dim=1).values.sum()) for rows, edges in zip(alphas, relaxation.kept_edges(alphas), strict=True)
        )
        assert dropped > 0.0  # otherwise the test would also pass without the indicator of kept edges


@pytest.mark.parametrize("resource", ["params", "macs"])
def test_the_size_in_dca_nas_is_that_of_the_search_network_including_its_fixed_part(resource: str) -> None:
    relaxation = relaxation_of()
    small: Any = space_of("darts[cells=3,channels=4]")  # the recipe's search network as an evaluation network
    alphas = certain(drawn(1), 1)
    with torch.no_grad():
        for own, rows in zip(relaxation.alphas, alphas, strict=True):
            own.copy_(100.0 * rows)
    hot = [rows > 0 for rows in alphas]
    expected = small.fixed_cost(resource, TASK) + sum(
        float((torch.as_tensor(costs) * rows).sum()) for costs, rows in zip(small.edge_costs(resource, TASK), hot, strict=True)
    )
    assert sizes(relaxation, resource)().item() == pytest.approx(expected, rel=1e-9)
    assert small.fixed_cost(resource, TASK) != SPACE.fixed_cost(resource, TASK)


def test_edge_weights_are_normalised_over_the_edges_into_a_node() -> None:
    relaxation = relaxation_of(edge_weights=True)
    with torch.no_grad():
        for place, weights in enumerate(relaxation.parameters()[len(relaxation.alphas) :]):
            weights.copy_(torch.tensor(np.random.default_rng(place).normal(0.0, 2.0, len(weights))))
    plain = [torch.softmax(rows, dim=1) for rows in relaxation.alphas]
    for cell, rows, p, weights in zip(
        relaxation.cells, relaxation.strengths(), plain, relaxation.parameters()[len(relaxation.alphas) :], strict=True
    ):
        for node in {target for _, target in cell.edges}:
            into = [edge for edge, (_, target) in enumerate(cell.edges) if target == node]
            powers = [float(weights[edge].detach().exp()) for edge in into]
            for edge, power in zip(into, powers, strict=True):
                assert torch.allclose(rows[edge], p[edge] * power / sum(powers), rtol=1e-5)
        assert len({target for _, target in cell.edges}) == 4


class Evaluator:
    """An evaluator with a relaxation only."""

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Any:
        return relaxation_of()


def test_a_large_gamma_gives_cells_of_skip_connections_of_cost_0() -> None:
    problem = Problem(SPACE, TASK, None, (), Allowance(None))
    method = DEffARTS(gamma=10.0, learning_rate=0.5, unrolled=False)
    (*_, (arch,)) = list(method.search(problem, cast(Any, Evaluator()), np.random.default_rng(0)))
    for cell, hot in zip(SPACE.searched, SPACE.one_hot(arch), strict=True):
        assert {cell.operations[int(row.argmax())] for row in hot if row.any()} == {"skip_connect"}
    assert SPACE.paper_cycles(arch) == 0
