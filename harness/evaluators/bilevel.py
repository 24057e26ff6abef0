"""The gradient of the validation loss after one step of the weights, without second derivatives (DARTS, equations 6 to 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

_RADIUS = 0.01  # epsilon is this over the norm of the validation gradient (DARTS, footnote 2)


@dataclass(frozen=True, slots=True)
class WeightStep:
    """One step of the weights, simulated before the gradient is computed: gradient descent with momentum and weight decay."""

    rate: float
    momentum: float
    weight_decay: float
    velocities: Sequence[Tensor | None]  # the momentum of each weight; None before the first step


@contextmanager
def frozen(weights: Sequence[Tensor]) -> Iterator[None]:
    """Disable gradients of the weights within the block, where only the gradients of the architecture variables are needed."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def unrolled_gradients(
    train_loss: Callable[[], Tensor],
    validation_loss: Callable[[], Tensor],
    weights: Sequence[Tensor],
    variables: Sequence[Tensor],
    step: WeightStep,
) -> tuple[list[Tensor], float]:
    """Return the gradient of the validation loss after one step of the weights, for each variable, and that loss (second-order DARTS).

    The weights are changed during the call and restored bit for bit. The mixed second derivative is a central difference along the
    validation gradient (equation 8).

    Args:
        train_loss: Computes the training loss from the present values of `weights` and `variables`.
        validation_loss: Computes the validation loss in the same way.
        weights: The weights of the network.
        variables: The architecture variables.
        step: The step of the weights.
    """
    before = [weight.detach().clone() for weight in weights]
    gradients = torch.autograd.grad(train_loss(), weights)
    with torch.no_grad():
        for weight, gradient, velocity in zip(weights, gradients, step.velocities, strict=True):
            ahead = gradient + step.weight_decay * weight
            if velocity is not None:
                ahead = ahead + step.momentum * velocity
            weight.sub_(ahead, alpha=step.rate)
    try:
        loss = validation_loss()
        found = torch.autograd.grad(loss, [*variables, *weights], allow_unused=True)
        direct, along = found[: len(variables)], found[len(variables) :]
        moved = [torch.zeros_like(weight) if way is None else way for weight, way in zip(weights, along, strict=True)]
        norm = torch.sqrt(torch.stack([way.double().square().sum() for way in moved]).sum()).item()
        sides = []
        radius = _RADIUS / norm if norm > 0.0 else 0.0
        for sign in (1.0, -1.0) if radius else ():
            _put(weights, before)
            with torch.no_grad():
                for weight, way in zip(weights, moved, strict=True):
                    weight.add_(way, alpha=sign * radius)
            with frozen(weights):
                sides.append(torch.autograd.grad(train_loss(), variables, allow_unused=True))
    finally:
        _put(weights, before)
    zeros = [torch.zeros_like(variable) for variable in variables]
    result = [zero if way is None else way for zero, way in zip(zeros, direct, strict=True)]
    if sides:
        for place, (plus, minus) in enumerate(zip(*sides, strict=True)):
            if plus is not None and minus is not None:
                result[place] = result[place] - step.rate * (plus - minus) / (2.0 * radius)
    return result, float(loss.detach())


def _put(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)
