"""How a supernet computes its mixtures, by layout: the same figures, in the order and shapes that suit a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from budgetnas.spaces.supernets.depthwise import depthwise
from budgetnas.spaces.supernets.weighted_sum import mixture


class UnknownLayout(ValueError):
    """A layout that no supernet has; the message lists those there are."""


class Arithmetic(Protocol):
    """The steps of a mixture's operations. Tensors are (N, channels, H, W), channels last in memory."""

    def separable(self, rectified: Tensor, first: Tensor, point: Tensor, second: Tensor, stride: int) -> Sequence[Tensor]:
        """Return every edge's separable convolution up to its second depthwise one.

        first, second: kernels (edges, channels, 1, k, k); point: 1x1 kernels (edges, outputs, inputs).
        """

    def dilated(self, rectified: Tensor, kernels: Tensor, stride: int) -> Sequence[Tensor]:
        """Return every edge's depthwise convolution with dilation 2, kernels (edges, channels, 1, k, k)."""

    def mixture(
        self, maps: Sequence[Tensor], map_strengths: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor | None], strengths: Tensor
    ) -> Tensor:
        """Return the weighted sum of maps, and of inputs normalised, after 1x1 convolutions where they have weights (`mixture.py`)."""


class EdgeByEdge:
    """The layout `edges`: one convolution after the other by this package's own steps, fastest on a CPU, where memory is what counts."""

    def separable(self, rectified: Tensor, first: Tensor, point: Tensor, second: Tensor, stride: int) -> Sequence[Tensor]:
        """See `Arithmetic`."""
        found = []
        for one, weight, two in zip(first, point, second, strict=True):
            x = functional.conv2d(depthwise(rectified, one, stride), weight[..., None, None])
            found.append(depthwise(normalised(x).relu_(), two))
        return found

    def dilated(self, rectified: Tensor, kernels: Tensor, stride: int) -> Sequence[Tensor]:
        """See `Arithmetic`."""
        x, dilation = (every_other_pixel(rectified), 1) if stride == 2 else (rectified, 2)
        return [depthwise(x, each, dilation=dilation) for each in kernels]

    def mixture(
        self, maps: Sequence[Tensor], map_strengths: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor | None], strengths: Tensor
    ) -> Tensor:
        """See `Arithmetic`."""
        return mixture(maps, map_strengths, inputs, weights, strengths)


class SideBySide:
    """The layout `grouped`: all edges of a node in one grouped convolution of PyTorch's, for a GPU, where launches are what counts."""

    def separable(self, rectified: Tensor, first: Tensor, point: Tensor, second: Tensor, stride: int) -> Sequence[Tensor]:
        """See `Arithmetic`."""
        edges, width, kernel = len(first), first.shape[1], first.shape[-1]
        x = rectified.repeat(1, edges, 1, 1)
        x = functional.conv2d(x, first.flatten(0, 1), None, stride, kernel // 2, groups=edges * width)
        x = normalised(functional.conv2d(x, point.flatten(0, 1)[..., None, None], groups=edges)).relu()
        return functional.conv2d(x, second.flatten(0, 1), None, 1, kernel // 2, groups=edges * width).chunk(edges, dim=1)

    def dilated(self, rectified: Tensor, kernels: Tensor, stride: int) -> Sequence[Tensor]:
        """See `Arithmetic`."""
        edges, width, kernel = len(kernels), kernels.shape[1], kernels.shape[-1]
        x = rectified.repeat(1, edges, 1, 1)
        padding = 2 * (kernel // 2)
        return functional.conv2d(x, kernels.flatten(0, 1), None, stride, padding, 2, edges * width).chunk(edges, dim=1)

    def mixture(
        self, maps: Sequence[Tensor], map_strengths: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor | None], strengths: Tensor
    ) -> Tensor:
        """See `Arithmetic`."""
        terms = [torch.einsum("m,mnchw->nchw", map_strengths, torch.stack(list(maps)))] if maps else []
        shapes = [None if weight is None else weight.shape for weight in weights]
        for shape in dict.fromkeys(shapes):
            alike = [number for number, each in enumerate(shapes) if each == shape]
            x = torch.cat([inputs[number] for number in alike], dim=1)
            kernels = [weight for number in alike if (weight := weights[number]) is not None]
            if kernels:
                x = functional.conv2d(x, torch.cat(kernels)[..., None, None], groups=len(alike))
            scales = strengths[alike].repeat_interleave(x.shape[1] // len(alike))
            x = functional.batch_norm(x, None, None, scales, None, training=True)
            terms.append(x.view(len(x), len(alike), -1, *x.shape[2:]).sum(1))
        return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]


LAYOUTS: dict[str, type[EdgeByEdge | SideBySide]] = {"edges": EdgeByEdge, "grouped": SideBySide}


def arithmetic_for(layout: str, device: torch.device) -> Arithmetic:
    """Return the arithmetic of a layout's name, `edges` or `grouped`; `auto` is `edges` on a CPU. `UnknownLayout` lists the names."""
    check_layout(layout)
    return LAYOUTS[("edges" if device.type == "cpu" else "grouped") if layout == "auto" else layout]()


def check_layout(layout: str) -> None:
    """Raise `UnknownLayout` for a name that is no layout's."""
    if layout not in ("auto", *LAYOUTS):
        raise UnknownLayout(f"unknown layout '{layout:.40}' of a supernet; choose one of auto, {', '.join(LAYOUTS)}")


def every_other_pixel(x: Tensor) -> Tensor:
    """Return every second row and column, from the first on: a dilation of 2 with stride 2 is a plain convolution of these."""
    return x[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)


def normalised(x: Tensor) -> Tensor:
    """Return `x` normalised by the batch's own statistics, without scale and shift."""
    return functional.batch_norm(x, None, None, training=True)
