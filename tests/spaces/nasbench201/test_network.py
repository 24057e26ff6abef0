"""The networks of NAS-Bench-201 equal published figures, a plain evaluation of the cell, and digits201's own implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from budgetnas.harness.digits201.networks import Networks, initial_values, parameter_shapes  # noqa: E402
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe  # noqa: E402
from budgetnas.spaces.nasbench201 import NASBench201  # noqa: E402
from budgetnas.spaces.nasbench201.network import Cell, IndivisibleImages  # noqa: E402
from budgetnas.spaces.nasbench201.order import EDGES  # noqa: E402
from budgetnas.spaces.nasbench201.small_network import live_edges  # noqa: E402
from budgetnas.spaces.space import Architecture, Complexity, InvalidArchitecture  # noqa: E402
from budgetnas.spaces.task import TASKS, Task  # noqa: E402

SPACE = NASBench201()
Counted = Callable[..., Complexity]
# All operations, two convolutions of the same node, dead edges, a convolution of zero, no path at all; the best cell and others.
CELLS = (
    (3, 2, 4, 3, 1, 3),
    (4, 4, 4, 4, 4, 4),
    (3, 3, 3, 0, 0, 3),
    (0, 0, 3, 1, 3, 0),
    (0,) * 6,
    (0, 3, 3, 0, 3, 0),
    (3, 0, 1, 2, 0, 4),
    (3, 3, 3, 3, 3, 3),
)


def cell(genes: Sequence[int]) -> Architecture:
    return Architecture(SPACE.name, tuple(genes))


@pytest.mark.parametrize(
    ("arch", "params", "macs"),
    [
        (cell((3,) * 6), 1_531_546, 220_119_680),
        (cell((0,) * 6), 73_306, 7_783_040),
        (SPACE.at(0), 129_306, 15_647_360),
        (SPACE.at(1), 802_426, None),
    ],
    ids=["all 3x3", "smallest", "index 0", "index 1"],
)
def test_the_built_network_has_the_published_figures(arch: Architecture, params: int, macs: int | None, counted: Counted) -> None:
    complexity = counted(SPACE.network(arch, TASKS["cifar10"]), TASKS["cifar10"])
    assert complexity.params == params
    assert macs is None or complexity.macs == macs


def test_the_parts_have_the_published_order() -> None:
    features = SPACE.network(cell((3, 2, 4, 3, 1, 3)), TASKS["cifar100"]).features
    names = [type(part).__name__ for part in features]
    assert names == ["Conv2d", "BatchNorm2d", *["Cell"] * 5, *["ResidualBlock", *["Cell"] * 5] * 2, "BatchNorm2d", "ReLU"]
    images = torch.rand(2, 3, 32, 32)
    shapes = {}
    for name, part in features.named_children():
        images = part(images)
        shapes[int(name)] = tuple(images.shape[1:])
    assert [shapes[stage] for stage in (1, 6, 7, 12, 13, 18)] == [
        (16, 32, 32), (16, 32, 32), (32, 16, 16), (32, 16, 16), (64, 8, 8), (64, 8, 8),
    ]  # fmt: skip


@pytest.mark.parametrize("genes", CELLS)
def test_a_cell_equals_its_definition(genes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = Cell(genes, 4).double()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.bias)
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    nodes = [x, *[torch.zeros_like(x)] * 3]
    for position, (source, target) in enumerate(EDGES):
        nodes[target] = nodes[target] + by_definition(module, position, genes[position], nodes[source])
    torch.testing.assert_close(module(x), nodes[3])


def by_definition(module: Cell, position: int, gene: int, x):
    if gene == 0:
        return torch.zeros_like(x)
    if gene == 1:
        return x
    if gene == 4:
        ones = torch.ones_like(x)
        return nn.functional.avg_pool2d(x, 3, 1, 1) / nn.functional.avg_pool2d(ones, 3, 1, 1)
    _, convolution, norm = module.edges[str(position)]
    out = nn.functional.conv2d(x.clamp_min(0), convolution.weight, padding=(gene - 2))
    mean, variance = out.mean((0, 2, 3), keepdim=True), out.var((0, 2, 3), correction=0, keepdim=True)
    return (out - mean) / (variance + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


def trained_tensors(network: nn.Module, genes: Sequence[int]) -> Iterator[nn.Parameter]:
    """Yield the parameters in the order of the reference implementation, which leaves out those of dead edges."""
    parts = list(network.features)
    for stem, norm, body in (parts[0:3], parts[5:8]):
        yield from (*stem.parameters(), *norm.parameters())
        for edge in live_edges(genes):
            if genes[edge] in (2, 3):
                yield from body.edges[str(edge)].parameters()
    yield from parts[8].parameters()
    yield from network.classifier.parameters()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("genes", CELLS)
def test_the_network_of_digits201_equals_the_one_that_built_the_table(genes: tuple[int, ...], training: bool) -> None:
    rng = np.random.default_rng(3)
    shapes = parameter_shapes(genes)
    values = initial_values(shapes, rng) + 0.1 * torch.from_numpy(rng.standard_normal(initial_values(shapes, rng).shape)).float()
    images = torch.from_numpy(rng.random((12, 1, 8, 8), np.float32))
    by_hand = Networks(genes, values[None].clone(), digits201_recipe())
    module = SPACE.network(cell(genes), TASKS["digits201"])
    start = 0
    for shape, parameter in zip(shapes, trained_tensors(module, genes), strict=True):
        part = values[start : start + parameter.numel()].view(shape.size)
        parameter.data = (part.permute(3, 2, 0, 1) if part.dim() == 4 else part.T if part.dim() == 2 else part).clone()
        start += parameter.numel()
    assert start == len(values)
    by_hand.forward(images[None, :, 0], training=True)  # updates the running averages, which evaluation uses
    module(images)
    expected = by_hand.forward(images[None, :, 0], training=training)[0]
    torch.testing.assert_close(module.train(training)(images), expected, rtol=0, atol=1e-5)


def test_an_edge_that_no_path_uses_is_counted_but_does_not_change_the_output(counted: Counted) -> None:
    dead = SPACE.network(cell((3, 0, 0, 3, 0, 0)), TASKS["digits201"])
    alive = SPACE.network(cell((0, 0, 0, 3, 0, 0)), TASKS["digits201"])
    assert counted(dead, TASKS["digits201"]).params > counted(alive, TASKS["digits201"]).params
    dead.load_state_dict(alive.state_dict(), strict=False)
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(dead(images), alive(images))


def test_sides_that_cannot_be_halved_twice_are_refused() -> None:
    with pytest.raises(IndivisibleImages, match="the side of the images is 30; nasbench201 halves it 2 times, so choose a multiple of 4"):
        SPACE.network(SPACE.at(0), Task("odd", 30, 3, 10))


def test_an_invalid_cell_is_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="gene 5 is 5"):
        SPACE.network(cell((0, 0, 0, 0, 0, 5)), TASKS["cifar10"])
