"""The weighted sum at a node: maps times their strengths, plus normalised inputs, mostly after 1x1 convolutions, times theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from budgetnas.spaces.supernets.columns import Columns, images, pixels


def mixture(
    maps: Sequence[Tensor], map_strengths: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor | None], strengths: Tensor
) -> Tensor:
    """Return the sum of all maps times their strengths plus all normalised inputs times theirs, shape (N, channels, H, W).

    The strength of an input is the scale of its normalisation, so the output of an operation is never written to memory. All terms of a sum
    have the same gradient, so it is centred only once. The function is differentiable once. Maps and inputs have channels last in memory.

    Args:
        maps: Tensors of shape (N, channels, H, W).
        map_strengths: Shape (maps,).
        inputs: Tensors of shape (N, channels of the input, H, W), normalised by the statistics of the batch.
        weights: For each input, the weights of a 1x1 convolution before its normalisation, shape (channels, channels of the input); None
            for no convolution.
        strengths: Shape (inputs,).
    """
    output: Tensor = _Mixture.apply(len(maps), map_strengths, strengths, *maps, *inputs, *weights)
    return output


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, number_of_maps: int, map_strengths: Tensor, strengths: Tensor, *tensors: Tensor) -> Tensor:
        maps, inputs = tensors[:number_of_maps], tensors[number_of_maps : number_of_maps + len(strengths)]
        weights: tuple[Tensor | None, ...] = tensors[number_of_maps + len(strengths) :]
        flat = [pixels(x) for x in inputs]
        total = _weighted(maps, map_strengths.tolist())
        centred, inverses = [], []
        for x, weight, strength in zip(flat, weights, strengths, strict=True):
            own = x.clone() if weight is None else torch.mm(x, weight.t())
            columns = Columns(*own.shape)
            rows = columns.rows(own)
            inverses.append(columns.centre(rows))
            total = torch.zeros_like(own) if total is None else total
            columns.rows(total).addcmul_(rows, columns.repeated(inverses[-1] * strength))
            centred.append(own)
        ctx.number_of_maps, ctx.number = number_of_maps, len(strengths)
        # An input without a 1x1 convolution is no longer needed after centring.
        kept = [None if weight is None else x for x, weight in zip(flat, weights, strict=True)]
        ctx.save_for_backward(map_strengths, strengths, *maps, *kept, *weights, *centred, *inverses)
        if total is None:
            raise ValueError("a node has no terms; give at least one map or one input")
        return images(total, tensors[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        map_strengths, strengths, *saved = ctx.saved_tensors
        maps, saved = saved[: ctx.number_of_maps], saved[ctx.number_of_maps :]
        flat, weights, centred, inverses = (saved[i * ctx.number : (i + 1) * ctx.number] for i in range(4))
        of_total = pixels(grad)
        of_maps = [images(of_total * strength, grad) for strength in map_strengths.tolist()]
        of_map_strengths = [torch.dot(of_total.view(-1), pixels(each).view(-1)) for each in maps] if ctx.needs_input_grad[1] else []
        wanted = ctx.needs_input_grad[len(ctx.needs_input_grad) - ctx.number :]  # whether each weight needs a gradient
        columns, count = Columns(*of_total.shape), len(of_total)
        rows = columns.rows(of_total)
        rows = rows - columns.repeated(columns.sums(rows) / count)
        product = torch.empty_like(rows)
        of_strengths, of_inputs, of_weights = [], [], []
        for x, weight, own, inverse, strength, train in zip(flat, weights, centred, inverses, strengths, wanted, strict=True):
            own_rows = columns.rows(own)
            along = columns.sums(torch.mul(rows, own_rows, out=product))
            of_strengths.append((along * inverse).sum())
            # This tensor is the returned gradient of an input without a 1x1 convolution, so it needs separate memory.
            of_own = torch.mul(rows, columns.repeated(inverse * strength), out=torch.empty_like(rows) if weight is None else product)
            of_own.addcmul_(own_rows, columns.repeated(inverse**3 * strength * along / count), value=-1)
            of_output = of_own.view(of_total.shape)
            of_inputs.append(images(of_output if weight is None else torch.mm(of_output, weight), grad))
            of_weights.append(torch.mm(of_output.t(), x) if train else None)
        stacked = [torch.stack(each) if each else like for each, like in ((of_map_strengths, map_strengths), (of_strengths, strengths))]
        return None, *stacked, *of_maps, *of_inputs, *of_weights


def _weighted(maps: Sequence[Tensor], strengths: Sequence[float]) -> Tensor | None:
    """Return the sum of maps times numbers, shape (pixels, channels); None if there are no maps."""
    total = None
    for each, strength in zip(maps, strengths, strict=True):
        total = pixels(each) * strength if total is None else total.add_(pixels(each), alpha=strength)
    return total
