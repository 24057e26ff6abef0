"""The middle of a separable convolution: a 1x1 convolution, normalised by the batch, rectified."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from budgetnas.spaces.mixtures.columns import Columns, images, pixels


def hidden(x: Tensor, weight: Tensor) -> Tensor:
    """Return relu(normalised(1x1 convolution of x)), shape (N, outputs, H, W).

    x: (N, inputs, H, W), channels last in memory. weight: (outputs, inputs). Differentiable once. Kept for the backward pass are the
    input and the normalised figures.
    """
    output: Tensor = _Hidden.apply(x, weight)
    return output


class _Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        flat = pixels(x)
        normalised = torch.mm(flat, weight.t())
        columns = Columns(*normalised.shape)
        rows = columns.rows(normalised)
        inverse = columns.centre(rows)
        rows *= columns.repeated(inverse)
        ctx.save_for_backward(flat, weight, normalised, inverse)
        return images(normalised.relu(), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        flat, weight, normalised, inverse = ctx.saved_tensors
        columns, count = Columns(*normalised.shape), len(flat)
        rows = columns.rows(normalised)
        of_rows = torch.ops.aten.threshold_backward(columns.rows(pixels(grad)), rows, 0)
        mean, along = columns.sums(of_rows) / count, columns.sums(of_rows * rows) / count
        of_rows -= columns.repeated(mean)
        of_rows.addcmul_(rows, columns.repeated(along), value=-1)
        of_rows *= columns.repeated(inverse)
        of_output = of_rows.view(normalised.shape)
        of_input = images(torch.mm(of_output, weight), grad) if ctx.needs_input_grad[0] else None
        return of_input, torch.mm(of_output.t(), flat) if ctx.needs_input_grad[1] else None
