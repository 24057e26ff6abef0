"""Comparing a fast network with the plain one that it is held to: the same weights, then outputs, gradients, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Pairs = Sequence[tuple[Tensor, Sequence[Tensor]]]


def copy_weights(pairs: Pairs) -> None:
    """Give the first of each pair the values of the second, which is one tensor or several to be stacked."""
    with torch.no_grad():
        for mine, theirs in pairs:
            mine.copy_(torch.cat([each.reshape(-1) for each in theirs]).view(mine.shape))


def gradients(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return all gradients of the fast network and of the plain one, each as one vector; what has none has zeros."""
    mine = torch.cat([_gradient(each) for each, _ in pairs])
    return mine, torch.cat([_gradient(each) for _, several in pairs for each in several])


def _gradient(x: Tensor) -> Tensor:
    return (torch.zeros_like(x) if x.grad is None else x.grad).reshape(-1).double()


def saved_bytes(forward: Callable[[], object]) -> int:
    """Return the memory of what a forward pass keeps for the backward pass, every storage counted once."""
    storages: dict[int, int] = {}
    kept: list[Tensor] = []  # alive, so that no address is used twice

    def pack(x: Tensor) -> Tensor:
        kept.append(x)
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        output = forward()
    del output
    return sum(storages.values())
