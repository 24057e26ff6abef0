"""The hand-written networks, compared with PyTorch modules and automatic gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from torch import nn  # noqa: E402

from budgetnas.harness.digits201.networks import Networks, initial_values, parameter_shapes  # noqa: E402
from budgetnas.harness.digits201.together import UnknownSeed, prepared, train_seed, train_together, training_losses  # noqa: E402
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe  # noqa: E402
from budgetnas.spaces.nasbench201.identity import canonical_indices  # noqa: E402
from budgetnas.spaces.nasbench201.order import EDGES, SIZE, all_genes  # noqa: E402
from budgetnas.spaces.nasbench201.small_network import complexities, cycles, live_edges  # noqa: E402
from budgetnas.spaces.nasbench201.space import NASBench201  # noqa: E402

pytestmark = pytest.mark.slow

RECIPE = digits201_recipe()
# All operations; poolings only; dead edges; a convolution of zero; no path; two convolutions from one node; all 3x3 convolutions.
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
    """A cell as described in the paper: all edges that are not `none`, including dead ones."""

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
    """Yield the parameters in the order of `parameter_shapes`."""
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
    """Return the automatic gradients in the layout of `Networks.gradients`, with 0 for a parameter without one."""
    parts = []
    for parameter in trained_tensors(network, genes):
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parts.append((grad.permute(2, 3, 1, 0) if grad.dim() == 4 else grad.T if grad.dim() == 2 else grad).flatten())
    return torch.cat(parts)


@pytest.mark.parametrize("genes", CELLS)
def test_logits_and_gradients_equal_those_of_plain_modules(genes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    shapes = parameter_shapes(genes)
    values = torch.stack([initial_values(shapes, rng) for _ in range(2)]).double()
    # Shifts and scales other than 0 and 1, so that a mix-up of them would change the result.
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
def test_training_follows_plain_pytorch(genes: tuple[int, ...]) -> None:
    """For ten steps and two seeds the losses equal those of modules, autograd and torch.optim.SGD."""
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


def test_the_same_seeds_give_the_same_bits() -> None:
    # Cell 0 learns badly: even a small difference in rounding would lead to another accuracy.
    first, second = (train_together(0, RECIPE.seeds, RECIPE) for _ in range(2))
    figures = [(network.validation, network.test) for network in first]
    assert figures == [(network.validation, network.test) for network in second]
    alone = train_seed(0, 1, RECIPE)
    assert (alone.seed, alone.validation, alone.test) == (1, *figures[1])
    assert len(set(figures)) == 3


@pytest.mark.parametrize("others", [(1,), (2, 1)])
def test_seeds_trained_beside_a_seed_change_only_its_rounding(others: tuple[int, ...]) -> None:
    def losses(seeds: tuple[int, ...]):
        networks, generators = prepared(0, all_genes()[0].tolist(), seeds, RECIPE)
        steps = training_losses(networks, generators, RECIPE.images().train, RECIPE)
        return torch.stack([next(steps)[seeds.index(1)] for _ in range(14)])

    torch.testing.assert_close(losses(others), losses((0, 1, 2)), rtol=1e-3, atol=1e-4)


def test_identical_networks_have_the_same_result() -> None:
    twin = int(np.flatnonzero((canonical_indices() == 0) & (np.arange(SIZE) != 0))[0])
    assert train_seed(twin, 2, RECIPE).test == train_seed(0, 2, RECIPE).test


def test_a_seed_that_the_recipe_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownSeed, match="digits201 has no seed 3; choose one of 0, 1, 2"):
        train_seed(0, 3, RECIPE)


def test_the_number_of_parameters_is_that_of_the_modules() -> None:
    for genes in CELLS:
        network = plain_network(genes)
        counted = sum(parameter.numel() for parameter in network.parameters())
        assert complexities()[0][NASBench201().index(_cell(genes))] == counted


@pytest.mark.parametrize("genes", CELLS)
def test_the_number_of_multiply_adds_is_that_of_the_modules(genes: tuple[int, ...]) -> None:
    counted = 0

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal counted
        counted += module.weight[0].numel() * output.numel()

    network = plain_network(genes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 1, 8, 8))
    # A convolution of a zero node counts too.
    assert complexities()[1][NASBench201().index(_cell(genes))] == counted


def test_cycles_of_two_cells_by_hand() -> None:
    macs, space = complexities()[1], NASBench201()
    nothing, pooling = space.index(_cell((0,) * 6)), space.index(_cell((4,) * 6))
    # 2x2 pooling to 4x4 pixels of 8 channels takes five cycles per output; the mean over 16 pixels of 16 channels takes seventeen.
    assert cycles()[nothing] == 5 * macs[nothing] + 8 * 16 * 5 + 16 * 17
    # Six 3x3 poolings of 8x8 pixels of 8 channels and of 4x4 pixels of 16 channels, ten cycles per output.
    assert cycles()[pooling] == cycles()[nothing] + 6 * (512 + 256) * 10


@pytest.mark.parametrize("genes", CELLS)
def test_the_graph_for_latency_computes_the_network(genes: tuple[int, ...]) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from budgetnas.harness.digits201.graph import onnx_model

    model = onnx_model(genes)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    plain = plain_network(genes).eval()
    copy_folded(plain, genes, onnx.load_from_string(model))
    image = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    (logits,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": image})
    np.testing.assert_allclose(logits, plain(torch.from_numpy(image)).detach().numpy(), rtol=1e-4, atol=1e-5)


def copy_folded(network: nn.Sequential, genes: Sequence[int], model) -> None:
    """Copy the graph's weights into a plain network. A folded normalisation becomes a shift only."""
    from onnx import numpy_helper

    weights = {held.name: torch.from_numpy(numpy_helper.to_array(held).copy()) for held in model.graph.initializer}
    convolutions = iter([node.input for node in model.graph.node if node.op_type == "Conv"])
    pairs = []
    for position in (0, 5):
        pairs.append((network[position], network[position + 1]))
        operations = network[position + 2].operations
        pairs += [(operations[str(edge)][1], operations[str(edge)][2]) for edge in live_edges(genes) if genes[edge] in (2, 3)]
    for (convolution, norm), (_, kernel, bias) in zip(pairs, convolutions, strict=True):
        convolution.weight.data, norm.bias.data = weights[kernel], weights[bias]
        norm.running_var.fill_(1 - norm.eps)
    network[8].running_var.fill_(1 - network[8].eps)
    (linear,) = [node.input for node in model.graph.node if node.op_type == "Gemm"]
    network[12].weight.data, network[12].bias.data = weights[linear[1]].T, weights[linear[2]]


def test_latency_is_positive_and_the_device_has_a_name() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from budgetnas.harness.digits201.latency import device_name, latency_ms

    assert latency_ms(0) > 0
    assert device_name().replace("-", "").isalnum()
