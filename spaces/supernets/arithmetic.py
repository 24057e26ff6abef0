"""The layouts in which a supernet computes its mixtures. All give the same values; each has the order and shapes that suit a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from budgetnas.spaces.supernets.depthwise import depthwise
from budgetnas.spaces.supernets.weighted_sum import mixture


class UnknownLayout(ValueError):
    """No supernet has this layout; the message lists the existing ones."""


class Arithmetic(Protocol):
    """The steps of computing a mixture. Tensors have the shape (N, channels, H, W), with channels last in memory."""

    def separable(self, rectified: Tensor, first: Tensor, point: Tensor, second: Tensor, stride: int) -> Sequence[Tensor]:
        """Return the separable convolution of every edge, up to and including its second depthwise convolution.

        Args:
            rectified: The input of the edges, after the ReLU.
            first: Kernels of the first depthwise convolution, shape (edges, channels, 1, k, k).
            point: Kernels of the first 1x1 convolution, shape (edges, outputs, inputs).
            second: Kernels of the second depthwise convolution, shape (edges, channels, 1, k, k).
            stride: 1 or 2.
        """

    def dilated(self, rectified: Tensor, kernels: Tensor, stride: int) -> Sequence[Tensor]:
        """Return the depthwise convolution with dilation 2 of every edge; `kernels` has the shape (edges, channels, 1, k, k)."""

    def mixture(
        self, maps: Sequence[Tensor], map_strengths: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor | None], strengths: Tensor
    ) -> Tensor:
        """Return the weighted sum of maps and of normalised inputs, the latter after a 1x1 convolution if they have weights.

        The arguments are those of `weighted_sum.mixture`.
        """


class EdgeByEdge:
    """The layout `edges`: one convolution after the other, by this package's own functions. Fastest on a CPU, where memory is the limit."""

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
    """The layout `grouped`: all edges of a node in one grouped convolution. It suits a GPU, where the number of kernel launches counts."""

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
    """Return the arithmetic of a layout: `edges`, `grouped`, or `auto`, which is `edges` on a CPU and else `grouped`.

    Raises:
        UnknownLayout: The layout is not known; the message lists the known ones.
    """
    check_layout(layout)
    return LAYOUTS[("edges" if device.type == "cpu" else "grouped") if layout == "auto" else layout]()


def check_layout(layout: str) -> None:
    """Raise UnknownLayout unless `layout` is `auto` or the name of a layout."""
    if layout not in ("auto", *LAYOUTS):
        raise UnknownLayout(f"unknown layout '{layout:.40}' of a supernet; choose one of auto, {', '.join(LAYOUTS)}")


def every_other_pixel(x: Tensor) -> Tensor:
    """Return every second row and column, starting with the first. A convolution with dilation 2 and stride 2 is a plain one of these."""
    return x[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)


def normalised(x: Tensor) -> Tensor:
    """Return `x` normalised by the statistics of the batch, without scale and shift."""
    return functional.batch_norm(x, None, None, training=True)
