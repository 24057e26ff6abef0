"""Architectures by strength, and the strongest feasible one, compared with a sorted list of all architectures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.repair import by_strength, nearest
from budgetnas.spaces.space import Architecture, Floats
from budgetnas.spaces.task import task_of

pytestmark = pytest.mark.slow
CELLS = NASBench201()
DARTS: Any = space_of("darts")
TASK = task_of("cifar10")


def softmaxed(values: Floats) -> Floats:
    exponentials = np.exp(values)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def random_strengths(space: Any, seed: int, scale: float = 1.0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [softmaxed(rng.normal(0.0, scale, (len(cell.edges), len(cell.operations)))) for cell in space.searched]


def strength(space: Any, strengths: list[Floats], arch: Architecture) -> float:
    hot = space.one_hot(arch)
    return float(np.prod([each[mask > 0.0].prod() for each, mask in zip(strengths, hot, strict=True)]))


def test_all_cells_are_yielded_once_by_falling_product() -> None:
    strengths = random_strengths(CELLS, 0)
    found = list(by_strength(CELLS, strengths))
    assert len(found) == len(set(found)) == CELLS.size
    products = np.array([strength(CELLS, strengths, arch) for arch in found])
    assert found[0] == CELLS.strongest(strengths)
    np.testing.assert_allclose(products, np.sort(products)[::-1], rtol=1e-12)


def test_an_operation_of_strength_0_never_occurs() -> None:
    strengths = random_strengths(CELLS, 1)
    strengths[0][0, 1:] = 0.0
    strengths[0][3, :2] = 0.0
    found = list(by_strength(CELLS, strengths))
    assert len(found) == 1 * 3 * 5**4
    assert all(arch.genes[0] == 0 and arch.genes[3] > 1 for arch in found)


@dataclass(frozen=True)
class TwoOfThree:
    """A node keeps the two strongest of three edges, each with the stronger of two operations. So edges compete, as in DARTS."""

    name: str = "two of three"
    pairs: tuple[tuple[int, int], ...] = ((0, 1), (0, 2), (1, 2))

    @property
    def arity(self) -> tuple[int, ...]:
        return (3, 2, 2)

    def strongest(self, strengths: Any) -> Architecture:
        (each,) = strengths
        kept = sorted(sorted(range(3), key=lambda edge: (-each[edge].max(), edge))[:2])
        return Architecture(self.name, (self.pairs.index((kept[0], kept[1])), *(int(each[edge].argmax()) for edge in kept)))

    def one_hot(self, arch: Architecture) -> list[Floats]:
        hot = np.zeros((3, 2))
        for edge, operation in zip(self.pairs[arch.genes[0]], arch.genes[1:], strict=True):
            hot[edge, operation] = 1.0
        return [hot]


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_exact_if_edges_compete_for_a_node(seed: int) -> None:
    space: Any = TwoOfThree()
    strengths = [np.random.default_rng(seed).uniform(0.1, 1.0, (3, 2))]
    every = [Architecture(space.name, genes) for genes in product(range(3), range(2), range(2))]
    expected = sorted(every, key=lambda arch: -strength(space, strengths, arch))
    assert list(by_strength(space, strengths)) == expected


def test_in_the_darts_space_products_fall_and_no_architecture_occurs_twice() -> None:
    strengths = random_strengths(DARTS, 2, scale=0.3)
    found = list(islice(by_strength(DARTS, strengths), 300))
    products = np.array([strength(DARTS, strengths, arch) for arch in found])
    assert found[0] == DARTS.strongest(strengths) and len(set(found)) == 300
    assert (products[1:] <= products[:-1] * (1.0 + 1e-12)).all()


@pytest.mark.parametrize("seed", range(2))
def test_the_nearest_is_the_strongest_feasible_cell(seed: int) -> None:
    strengths = random_strengths(CELLS, seed)
    params = CELLS.complexities(TASK)[0].tolist()
    bound = float(np.quantile(params, 0.1))

    def violation(arch: Architecture) -> float:
        return max(params[CELLS.index(arch)] - bound, 0.0)

    found = nearest(CELLS, strengths, violation)
    feasible = [CELLS.at(index) for index in range(CELLS.size) if params[index] <= bound]
    assert found == max(feasible, key=lambda arch: strength(CELLS, strengths, arch))
    assert nearest(CELLS, strengths, lambda arch: 1.0) is None


@pytest.mark.parametrize(("lower", "upper"), [(0.0, 2.2e6), (2.0e6, 2.2e6), (0.0, 3.3e6)])
def test_in_a_large_space_the_nearest_is_feasible_and_no_feasible_neighbour_is_stronger(lower: float, upper: float) -> None:
    strengths = random_strengths(DARTS, 3)

    def violation(arch: Architecture) -> float:
        params = DARTS.complexity(arch, TASK).params
        return max(params - upper, lower - params, 0.0)

    found = nearest(DARTS, strengths, violation)
    assert found is not None and violation(found) == 0.0
    near = [Architecture(found.space, (*found.genes[:i], v, *found.genes[i + 1 :])) for i, a in enumerate(DARTS.arity) for v in range(a)]
    own = strength(DARTS, strengths, found)
    assert all(violation(arch) > 0.0 or strength(DARTS, strengths, arch) <= own * (1 + 1e-12) for arch in near)


def test_nearest_is_none_if_no_change_lowers_the_violation() -> None:
    assert nearest(DARTS, random_strengths(DARTS, 4), lambda arch: 1.0) is None
