"""The small network of digits201 around a NAS-Bench-201 cell, with forward and backward passes for several copies of one architecture.

Its layers are: 1x1 convolution to 8 channels, batch normalisation; the cell; 2x2 average pooling, ReLU, 1x1 convolution to 16 channels,
batch normalisation; the cell; batch normalisation, ReLU, global average pooling, linear. A convolution in the cell is ReLU, convolution,
batch normalisation. Edges with an unused output are left out, because they affect neither the output nor other gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from budgetnas.harness.digits201.layers import AveragePooling, BatchNorm, Convolution
from budgetnas.harness.training.recipes.digits201_recipe import Recipe
from budgetnas.spaces.nasbench201.order import EDGES
from budgetnas.spaces.nasbench201.small_network import CHANNELS, DIGITS201, KERNELS, POOLING, SIDES, live_edges

_NODES = 4


class Shape(NamedTuple):
    """A trained tensor of a network: its shape, and its initial values, uniform within `bound` of `constant`."""

    size: tuple[int, ...]
    bound: float
    constant: float


def parameter_shapes(genes: Sequence[int]) -> list[Shape]:
    """Return the trained tensors of a network, in the order in which their initial values are drawn (PyTorch's default distributions)."""
    shapes = [*_convolution_shapes(1, 1, CHANNELS[0])]
    for stage, channels in enumerate(CHANNELS):
        if stage:
            shapes += _convolution_shapes(1, CHANNELS[stage - 1], channels)
        for edge in live_edges(genes):
            if genes[edge] in KERNELS:
                shapes += _convolution_shapes(KERNELS[genes[edge]], channels, channels)
    bound = 1 / math.sqrt(CHANNELS[-1])
    return [
        *shapes,
        *_norm_shapes(CHANNELS[-1]),
        Shape((CHANNELS[-1], DIGITS201.classes), bound, 0.0),
        Shape((DIGITS201.classes,), bound, 0.0),
    ]


def _norm_shapes(channels: int) -> list[Shape]:
    return [Shape((channels,), 0.0, 1.0), Shape((channels,), 0.0, 0.0)]


def _convolution_shapes(kernel: int, narrow: int, wide: int) -> list[Shape]:
    return [Shape((kernel, kernel, narrow, wide), 1 / math.sqrt(kernel * kernel * narrow), 0.0), *_norm_shapes(wide)]


def initial_values(shapes: Sequence[Shape], rng: np.random.Generator) -> Tensor:
    """Return the initial values of a network, (parameters,), drawn in the order of `shapes`."""
    parts = [shape.constant + shape.bound * (2 * rng.random(math.prod(shape.size)) - 1) for shape in shapes]
    return torch.from_numpy(np.concatenate(parts)).float()


@dataclass
class _Block:
    """A convolution and its batch normalisation."""

    convolution: Convolution
    norm: BatchNorm


class _Cell:
    """The cell at one stage. `convolutions` are by edge. Nodes without an input are zero."""

    def __init__(self, genes: Sequence[int], convolutions: dict[int, _Block], pooling: AveragePooling):
        self._genes = genes
        self._live = live_edges(genes)
        self._convolutions = convolutions
        self._pooling = pooling
        self._rectified: dict[int, Tensor] = {}

    def forward(self, x: Tensor, batch: int, training: bool) -> Tensor:
        """Return the output node, of the shape of the input."""
        nodes: list[Tensor | None] = [x] + [None] * (_NODES - 1)
        self._rectified = {}
        for edge in self._live:
            source, target = EDGES[edge]
            value = self._value(nodes, source, torch.zeros_like(x))
            if edge in self._convolutions:
                if source not in self._rectified:
                    self._rectified[source] = value.clamp_min(0)
                layer = self._convolutions[edge]
                value = layer.norm.forward(layer.convolution.forward(self._rectified[source], batch), training)
            elif self._genes[edge] == POOLING:
                value = self._pooling.forward(value)
            held = nodes[target]
            nodes[target] = value if held is None else held + value
        return self._value(nodes, _NODES - 1, torch.zeros_like(x))

    @staticmethod
    def _value(nodes: list[Tensor | None], node: int, zero: Tensor) -> Tensor:
        held = nodes[node]
        return zero if held is None else held

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the input, given that of the output."""
        plain: dict[int, Tensor] = {_NODES - 1: grad}
        rectified: dict[int, Tensor] = {}
        for node in range(_NODES - 1, 0, -1):
            of_node = self._gathered(node, plain, rectified)
            for edge in self._live:
                source, target = EDGES[edge]
                if target != node or of_node is None:
                    continue
                if edge in self._convolutions:
                    layer = self._convolutions[edge]
                    rectified[source] = layer.convolution.backward(layer.norm.backward(of_node), rectified.get(source))
                    continue
                passed = self._pooling.backward(of_node) if self._genes[edge] == POOLING else of_node
                plain[source] = plain[source] + passed if source in plain else passed
        of_input = self._gathered(0, plain, rectified)
        return torch.zeros_like(grad) if of_input is None else of_input

    def _gathered(self, node: int, plain: dict[int, Tensor], rectified: dict[int, Tensor]) -> Tensor | None:
        """Return the gradient of a node: the sum of the direct one and the one through its ReLU. None if it has neither."""
        if node not in rectified:
            return plain.get(node)
        through = rectified[node].mul_(self._rectified[node] > 0)
        return through.add_(plain[node]) if node in plain else through


class Networks:
    """G networks of one architecture. `values` and `gradients` have the shape (G, parameters), so that an optimiser needs one operation."""

    def __init__(self, genes: Sequence[int], values: Tensor, recipe: Recipe):
        self.values = values
        self.gradients = torch.zeros_like(values)
        self._recipe = recipe
        tensors = self._tensors(parameter_shapes(genes))
        self._entries: list[_Block] = []
        self._cells: list[_Cell] = []
        for channels, side in zip(CHANNELS, SIDES, strict=True):
            self._entries.append(self._block(tensors, side))
            blocks = {edge: self._block(tensors, side) for edge in live_edges(genes) if genes[edge] in KERNELS}
            self._cells.append(_Cell(genes, blocks, AveragePooling(len(values), side, channels, values.dtype)))
        self._norm = self._norm_of(tensors, SIDES[-1])
        (self._weights, self._weights_gradient), (self._bias, self._bias_gradient) = tensors

    def _tensors(self, shapes: Sequence[Shape]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield views of the values and gradients of each trained tensor."""
        start = 0
        for shape in shapes:
            part = slice(start, start := start + math.prod(shape.size))
            yield self.values[:, part].view(-1, *shape.size), self.gradients[:, part].view(-1, *shape.size)

    def _norm_of(self, tensors: Iterator[tuple[Tensor, Tensor]], side: int) -> BatchNorm:
        (scale, scale_gradient), (shift, shift_gradient) = next(tensors), next(tensors)
        return BatchNorm(scale, shift, scale_gradient, shift_gradient, side, self._recipe.norm_momentum, self._recipe.norm_epsilon)

    def _block(self, tensors: Iterator[tuple[Tensor, Tensor]], side: int) -> _Block:
        kernel, gradient = next(tensors)
        return _Block(Convolution(kernel, gradient, side), self._norm_of(tensors, side))

    def forward(self, pixels: Tensor, training: bool = False) -> Tensor:
        """Return the logits, (G, B, 10), of pixels of shape (G, B, 8, 8)."""
        networks, batch, side, _ = pixels.shape
        first, second = self._entries
        x = pixels.transpose(1, 2).reshape(networks, side * batch, side)
        x = first.norm.forward(first.convolution.forward(x, batch), training)
        x = self._cells[0].forward(x, batch, training)
        # Lines are (row, image), and a line is (pixel, channel); the mean is over two rows and two pixels.
        x = x.view(networks, SIDES[1], 2, batch, SIDES[1], 2, CHANNELS[0]).mean((2, 5)).flatten(1, 2).flatten(2)
        self._joined = x.clamp_min_(0)
        x = second.norm.forward(second.convolution.forward(self._joined, batch), training)
        x = self._cells[1].forward(x, batch, training)
        self._final = self._norm.forward(x, training).clamp_min_(0)
        self._features = self._final.view(networks, SIDES[1], batch, SIDES[1], CHANNELS[1]).mean((1, 3))
        return torch.baddbmm(self._bias.unsqueeze(1), self._features, self._weights)

    def backward(self, grad: Tensor) -> None:
        """Set `gradients`, given the gradients of the logits of the last forward pass in training, (G, B, 10)."""
        networks, batch, _ = grad.shape
        torch.sum(grad, 1, out=self._bias_gradient)
        torch.bmm(self._features.transpose(1, 2), grad, out=self._weights_gradient)
        pixel = torch.bmm(grad, self._weights.transpose(1, 2)) / SIDES[1] ** 2
        spread = pixel[:, None].expand(-1, SIDES[1], -1, -1).flatten(1, 2).repeat(1, 1, SIDES[1])
        grad = self._cells[1].backward(self._norm.backward(spread.mul_(self._final > 0)))
        first, second = self._entries
        joined = second.convolution.backward(second.norm.backward(grad))
        joined = joined.mul_(self._joined > 0).div_(4).view(networks, SIDES[1], 1, batch, SIDES[1], 1, CHANNELS[0])
        grad = joined.expand(-1, -1, 2, -1, -1, 2, -1).reshape(networks, SIDES[0] * batch, SIDES[0] * CHANNELS[0])
        first.convolution.backward(first.norm.backward(self._cells[0].backward(grad)))
