"""Depthwise convolutions with gradients by oneDNN's fast kernels, which PyTorch uses only for 3x3 without dilation.

On a CPU the backward pass of PyTorch's 5x5 or dilated depthwise convolution uses dense kernels and is ten times slower than its forward
pass. Here the gradient of the input is a forward convolution with the flipped kernel. The gradient of the kernel is computed for kernels of
three columns: a 5x5 kernel in two parts, and a dilated kernel on the four interleaved quarters of the image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_FAST_COLUMNS = 3


def depthwise(x: Tensor, kernels: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Return the convolution of every channel with its kernel, shape (N, channels, ceil(H / stride), ceil(W / stride)).

    The padding is dilation * (k // 2). The function is differentiable once.

    Args:
        x: Shape (N, channels, H, W), on a CPU with channels last in memory.
        kernels: Shape (channels, 1, k, k), k odd.
        stride: 1 or 2.
        dilation: 1 or 2, with stride 2 only 1. (A dilation of 2 with stride 2 is a plain convolution of every other pixel.)
    """
    if x.device.type != "cpu":
        return functional.conv2d(x, kernels, None, stride, dilation * (kernels.shape[-1] // 2), dilation, len(kernels))
    output: Tensor = _Depthwise.apply(x, kernels, stride, dilation)
    return output


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.stride, ctx.dilation = stride, dilation
        return functional.conv2d(x, kernels, None, stride, dilation * (kernels.shape[-1] // 2), dilation, len(kernels))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, kernels = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        of_input = _input_gradient(grad, x, kernels, ctx.stride, ctx.dilation) if ctx.needs_input_grad[0] else None
        of_kernels = None
        if ctx.needs_input_grad[1]:
            if ctx.dilation == 2:
                x, grad = quarters(x), quarters(grad)
            of_kernels = _kernel_gradient(grad, x, kernels, ctx.stride)
        return of_input, of_kernels, None, None


def _input_gradient(grad: Tensor, x: Tensor, kernels: Tensor, stride: int, dilation: int) -> Tensor:
    half = kernels.shape[-1] // 2
    if stride == 1:
        return functional.conv2d(grad, kernels.flip(2, 3), None, 1, dilation * half, dilation, len(kernels))
    return _gradients(grad, x, kernels, stride, half, (True, False, False))[0]


def _kernel_gradient(grad: Tensor, x: Tensor, kernels: Tensor, stride: int) -> Tensor:
    size = kernels.shape[-1]
    half = size // 2
    if size <= _FAST_COLUMNS:
        return _gradients(grad, x, kernels, stride, half, (False, True, False))[1]
    # Columns 0 to 2 read the pixels up to two to the left, columns 2 to 4 those up to two to the right. The middle column is used once.
    # Rows are padded here too, because there is no fast kernel for images with fewer rows than the kernel.
    columns = kernels[..., :_FAST_COLUMNS]
    left, right = (
        _gradients(grad, functional.pad(x, (*beside, half, half)), columns, stride, 0, (False, True, False))[1]
        for beside in ((half, 0), (0, half))
    )
    return torch.cat((left, right[..., _FAST_COLUMNS - (size - _FAST_COLUMNS) :]), dim=-1)


def _gradients(
    grad: Tensor, x: Tensor, kernels: Tensor, stride: int, padding: int, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, kernels, None, [stride, stride], [padding, padding], [1, 1], False, [0, 0], len(kernels), list(wanted)
    )
    return gradients


def quarters(x: Tensor) -> Tensor:
    """Return the four interleaved quarters of every image, shape (4 N, channels, ceil(H / 2), ceil(W / 2)); odd sides are zero-padded."""
    height, width = x.shape[2:]
    if height % 2 or width % 2:
        x = functional.pad(x, (0, width % 2, 0, height % 2))
    images, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(images, height // 2, 2, width // 2, 2, channels)
    return pixels.permute(0, 2, 4, 1, 3, 5).reshape(4 * images, height // 2, width // 2, channels).permute(0, 3, 1, 2)
