"""Costs of DARTS networks: golden figures, a plain count layer by layer, and sums over edges that equal the total."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.spaces.darts import DARTS
from budgetnas.spaces.darts.complexity import IndivisibleWidth
from budgetnas.spaces.darts.relaxed import UnknownCost
from budgetnas.spaces.space import Architecture, sample
from budgetnas.spaces.task import TASKS, Task

CIFAR, IMAGENET = TASKS["cifar10"], TASKS["imagenet"]
RESOURCES = ("params", "macs", "cycles")


@pytest.mark.parametrize(
    ("name", "params", "with_auxiliary", "macs"),
    [("darts_v2", 3_349_342, 3_825_768, 528_359_040), ("pcdarts_cifar10", 3_634_678, 4_111_104, 556_670_592)],
)
def test_the_published_networks_of_cifar10_have_the_golden_costs(name: str, params: int, with_auxiliary: int, macs: int) -> None:
    arch = DARTS().published[name]
    complexity = DARTS().complexity(arch, CIFAR)
    assert (complexity.params, complexity.macs) == (params, macs)
    assert DARTS().figures(arch, CIFAR)["params_with_auxiliary"] == with_auxiliary
    assert DARTS(channels=36, cells=20).complexity(Architecture("darts[cells=20,channels=36]", arch.genes), CIFAR) == complexity


def test_the_published_network_of_imagenet_has_the_parameters_of_the_paper() -> None:
    """Table 3 of the paper: 4.7 M parameters."""
    complexity = DARTS().complexity(DARTS().published["darts_v2"], IMAGENET)
    assert complexity.params == 4_718_752
    assert round(complexity.params / 1e6, 1) == 4.7


class Walk:
    """Counts parameters, multiply-adds and cycles of a network layer by layer, as DARTS's released code builds it."""

    def __init__(self) -> None:
        self.params = self.macs = self.cycles = 0

    def convolution(self, width_in: int, width_out: int, kernel: int, side: int, groups: int = 1, normalised: bool = True) -> None:
        weights = width_out * (width_in // groups) * kernel**2
        self.params += weights + (2 * width_out if normalised else 0)
        self.macs += weights * side**2
        self.cycles += 5 * weights * side**2

    def operation(self, operation: str, width: int, side: int, stride: int) -> None:
        out = -(-side // stride)
        name, size = operation.rsplit("_", 1)
        kernel = 0 if operation == "skip_connect" else int(size[0])
        if name in ("sep_conv", "dil_conv"):
            for _ in range(2 if name == "sep_conv" else 1):
                self.convolution(width, width, kernel, out, groups=width, normalised=False)
                self.convolution(width, width, 1, out)
        elif name.endswith("pool"):
            self.cycles += (9 if name == "max_pool" else 10) * width * out**2
        elif stride == 2:
            self.factorised(width, width, out)

    def factorised(self, width_in: int, width_out: int, out: int, groups: int = 1) -> None:
        for half in (width_out // 2, width_out - width_out // 2):
            self.convolution(width_in, half, 1, out, groups)

    def preprocessing(self, connection: str, width_in: int, width_out: int, out: int, double: bool) -> None:
        if connection == "dil_conv_3x3":
            self.convolution(width_in, width_in, 3, out, groups=width_in, normalised=False)
            self.convolution(width_in, width_out, 1, out)
            return
        groups = int(connection.partition("_g")[2] or 1)
        if double:
            self.factorised(width_in, width_out, out, groups)
        else:
            self.convolution(width_in, width_out, 1, out, groups)


def walked(space: DARTS, arch: Architecture, task: Task, channels: int, cells: int) -> Walk:
    walk, width, side, double = Walk(), channels, task.image_size, task.image_size > 64
    if double:
        for width_in, width_out in ((task.image_channels, channels // 2), (channels // 2, channels), (channels, channels)):
            side = -(-side // 2)
            walk.convolution(width_in, width_out, 3, side)
        previous = last = channels
    else:
        previous = last = 3 * channels
        walk.convolution(task.image_channels, last, 3, side)
    *normals, reduction = space.edges(arch)
    kinds = ["reduction" if position in (cells // 3, 2 * cells // 3) else "normal" for position in range(cells)]
    for position, kind in enumerate(kinds):
        rank, stride = kinds[:position].count("normal"), 2 if kind == "reduction" else 1
        width *= stride
        walk.preprocessing(space.connection_of(arch), previous, width, side, double)
        walk.preprocessing(space.connection_of(arch), last, width, side, False)
        for edge in reduction if stride == 2 else normals[rank * len(normals) // kinds.count("normal")]:
            walk.operation(edge.operation, width, side if edge.source < 2 else -(-side // stride), stride if edge.source < 2 else 1)
        previous, last, double, side = last, 4 * width, stride == 2, -(-side // stride)
    walk.convolution(last, task.classes, 1, 1, normalised=False)
    walk.params += task.classes
    walk.cycles += last * (side**2 + 1)
    return walk


def some_space(data: st.DataObject) -> DARTS:
    cells = data.draw(st.integers(3, 14), label="cells")
    groups = data.draw(st.integers(1, min(4, cells - 2)), label="groups")
    return DARTS(8 * data.draw(st.integers(1, 6), label="channels / 8"), cells, groups, data.draw(st.booleans(), label="connection"))


SOME_TASK = st.builds(
    Task, st.just("any"), st.sampled_from([7, 8, 16, 27, 28, 32, 64, 65, 96, 224]), st.sampled_from([1, 3]), st.integers(2, 100)
)


@settings(max_examples=100)
@given(data=st.data(), task=SOME_TASK, seed=st.integers(0, 10**6))
def test_costs_equal_a_count_layer_by_layer(data: st.DataObject, task: Task, seed: int) -> None:
    space = some_space(data)
    arch = sample(space, np.random.default_rng(seed))
    assert space.channels and space.cells
    walk, complexity = walked(space, arch, task, space.channels, space.cells), space.complexity(arch, task)
    assert (complexity.params, complexity.macs) == (walk.params, walk.macs)
    assert space.figures(arch, task)["cycles"] == walk.cycles


@settings(max_examples=100)
@given(data=st.data(), task=SOME_TASK, seed=st.integers(0, 10**6))
def test_fixed_and_edge_costs_add_up_to_the_exact_cost(data: st.DataObject, task: Task, seed: int) -> None:
    space = some_space(data)
    arch = sample(space, np.random.default_rng(seed))
    complexity, strengths = space.complexity(arch, task), space.one_hot(arch)
    whole = {"params": complexity.params, "macs": complexity.macs, "cycles": space.figures(arch, task)["cycles"]}
    for resource in RESOURCES:
        costs = space.edge_costs(resource, task)
        assert [cost.shape for cost in costs] == [each.shape for each in strengths]
        total = space.fixed_cost(resource, task) + sum(float((a * b).sum()) for a, b in zip(costs, strengths, strict=True))
        assert total == whole[resource]
        assert all((cost >= 0).all() for cost in costs) and space.fixed_cost(resource, task) > 0


@pytest.mark.parametrize("resource", RESOURCES)
def test_costs_of_another_size_equal_those_of_a_space_of_that_size(resource: str) -> None:
    whole, small = DARTS(groups=2), DARTS(channels=16, cells=8, groups=2)
    assert whole.fixed_cost(resource, CIFAR, channels=16, cells=8) == small.fixed_cost(resource, CIFAR)
    for ours, theirs in zip(whole.edge_costs(resource, CIFAR, 16, 8), small.edge_costs(resource, CIFAR), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_none_costs_nothing_on_any_edge() -> None:
    for resource in RESOURCES:
        assert all((cost[:, 0] == 0).all() for cost in DARTS(groups=2).edge_costs(resource, CIFAR))


def test_an_unknown_resource_is_refused_and_the_known_ones_are_listed() -> None:
    for ask in (DARTS().edge_costs, DARTS().fixed_cost):
        with pytest.raises(UnknownCost, match=r"'latency_ms' of DARTS networks .* choose one of params, macs, cycles, paper_cycles"):
            ask("latency_ms", CIFAR)


def test_groups_that_do_not_divide_the_channels_are_refused_with_a_remedy() -> None:
    space = DARTS(channels=22, connection=True)
    genes = space.published["darts_v2"].genes[:-1]
    fits = [space.complexity(Architecture(space.name, (*genes, connection)), CIFAR).params for connection in range(3)]
    assert fits[2] < fits[1] < fits[0]  # two groups, one, dilated
    with pytest.raises(IndivisibleWidth, match=r"conv_1x1_g4 cannot connect 66 to 22 channels: its 4 groups .* a multiple of 8"):
        space.complexity(Architecture(space.name, (*genes, 3)), CIFAR)
    with pytest.raises(IndivisibleWidth):
        space.edge_costs("params", CIFAR)


def test_the_auxiliary_head_for_imagenet_has_one_normalisation_fewer() -> None:
    arch = DARTS().published["darts_v2"]
    for task, width, normalisations in ((CIFAR, 4 * 4 * 36, 2 * 128 + 2 * 768), (IMAGENET, 4 * 4 * 48, 2 * 128)):
        expected = width * 128 + 4 * 128 * 768 + normalisations + 769 * task.classes
        assert DARTS().figures(arch, task)["params_with_auxiliary"] - DARTS().complexity(arch, task).params == expected
