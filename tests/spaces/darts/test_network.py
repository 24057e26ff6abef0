"""DARTS's evaluation networks have the published figures, and each part equals its definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from budgetnas.spaces.darts import DARTS  # noqa: E402
from budgetnas.spaces.darts.complexity import IndivisibleWidth  # noqa: E402
from budgetnas.spaces.darts.network import AuxiliaryHead, Cell, NoAuxiliaryHead, dropped  # noqa: E402
from budgetnas.spaces.darts.operations import FactorizedReduce  # noqa: E402
from budgetnas.spaces.darts.order import NODES, Edge  # noqa: E402
from budgetnas.spaces.space import Architecture, Complexity, sample  # noqa: E402
from budgetnas.spaces.task import TASKS, Task  # noqa: E402

pytestmark = pytest.mark.slow

Counted = Callable[..., Complexity]
DARTS_SECOND_ORDER = """Genotype(
    normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0),
            ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6),
    reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2),
            ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"""
PC_DARTS = """Genotype(
    normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 1),
            ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)], normal_concat=range(2, 6),
    reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2), ('sep_conv_3x3', 0), ('sep_conv_3x3', 3),
            ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], reduce_concat=range(2, 6))"""


REDUCTION, NORMAL = 1, 0  # the order in `DARTS.edges`


def built(
    task: Task,
    text: str = DARTS_SECOND_ORDER,
    channels: int | None = 8,
    cells: int | None = 6,
    connection: str | None = None,
    auxiliary: bool = False,
) -> nn.Module:
    space = DARTS(channels=channels, cells=cells, connection=connection is not None)
    arch = space.decode(text if connection is None else f"{text[:-1]}, connection='{connection}')")
    return space.network(arch, task, auxiliary=auxiliary)


def uniform(operation: str) -> list[Edge]:
    """Return a cell in which every node reads both inputs through the same operation."""
    return [Edge(source, node, operation) for node in NODES for source in (0, 1)]


def outputs_by_cell(network: nn.Module, images) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network(images)
    return shapes


@pytest.mark.parametrize(
    ("text", "params", "with_auxiliary", "macs"),
    [(DARTS_SECOND_ORDER, 3_349_342, 3_825_768, 528_359_040), (PC_DARTS, 3_634_678, 4_111_104, 556_670_592)],
    ids=["DARTS second order", "PC-DARTS"],
)
def test_the_built_network_has_the_published_figures(text: str, params: int, with_auxiliary: int, macs: int, counted: Counted) -> None:
    task = TASKS["cifar10"]
    with torch.device("meta"):
        assert counted(built(task, text, None, None), task) == Complexity(params, macs)
        assert counted(built(task, text, None, None, auxiliary=True), task) == Complexity(with_auxiliary, macs)


@pytest.mark.parametrize("dataset", ["cifar10", "fashion-mnist", "digits", "imagenet"])
def test_the_closed_form_equals_a_count_with_groups_and_connections(dataset: str, counted: Counted) -> None:
    space, task, rng = DARTS(channels=16, cells=8, groups=3, connection=True), TASKS[dataset], np.random.default_rng(8)
    for connection in range(4):
        arch = Architecture(space.name, (*sample(space, rng).genes[:-1], connection))
        with torch.device("meta"):
            plain, with_head = (space.network(arch, task, auxiliary=auxiliary) for auxiliary in (False, True))
        assert counted(plain, task) == space.complexity(arch, task)
        assert counted(with_head, task).params == space.figures(arch, task)["params_with_auxiliary"]


def test_the_network_for_imagenet_has_the_4_7_million_parameters_of_the_paper(counted: Counted) -> None:
    with torch.device("meta"):
        network = built(TASKS["imagenet"], channels=None, cells=None)
    assert round(counted(network, TASKS["imagenet"]).params / 1e6, 1) == 4.7


@pytest.mark.parametrize(
    ("dataset", "sides"),
    [
        ("cifar10", (32, 16, 8)),
        ("fashion-mnist", (28, 14, 7)),
        ("digits", (8, 4, 2)),
        ("tiny-imagenet", (64, 32, 16)),
        ("imagenet", (28, 14, 7)),
    ],
)
def test_reduction_cells_at_one_and_two_thirds_halve_the_side_and_double_the_width(dataset: str, sides: tuple[int, ...]) -> None:
    task = TASKS[dataset]
    with torch.device("meta"):
        network = built(task, cells=8)
        shapes = outputs_by_cell(network, torch.empty(1, task.image_channels, task.image_size, task.image_size))
    stages = [sum(position >= reduction for reduction in (2, 5)) for position in range(8)]
    assert shapes == [(4 * 8 * 2**stage, sides[stage], sides[stage]) for stage in stages]


@pytest.mark.parametrize("side", [9, 27])
def test_odd_sides_are_rounded_up(side: int) -> None:
    task = Task("odd", side, 3, 10)
    shapes = outputs_by_cell(built(task, PC_DARTS, cells=3), torch.rand(2, 3, side, side))
    assert [shape[1] for shape in shapes] == [side, -(-side // 2), -(-side // 4)]


@pytest.mark.parametrize("cells", [3, 4, 5])
def test_the_shortest_networks_can_be_built(cells: int) -> None:
    images = torch.rand(2, 3, 32, 32)
    logits, auxiliary = built(TASKS["cifar10"], cells=cells, auxiliary=True).with_auxiliary(images)
    assert logits.shape == auxiliary.shape == (2, 10)


def test_the_stems_have_the_published_shapes() -> None:
    small, large = built(TASKS["tiny-imagenet"]).stem, built(TASKS["imagenet"]).stem
    first, second = small(torch.rand(2, 3, 64, 64))
    assert first is second and first.shape == (2, 24, 64, 64)
    first, second = large(torch.rand(2, 3, 224, 224))
    assert first.shape == (2, 8, 56, 56) and second.shape == (2, 8, 28, 28)
    assert [name(part) for part in large.body] == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]


def name(part: nn.Module) -> str:
    return type(part).__name__


@pytest.mark.parametrize(("dataset", "factorised"), [("cifar10", [3, 5]), ("imagenet", [0, 3, 5])])
def test_the_older_input_is_factorised_if_it_has_double_the_side(dataset: str, factorised: list[int]) -> None:
    with torch.device("meta"):
        cells = built(TASKS[dataset]).cells
    assert [position for position, cell in enumerate(cells) if isinstance(cell.first, FactorizedReduce)] == factorised
    plain = [cell.second for cell in cells] + [cell.first for position, cell in enumerate(cells) if position not in factorised]
    assert all([name(part) for part in inputs] == ["ReLU", "Conv2d", "BatchNorm2d"] for inputs in plain)


@pytest.mark.parametrize("kind", ["normal", "reduction"])
def test_a_cell_is_the_sum_of_its_edges_node_by_node(kind: str) -> None:
    edges = DARTS().edges(DARTS().decode(PC_DARTS))[REDUCTION if kind == "reduction" else NORMAL]
    cell = Cell(edges, (nn.Identity(), nn.ReLU()), 4, reduces=kind == "reduction").double().eval()
    first, second = torch.randn(2, 2, 4, 8, 8, dtype=torch.float64)
    nodes = {0: first, 1: second.relu()}
    for node in NODES:
        nodes[node] = sum(module(nodes[e.source]) for e, module in zip(edges, cell.edges, strict=True) if e.node == node)
    torch.testing.assert_close(cell(first, second), torch.cat([nodes[node] for node in NODES], 1))
    assert cell(first, second).shape == ((2, 16, 8, 8) if kind == "normal" else (2, 16, 4, 4))


def test_normal_cells_are_divided_into_groups_evenly_and_in_order() -> None:
    space = DARTS(channels=4, groups=3)
    normal = space.identity.genes[:12]
    # Each group has one operation on all edges: max pooling, average pooling, the identity. Reduction cells have separable convolutions.
    genes = sum((tuple(gene if slot % 3 == 0 else kind for slot, gene in enumerate(normal)) for kind in (0, 1, 2, 3)), ())
    with torch.device("meta"):
        cells = space.network(Architecture(space.name, genes), TASKS["cifar10"]).cells
    found = [name(cell.edges[0]) for cell in cells]
    assert [found.pop(position) for position in (13, 6)] == ["Sequential"] * 2
    assert found == [("MaxPool2d", "AvgPool2d", "Identity")[number * 3 // 18] for number in range(18)]


def test_dropped_images_are_zero_and_the_others_keep_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.randn(4000, 2, 2, 2, dtype=torch.float64)
    out = dropped(x, 0.2)
    gone = (out == 0).flatten(1).all(1)
    torch.testing.assert_close(out[~gone], x[~gone] / 0.8)
    # Five standard deviations of a binomial share.
    assert gone.double().mean().item() == pytest.approx(0.2, abs=5 * (0.2 * 0.8 / 4000) ** 0.5)


@pytest.mark.parametrize(
    ("operation", "reduces", "drops"),
    [("skip_connect", False, False), ("skip_connect", True, True), ("max_pool_3x3", False, True), ("sep_conv_3x3", False, True)],
)
def test_every_edge_except_an_identity_is_dropped(operation: str, reduces: bool, drops: bool) -> None:
    torch.manual_seed(0)
    cell = Cell(uniform(operation), (nn.Identity(), nn.Identity()), 2, reduces)
    images = torch.rand(64, 2, 4, 4)
    out = cell(images, images, drop_path=0.5)
    zero = (out.view(64, len(NODES), 2, -1) == 0).all(3).all(2)
    assert zero.any() == drops, "a node is zero if both of its edges are dropped"
    assert not zero.all()
    assert torch.equal(out, cell(images, images)) != drops


@pytest.mark.parametrize(("side", "window", "stride"), [(8, 5, 3), (7, 5, 2)], ids=["CIFAR", "ImageNet"])
def test_the_auxiliary_head_pools_as_published(side: int, window: int, stride: int) -> None:
    pooling = AuxiliaryHead(16, side, 10, second_normalisation=True)[1]
    assert (pooling.kernel_size, pooling.stride, pooling.count_include_pad) == (window, stride, False)


@pytest.mark.parametrize("side", range(2, 33))
def test_the_auxiliary_head_accepts_every_side_of_at_least_two(side: int) -> None:
    head = AuxiliaryHead(4, side, 10, second_normalisation=False)
    pooled = head[1](torch.rand(2, 4, side, side))
    assert pooled.shape == (2, 4, 2, 2)
    assert head(torch.rand(2, 4, side, side)).shape == (2, 10)


def test_one_pixel_is_too_small_for_an_auxiliary_head() -> None:
    with pytest.raises(NoAuxiliaryHead, match="1 pixel a side remains after the reductions; an auxiliary head needs 2"):
        built(Task("tiny", 4, 1, 10), auxiliary=True)
    assert built(Task("tiny", 4, 1, 10))(torch.rand(2, 1, 4, 4)).shape == (2, 10)


def test_the_auxiliary_head_reads_the_second_reduction_cell_and_nothing_after_it() -> None:
    network = built(TASKS["cifar10"], auxiliary=True)
    _, auxiliary = network.with_auxiliary(torch.rand(4, 3, 32, 32))
    auxiliary.sum().backward()
    assert [any(parameter.grad is not None for parameter in cell.parameters()) for cell in network.cells] == [True] * 5 + [False]


def test_the_auxiliary_head_for_imagenet_has_no_second_normalisation(counted: Counted) -> None:
    def head(dataset: str) -> Sequence[str]:
        with torch.device("meta"):
            return [name(part) for part in built(TASKS[dataset], auxiliary=True).auxiliary]

    small, large = head("cifar10"), head("imagenet")
    assert small == [
        "ReLU", "AvgPool2d", "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear",
    ]  # fmt: skip
    assert large == [*small[:6], *small[7:]]


def test_a_grouped_connection_divides_the_weights_before_every_input(counted: Counted) -> None:
    task = TASKS["cifar10"]
    plain, halved, quartered = (
        counted(built(task, connection=connection), task) for connection in ("conv_1x1", "conv_1x1_g2", "conv_1x1_g4")
    )
    saved = plain.params - halved.params
    assert plain.params - quartered.params == 1.5 * saved and plain.macs - quartered.macs == 1.5 * (plain.macs - halved.macs)
    # The widths of both inputs times the width of the cell, for cells of 8, 8, 16 (reduction), 16, 32 (reduction), 32 channels.
    inputs = ((24, 24), (24, 32), (32, 32), (32, 64), (64, 64), (64, 128))
    assert saved == sum(sum(pair) * width for pair, width in zip(inputs, (8, 8, 16, 16, 32, 32), strict=True)) / 2


def test_a_dilated_connection_halves_the_same_sides_as_the_connection_of_darts() -> None:
    network = built(TASKS["cifar10"], connection="dil_conv_3x3")
    assert [cell.first[1].stride[0] for cell in network.cells] == [1, 1, 1, 2, 1, 2]
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_groups_that_do_not_divide_the_widths_are_refused() -> None:
    with pytest.raises(IndivisibleWidth, match="4 groups do not divide the channels of a convolution of 18 to 6 channels"):
        built(TASKS["cifar10"], channels=6, connection="conv_1x1_g4")
