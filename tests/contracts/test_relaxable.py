"""The contract of a space with a continuous relaxation: its rule, its costs by edge, its search network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.spaces.registry import SPACES, space_of
from budgetnas.spaces.space import Architecture, Floats, Relaxable, SupernetOptions, neighbours, sample
from budgetnas.spaces.task import TASKS, Task

pytestmark = pytest.mark.slow

NAMES = [*SPACES, "darts[groups=2,connection=true]", "darts[cells=8,channels=16,groups=3]"]
RELAXABLE = [space for name in NAMES if isinstance(space := space_of(name), Relaxable)]
EVERY = pytest.mark.parametrize("space", RELAXABLE, ids=lambda space: space.name)
TASK = Task("small", image_size=12, image_channels=3, classes=5)
SMALL = SupernetOptions(channels=8, cells=3)


def some(space: Relaxable, count: int = 30) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [sample(space, rng) for _ in range(count)]


def shapes(space: Relaxable) -> list[tuple[int, int]]:
    return [(len(cell.edges), len(cell.operations)) for cell in space.searched]


def drawn(space: Relaxable, seed: int = 0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [rng.random(shape) for shape in shapes(space)]


def test_nasbench201_and_darts_are_relaxable() -> None:
    assert {"nasbench201", "darts"} <= {space.name for space in RELAXABLE}


@EVERY
def test_its_searched_cells_have_distinct_names_edges_and_operations(space: Relaxable) -> None:
    assert len({cell.name for cell in space.searched}) == len(space.searched) > 0
    for cell in space.searched:
        assert len(set(cell.edges)) == len(cell.edges) and len(set(cell.operations)) == len(cell.operations)
        assert all(source < target for source, target in cell.edges)


@EVERY
def test_strongest_inverts_one_hot(space: Relaxable) -> None:
    for arch in some(space):
        strengths = space.one_hot(arch)
        assert [each.shape for each in strengths] == shapes(space)
        assert all(set(np.unique(each)) <= {0.0, 1.0} and (each.sum(axis=1) <= 1).all() for each in strengths)
        assert space.strongest(strengths) == arch
        for each, kept in zip(strengths, space.kept_edges(strengths), strict=True):
            assert kept.dtype == np.bool_ and (kept == (each.sum(axis=1) == 1)).all()


@EVERY
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_strengths_give_a_point_of_the_space_and_its_edges(space: Relaxable, seed: int) -> None:
    strengths = drawn(space, seed)
    arch = space.strongest(strengths)
    assert all(type(gene) is int and 0 <= gene < arity for gene, arity in zip(arch.genes, space.arity, strict=True))
    # The kept edges are those of the architecture, and raising the strengths of its operations does not change it.
    one_hot = space.one_hot(arch)
    for kept, each in zip(space.kept_edges(strengths), one_hot, strict=True):
        assert (kept == (each.sum(axis=1) == 1)).all()
    assert space.strongest([each + 10 * own for each, own in zip(strengths, one_hot, strict=True)]) == arch


@EVERY
def test_ties_go_to_the_lowest_numbers(space: Relaxable) -> None:
    equal = space.strongest([np.ones(shape) for shape in shapes(space)])
    assert equal.genes == (0,) * len(space.arity)
    rounded = [np.round(each, 1) for each in drawn(space)]
    assert space.strongest(rounded) == space.strongest([each - 1e-6 * np.arange(each.size).reshape(each.shape) for each in rounded])


@EVERY
@pytest.mark.parametrize("resource", ["params", "macs", "cycles"])
@pytest.mark.parametrize("dataset", TASKS)
def test_fixed_cost_and_edge_costs_add_up_to_the_exact_cost(space: Relaxable, resource: str, dataset: str) -> None:
    task = TASKS[dataset]
    for arch in some(space, 5):
        complexity = space.complexity(arch, task)
        exact = {"params": complexity.params, "macs": complexity.macs, **_figures(space, arch, task)}[resource]
        costs = space.edge_costs(resource, task)
        assert [each.shape for each in costs] == shapes(space)
        found = space.fixed_cost(resource, task) + sum((a * b).sum() for a, b in zip(costs, space.one_hot(arch), strict=True))
        assert found == exact


def _figures(space: Any, arch: Architecture, task: Task) -> dict[str, float]:
    return dict(space.figures(arch, task))


@EVERY
def test_changing_one_gene_changes_the_cost_by_the_difference_of_edge_costs(space: Relaxable) -> None:
    task, arch = TASKS["cifar10"], some(space, 1)[0]
    costs = space.edge_costs("params", task)
    own = sum((a * b).sum() for a, b in zip(costs, space.one_hot(arch), strict=True))
    for other in list(neighbours(space, arch))[:20]:
        difference = sum((a * b).sum() for a, b in zip(costs, space.one_hot(other), strict=True)) - own
        assert space.complexity(other, task).params - space.complexity(arch, task).params == difference


@EVERY
def test_costs_grow_with_the_size_and_other_resources_are_refused(space: Relaxable) -> None:
    smaller, larger = (space.edge_costs("params", TASK, channels, 8) for channels in (8, 16))
    assert all((a <= b).all() and (a < b).any() for a, b in zip(smaller, larger, strict=True))
    assert space.fixed_cost("macs", TASK, 8, 8) < space.fixed_cost("macs", TASK, 16, 8)
    for question in (space.edge_costs, space.fixed_cost):
        with pytest.raises(ValueError, match=r"latency_ms.*params, macs, cycles") as refused:
            question("latency_ms", TASK)
        assert "\n" not in str(refused.value)


class TestSupernet:
    """The contract of a search network; needs torch."""

    pytestmark = pytest.mark.slow

    @staticmethod
    def network(space: Relaxable, options: SupernetOptions = SMALL) -> Any:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        size = SupernetOptions(channels=options.channels, cells=max(3, 2 + len(space.searched)), derived=options.derived)
        torch.manual_seed(0)
        return space.supernet(TASK, size)

    @staticmethod
    def tensors(strengths: Sequence[Floats]) -> list[Any]:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        return [torch.from_numpy(each).float().softmax(1).requires_grad_() for each in strengths]

    @staticmethod
    def images(count: int = 4) -> Any:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        return torch.randn(count, TASK.image_channels, TASK.image_size, TASK.image_size, generator=torch.Generator().manual_seed(1))

    @EVERY
    def test_it_returns_logits_and_all_strengths_and_weights_get_gradients(self, space: Relaxable) -> None:
        network, strengths = self.network(space), self.tensors(drawn(space))
        logits = network(self.images(), strengths)
        assert logits.shape == (4, TASK.classes)
        logits.square().sum().backward()
        for strength, cell in zip(strengths, space.searched, strict=True):
            silent = [name == "none" for name in cell.operations]
            assert ((strength.grad != 0).numpy() != np.array(silent)).all()
        assert all(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in network.parameters())

    @EVERY
    def test_the_same_seed_gives_the_same_network_bit_by_bit(self, space: Relaxable) -> None:
        torch = pytest.importorskip("torch", reason="torch is not installed")

        def passed() -> tuple[Any, list[Any]]:
            network, strengths = self.network(space), self.tensors(drawn(space))
            logits = network(self.images(), strengths)
            logits.sum().backward()
            return logits, [strength.grad for strength in strengths]

        (first, gradients), (second, again) = passed(), passed()
        assert torch.equal(first, second) and all(torch.equal(a, b) for a, b in zip(gradients, again, strict=True))

    @EVERY
    def test_with_one_hot_strengths_other_operations_have_no_influence(self, space: Relaxable) -> None:
        """The output does not depend on the weights of operations with strength 0."""
        torch = pytest.importorskip("torch", reason="torch is not installed")
        strengths = [torch.from_numpy(each).float() for each in space.one_hot(some(space, 1)[0])]
        network = self.network(space)
        before = network(self.images(), strengths)
        before.square().sum().backward()
        unused = 0
        with torch.no_grad():
            for parameter in network.parameters():
                silent = parameter.grad == 0
                unused += int(silent.sum())
                parameter.add_(torch.where(silent, 1.0, 0.0))
        assert unused > 0
        torch.testing.assert_close(network(self.images(), strengths), before, rtol=0, atol=1e-5)

    @EVERY
    def test_derive_sets_the_architecture_of_the_derived_cells(self, space: Relaxable) -> None:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        network = self.network(space, SupernetOptions(channels=8, derived=True))
        first, *others = some(space)
        second = next(arch for arch in others if space.canonical(arch) != space.canonical(first))
        strengths = [torch.from_numpy(each).float() for each in space.one_hot(first)]
        network.derive(first)
        before = network(self.images(), strengths)
        network.derive(second)
        assert not torch.equal(network(self.images(), strengths), before)
        network.derive(first)
        assert torch.equal(network(self.images(), strengths), before)

    @EVERY
    @pytest.mark.parametrize("slip", ["none", "too few", "too many", "other shape", "transposed"])
    def test_strengths_of_another_number_or_shape_are_refused_in_one_line(self, space: Relaxable, slip: str) -> None:
        network, strengths = self.network(space), self.tensors(drawn(space))
        bad = {
            "none": [],
            "too few": strengths[:-1],
            "too many": [*strengths, strengths[0]],
            "other shape": [strengths[0][:, :-1], *strengths[1:]],
            "transposed": [strengths[0].T, *strengths[1:]],
        }[slip]
        with pytest.raises(ValueError, match=r"the strengths have the shapes .*; this supernet takes") as refused:
            network(self.images(), bad)
        assert "\n" not in str(refused.value)

    @EVERY
    def test_images_of_another_shape_are_refused(self, space: Relaxable) -> None:
        network, strengths = self.network(space), self.tensors(drawn(space))
        with pytest.raises(ValueError, match="the images have the shape"):
            network(self.images()[:, :1], strengths)
