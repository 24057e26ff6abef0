"""The weighted sum that makes a node: maps times their strengths, and 1x1 convolutions normalised by the batch times theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from budgetnas.spaces.mixtures.columns import Columns, images, pixels


def mixture(
    maps: Sequence[Tensor], map_strengths: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor], strengths: Tensor
) -> Tensor:
    """Return the sum of all maps times their strengths and of all normalised convolutions times theirs, shape (N, channels, H, W).

    maps: (N, channels, H, W) each; map_strengths: (maps,). inputs: (N, channels of input, H, W) each, weights: (channels, channels of
    input) each; strengths: (inputs,). Channels last in memory. Differentiable once.

    The strength is the scale of the normalisation, so no operation's output is ever written; and as all terms of a sum have one gradient,
    that is centred once for all of them.
    """
    output: Tensor = _Mixture.apply(len(maps), map_strengths, strengths, *maps, *inputs, *weights)
    return output


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, number_of_maps: int, map_strengths: Tensor, strengths: Tensor, *tensors: Tensor) -> Tensor:
        maps, rest = tensors[:number_of_maps], tensors[number_of_maps:]
        inputs, weights = rest[: len(strengths)], rest[len(strengths) :]
        like = tensors[0]
        flat = [pixels(x) for x in inputs]
        total = torch.zeros_like(pixels(maps[0])) if maps else flat[0].new_zeros(len(flat[0]), len(weights[0]))
        for each, strength in zip(maps, map_strengths.tolist(), strict=True):
            total.add_(pixels(each), alpha=strength)
        columns = Columns(*total.shape)
        rows = columns.rows(total)
        centred, inverses = [], []
        for x, weight, strength in zip(flat, weights, strengths, strict=True):
            own = columns.rows(torch.mm(x, weight.t()))
            inverses.append(columns.centre(own))
            rows.addcmul_(own, columns.repeated(inverses[-1] * strength))
            centred.append(own)
        ctx.number_of_maps, ctx.number = number_of_maps, len(strengths)
        ctx.save_for_backward(map_strengths, strengths, *maps, *flat, *weights, *centred, *inverses)
        return images(total, like)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        map_strengths, strengths, *saved = ctx.saved_tensors
        maps, saved = saved[: ctx.number_of_maps], saved[ctx.number_of_maps :]
        flat, weights, centred, inverses = (saved[i * ctx.number : (i + 1) * ctx.number] for i in range(4))
        of_total = pixels(grad).contiguous()
        columns, count = Columns(*of_total.shape), len(of_total)
        whole = of_total.view(-1)
        of_maps = [images(of_total * strength, grad) for strength in map_strengths.tolist()]
        of_map_strengths = [torch.dot(whole, pixels(each).reshape(-1)) for each in maps]
        rows = columns.rows(of_total)
        rows = rows - columns.repeated(columns.sums(rows) / count)
        of_strengths, of_inputs, of_weights = [], [], []
        for x, weight, own, inverse, strength in zip(flat, weights, centred, inverses, strengths, strict=True):
            along = columns.sums(rows * own)
            of_strengths.append((along * inverse).sum())
            of_own = rows * columns.repeated(inverse * strength)
            of_own.addcmul_(own, columns.repeated(inverse**3 * strength * along / count), value=-1)
            of_output = of_own.view(of_total.shape)
            of_inputs.append(images(torch.mm(of_output, weight), grad))
            of_weights.append(torch.mm(of_output.t(), x))
        stacked = [torch.stack(each) if each else like for each, like in ((of_map_strengths, map_strengths), (of_strengths, strengths))]
        return None, *stacked, *of_maps, *of_inputs, *of_weights
