"""The second-order gradient: the example of the paper, and equality with automatic differentiation on a small network."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from budgetnas.harness.evaluators.bilevel import WeightStep, unrolled_gradients  # noqa: E402


def test_example_of_figure_2_of_the_paper() -> None:
    # L_train = w^2 - 2 a w + a^2, L_validation = a w - 2 a + 1. With w' = w - 2 xi (w - a): d/da [a w' - 2 a + 1] = w' - 2 + 2 xi a.
    w = torch.tensor([-2.0], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    xi = 0.05
    (gradient,), loss = unrolled_gradients(
        lambda: (w * w - 2 * a * w + a * a).sum(), lambda: (a * w - 2 * a + 1).sum(), [w], [a], WeightStep(xi, 0.0, 0.0, [None])
    )
    ahead = -2.0 - 2 * xi * (-2.0 - 2.0)
    assert loss == pytest.approx(2.0 * ahead - 4.0 + 1.0)
    assert gradient.item() == pytest.approx(ahead - 2.0 + 2 * xi * 2.0, abs=1e-9)
    assert w.item() == -2.0


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 3e-4), (0.9, 0.1)])
def test_gradient_equals_automatic_differentiation(momentum: float, weight_decay: float) -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(6, 5, dtype=torch.float64, requires_grad=True), torch.randn(3, 6, dtype=torch.float64, requires_grad=True))
    alphas = torch.randn(6, dtype=torch.float64, requires_grad=True)
    seen, held = torch.randn(8, 5, dtype=torch.float64), torch.randn(8, 5, dtype=torch.float64)
    labels = torch.arange(8) % 3
    velocities = [torch.randn_like(first) * 0.1, torch.randn_like(second) * 0.1]
    rate = 0.025

    def loss(images: torch.Tensor, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(images @ one.T) * torch.softmax(alphas, 0)
        return torch.nn.functional.cross_entropy(hidden @ two.T, labels)

    weights = [first, second]
    inner = torch.autograd.grad(loss(seen, *weights), weights, create_graph=True)
    ahead = [w - rate * (momentum * v + g + weight_decay * w) for w, v, g in zip(weights, velocities, inner, strict=True)]
    exact = torch.autograd.grad(loss(held, *ahead), alphas)[0]

    before = [copy.deepcopy(w.detach()) for w in weights]
    (found,), value = unrolled_gradients(
        lambda: loss(seen, first, second),
        lambda: loss(held, first, second),
        weights,
        [alphas],
        WeightStep(rate, momentum, weight_decay, velocities),
    )
    # The error of a central difference is proportional to the square of its step, which is 0.01 over the norm of the gradient.
    assert torch.allclose(found, exact, rtol=1e-4, atol=1e-7)
    first_order = torch.autograd.grad(loss(held, *[w.detach() for w in ahead]), alphas)[0]
    assert not torch.allclose(found, first_order, rtol=1e-4, atol=1e-7)
    assert value == pytest.approx(loss(held, *ahead).item())
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))


def test_without_a_gradient_in_the_weights_only_the_direct_part_remains() -> None:
    w, a = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    (found,), loss = unrolled_gradients(lambda: (w * a).sum(), lambda: (a * a).sum(), [w], [a], WeightStep(0.1, 0.9, 0.0, [None]))
    assert torch.equal(found, torch.full((3,), 2.0)) and loss == 3.0
