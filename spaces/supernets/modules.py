"""Converts modules for evaluation into modules for searching, which always use batch statistics and have fast gradients."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from budgetnas.spaces.supernets.arithmetic import every_other_pixel
from budgetnas.spaces.supernets.depthwise import depthwise

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution of odd size with padding dilation * (size // 2) and with fast gradients (`depthwise.py`)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the same as `nn.Conv2d`."""
        stride, dilation = self.stride[0], self.dilation[0]
        if (stride, dilation) == (2, 2):
            x, stride, dilation = every_other_pixel(x), 1, 1
        return depthwise(x, self.weight, stride, dilation)


def for_search(module: AnyModule) -> AnyModule:
    """Return `module`, changed in place: batch statistics in training and evaluation, no running averages, fast depthwise convolutions."""
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm2d):
            inner.track_running_stats = False
            inner.running_mean = inner.running_var = inner.num_batches_tracked = None
    _replace(module)
    return module


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.groups == child.in_channels == child.out_channels and child.kernel_size[0] > 1:
            width, kernel, stride, dilation = child.in_channels, child.kernel_size[0], child.stride[0], child.dilation[0]
            padding = dilation * (kernel // 2)
            fast = DepthwiseConv2d(width, width, kernel, stride, padding, dilation, width, bias=False, device="meta")
            fast.weight = child.weight
            setattr(module, name, fast)
        else:
            _replace(child)


def drawn(*shape: int) -> nn.Parameter:
    """Return weights of convolutions, shape (edges, outputs, inputs, ...), with PyTorch's default: uniform within 1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(math.prod(shape[2:]))
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
