"""The networks by hand against plain PyTorch modules with automatic gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from torch import nn  # noqa: E402

from budgetnas.harness.training.digits201.networks import Networks, initial_values, parameter_shapes  # noqa: E402
from budgetnas.harness.training.digits201.recipe import digits201_recipe  # noqa: E402
from budgetnas.harness.training.digits201.together import prepared, train_together, training_losses  # noqa: E402
from budgetnas.spaces.nasbench201.cell import NASBench201  # noqa: E402
from budgetnas.spaces.nasbench201.order import EDGES, all_genes  # noqa: E402
from budgetnas.spaces.nasbench201.small_network import complexities, live_edges  # noqa: E402

RECIPE = digits201_recipe()
# All operations, a convolution twice from one node, dead edges, a convolution of zero, no path at all; the best and two others.
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


class PlainCell(nn.Module):
    """A cell as the paper's text has it: every edge that is not `none`, dead ones included."""

    def __init__(self, genes: Sequence[int], channels: int):
        super().__init__()
        self.genes = genes
        self.operations = nn.ModuleDict()
        for edge, gene in enumerate(genes):
            if gene in (2, 3):
                size = 1 if gene == 2 else 3
                convolution = nn.Conv2d(channels, channels, size, padding=size // 2, bias=False)
                self.operations[str(edge)] = nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(channels))
            if gene == 4:
                self.operations[str(edge)] = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def forward(self, x):
        nodes = [x] + [torch.zeros_like(x)] * 3
        for edge, (source, target) in enumerate(EDGES):
            if self.genes[edge]:
                operation = self.operations[str(edge)] if str(edge) in self.operations else nn.Identity()
                nodes[target] = nodes[target] + operation(nodes[source])
        return nodes[3]


def plain_network(genes: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 1, bias=False), nn.BatchNorm2d(8), PlainCell(genes, 8),
        nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), PlainCell(genes, 16),
        nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


def trained_tensors(network: nn.Sequential, genes: Sequence[int]) -> Iterator[nn.Parameter]:
    """The parameters in the order of `parameter_shapes`."""
    for position in (0, 5):
        yield from network[position].parameters()
        yield from network[position + 1].parameters()
        for edge in live_edges(genes):
            if genes[edge] in (2, 3):
                yield from network[position + 2].operations[str(edge)].parameters()
    yield from network[8].parameters()
    yield from network[12].parameters()


def load(network: nn.Sequential, genes: Sequence[int], flat) -> None:
    start = 0
    for shape, parameter in zip(parameter_shapes(genes), trained_tensors(network, genes), strict=True):
        part = flat[start : start + parameter.numel()].view(shape.size)
        parameter.data = plain_layout(part).clone()
        start += parameter.numel()
    assert start == len(flat)


def plain_layout(part):
    return part.permute(3, 2, 0, 1) if part.dim() == 4 else part.T if part.dim() == 2 else part


def flat_gradient(network: nn.Sequential, genes: Sequence[int]):
    """The automatic gradients in the layout of `Networks.gradients`; a parameter without one has zero."""
    parts = []
    for parameter in trained_tensors(network, genes):
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parts.append((grad.permute(2, 3, 1, 0) if grad.dim() == 4 else grad.T if grad.dim() == 2 else grad).flatten())
    return torch.cat(parts)


@pytest.mark.parametrize("genes", CELLS)
def test_logits_and_gradients_are_those_of_plain_modules(genes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    shapes = parameter_shapes(genes)
    values = torch.stack([initial_values(shapes, rng) for _ in range(2)]).double()
    # Shifts and scales away from 0 and 1, so that an exchange of them would show.
    values += 0.1 * torch.from_numpy(rng.standard_normal(values.shape))
    networks = Networks(genes, values.clone(), RECIPE)
    pixels, labels = torch.from_numpy(rng.random((2, 12, 8, 8))), torch.from_numpy(rng.integers(0, 10, (2, 12)))
    logits = networks.forward(pixels, training=True)
    automatic = logits.detach().clone().requires_grad_()
    nn.functional.cross_entropy(automatic.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    networks.backward(automatic.grad)
    evaluated = networks.forward(pixels)
    for number in range(2):
        plain = plain_network(genes).double()
        load(plain, genes, values[number])
        expected = plain(pixels[number].unsqueeze(1))
        nn.functional.cross_entropy(expected, labels[number], reduction="sum").backward()
        torch.testing.assert_close(logits[number], expected.detach(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(networks.gradients[number], flat_gradient(plain, genes), rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(evaluated[number], plain.eval()(pixels[number].unsqueeze(1)).detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("genes", CELLS[:3])
def test_a_training_follows_plain_pytorch(genes: tuple[int, ...]) -> None:
    """Ten steps of the trainer against modules, autograd and torch.optim.SGD: the same losses, seed by seed."""
    index = NASBench201().index(NASBench201().decode(NASBench201().encode(_cell(genes))))
    images, seeds, steps = RECIPE.images().train, (0, 2), 10
    networks, generators = prepared(index, genes, seeds, RECIPE)
    plain = [plain_network(genes) for _ in seeds]
    for number, network in enumerate(plain):
        load(network, genes, networks.values[number])
    losses = training_losses(networks, generators, images, RECIPE)
    found = torch.stack([next(losses) for _ in range(steps)])
    _, again = prepared(index, genes, seeds, RECIPE)
    for number, network in enumerate(plain):
        order = np.argsort(again[number].random(len(images.labels)), kind="stable")
        sgd = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
        for step in range(steps):
            sgd.param_groups[0]["lr"] = 0.05 * (1 + np.cos(np.pi * step / 84))
            chosen = order[64 * step : 64 * step + 64]
            loss = nn.functional.cross_entropy(
                network(torch.from_numpy(images.pixels[chosen]).unsqueeze(1)), torch.from_numpy(images.labels[chosen])
            )
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            assert found[step, number].item() == pytest.approx(loss.item(), rel=1e-3, abs=1e-4)


def _cell(genes: tuple[int, ...]):
    return NASBench201().at(int(np.flatnonzero((all_genes() == genes).all(axis=1))[0]))


@pytest.mark.parametrize("company", [(1,), (2, 1), (1, 0, 2)])
def test_a_seed_gives_the_same_whatever_trains_beside_it(company: tuple[int, ...]) -> None:
    # Cell 0 learns badly, so that the least difference in rounding would grow into another accuracy.
    together = {trained.seed: trained for trained in train_together(0, (0, 1, 2), RECIPE)}
    for trained in train_together(0, company, RECIPE):
        assert (trained.validation, trained.test) == (together[trained.seed].validation, together[trained.seed].test)


def test_parameters_are_counted_as_they_are() -> None:
    for genes in CELLS:
        network = plain_network(genes)
        counted = sum(parameter.numel() for parameter in network.parameters())
        assert complexities()[0][NASBench201().index(_cell(genes))] == counted
