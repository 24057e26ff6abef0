"""Helpers that compare a fast network with a plain reference: copy the weights, then compare gradients and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Pairs = Sequence[tuple[Tensor, Sequence[Tensor]]]


def copy_weights(pairs: Pairs) -> None:
    """Copy the second of each pair into the first. The second is one tensor, or several tensors that are stacked."""
    with torch.no_grad():
        for mine, theirs in pairs:
            mine.copy_(torch.cat([each.reshape(-1) for each in theirs]).view(mine.shape))


def gradients(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return all gradients of the fast and of the plain network, each as one vector; a missing gradient is zero."""
    mine = torch.cat([_gradient(each) for each, _ in pairs])
    return mine, torch.cat([_gradient(each) for _, several in pairs for each in several])


def _gradient(x: Tensor) -> Tensor:
    return (torch.zeros_like(x) if x.grad is None else x.grad).reshape(-1).double()


def saved_bytes(forward: Callable[[], object]) -> int:
    """Return the bytes that a forward pass saves for the backward pass, counting every storage once."""
    storages: dict[int, int] = {}
    kept: list[Tensor] = []  # keeps the tensors alive, so that no address is used twice

    def pack(x: Tensor) -> Tensor:
        kept.append(x)
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        output = forward()
    del output
    return sum(storages.values())
