"""Layers, with forward and backward passes, for several small networks of the same shape that are trained side by side.

The activations of G networks have the shape (G, H * B, W * C): a line is one row of one image, with the rows outermost and the batch
inside; a line holds the row's pixels with their channels. In this layout a convolution is a sum of matrix products, one per vertical
offset, between shifted views of the input (one row is B lines) and a banded matrix of (W_in * C_in) x (W_out * C_out) with the horizontal
offsets. For these images this is several times as fast as grouped convolutions. The networks stay independent: no operation mixes the
first axis.

The gradients are written by hand, because the graph is known in advance. `tests/` compares them with automatic ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Convolution:
    """A square convolution of odd size, with stride 1, zero padding and no bias.

    Attributes:
        kernel: (G, k, k, C_in, C_out), with the row offset before the column offset.
        gradient: the kernel's gradient, of the same shape; `backward` sets it.
        width: W, the pixels of a row.
    """

    kernel: Tensor
    gradient: Tensor
    width: int
    _bands: Tensor = field(init=False)
    _input: Tensor = field(init=False)
    _batch: int = field(init=False)

    def __post_init__(self) -> None:
        networks, size, _, narrow, wide = self.kernel.shape
        self._bands = self.kernel.new_zeros(networks, size, self.width * narrow, self.width * wide)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """Return the output, (G, H * B, W * C_out), for an input of shape (G, H * B, W * C_in) and a batch of B images."""
        self._input, self._batch = x, batch
        for offset, diagonal in self._diagonals(self._bands):
            diagonal.copy_(self.kernel[:, :, offset].unsqueeze(-1))
        middle = self.kernel.shape[1] // 2
        out = torch.bmm(x, self._bands[:, middle])
        for row, (inner, outer) in self._shifts(x.shape[1]):
            out[:, outer].baddbmm_(x[:, inner], self._bands[:, row])
        return out

    def backward(self, grad: Tensor, into: Tensor | None = None) -> Tensor:
        """Return the gradient of the input of the last forward pass, and set the kernel's gradient.

        Args:
            grad: the gradient of the output.
            into: a tensor to which the input's gradient is added, in place.
        """
        x, middle = self._input, self.kernel.shape[1] // 2
        bands = torch.empty_like(self._bands)
        torch.bmm(x.transpose(1, 2), grad, out=bands[:, middle])
        shifts = self._shifts(x.shape[1])
        for row, (inner, outer) in shifts:
            torch.bmm(x[:, inner].transpose(1, 2), grad[:, outer], out=bands[:, row])
        for offset, diagonal in self._diagonals(bands):
            torch.sum(diagonal, -1, out=self.gradient[:, :, offset])
        back = self._bands.transpose(2, 3)
        into = torch.bmm(grad, back[:, middle]) if into is None else into.baddbmm_(grad, back[:, middle])
        for row, (inner, outer) in shifts:
            into[:, inner].baddbmm_(grad[:, outer], back[:, row])
        return into

    def _shifts(self, lines: int) -> list[tuple[int, tuple[slice, slice]]]:
        """Return the input lines and the output lines that each row offset connects, except for the middle offset."""
        size = self.kernel.shape[1]
        shifts = []
        for row in range(size):
            shift = (row - size // 2) * self._batch
            if shift:
                inner, outer = slice(max(shift, 0), lines + min(shift, 0)), slice(max(-shift, 0), lines - max(shift, 0))
                shifts.append((row, (inner, outer)))
        return shifts

    def _diagonals(self, bands: Tensor) -> list[tuple[int, Tensor]]:
        """Return a view of the blocks of the banded matrices for each column offset, (G, k, C_in, C_out, blocks)."""
        networks, size, _, narrow, wide = self.kernel.shape
        blocks = bands.view(networks, size, self.width, narrow, self.width, wide)
        # With column offset c, output pixel x reads input pixel x + c - k // 2: these are the blocks with x_out - x_in = k // 2 - c.
        return [(column, blocks.diagonal(size // 2 - column, 2, 4)) for column in range(size)]


@dataclass
class BatchNorm:
    """Batch normalisation with scale and shift, each (G, C), and running statistics for evaluation."""

    scale: Tensor
    shift: Tensor
    scale_gradient: Tensor
    shift_gradient: Tensor
    width: int
    momentum: float
    epsilon: float
    _mean: Tensor = field(init=False)
    _variance: Tensor = field(init=False)
    _centred: Tensor = field(init=False)
    _inverse: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._mean, self._variance = torch.zeros_like(self.scale), torch.ones_like(self.scale)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return the output, of the shape of the input (G, lines, W * C).

        In training the statistics are those of the batch, and the running statistics are updated. Otherwise the running ones are used.
        """
        if not training:
            factor = self.scale * torch.rsqrt(self._variance + self.epsilon)
            return torch.addcmul(self._row(self.shift - self._mean * factor), x, self._row(factor))
        count = x.shape[1] * self.width
        mean = self._channels(x) / count
        self._centred = x - self._row(mean)
        variance = self._channels(self._centred * self._centred) / count
        self._inverse = torch.rsqrt(variance + self.epsilon)
        self._mean.lerp_(mean, self.momentum)
        self._variance.lerp_(variance * (count / (count - 1)), self.momentum)
        return torch.addcmul(self._row(self.shift), self._centred, self._row(self._inverse * self.scale))

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the input of the last forward pass in training, and set those of scale and shift."""
        count = grad.shape[1] * self.width
        torch.mul(self._channels(grad * self._centred), self._inverse, out=self.scale_gradient)
        self.shift_gradient.copy_(self._channels(grad))
        factor = self.scale * self._inverse
        along = -factor * self._inverse * self.scale_gradient / count
        result = torch.addcmul(self._row(-factor * self.shift_gradient / count), grad, self._row(factor))
        return result.addcmul_(self._centred, self._row(along))

    def _channels(self, x: Tensor) -> Tensor:
        """Return sums over lines and pixels, shape (G, C)."""
        return x.sum(1).view(x.shape[0], self.width, -1).sum(1)

    def _row(self, channels: Tensor) -> Tensor:
        """Return one value per channel, (G, C), repeated for all pixels of a row, (G, 1, W * C)."""
        networks, count = channels.shape
        return channels.unsqueeze(1).expand(networks, self.width, count).reshape(networks, 1, -1)


class AveragePooling:
    """The mean over 3x3 pixels with stride 1, without counting the padding. It is linear, so the backward pass is the transpose."""

    def __init__(self, networks: int, width: int, channels: int, dtype: torch.dtype):
        near = ((torch.arange(width)[:, None] - torch.arange(width)[None]).abs() <= 1).to(dtype)
        mean = near / near.sum(0)  # column x_out holds the weights of its neighbours
        self._vertical = mean.expand(networks, -1, -1)
        self._horizontal = torch.kron(mean, torch.eye(channels, dtype=dtype)).expand(networks, -1, -1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, of the shape of the input (G, H * B, W * C), for square images."""
        return self._apply(x, self._vertical.mT, self._horizontal)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the input."""
        return self._apply(grad, self._vertical, self._horizontal.mT)

    def _apply(self, x: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
        mixed = torch.bmm(x, horizontal).view(len(x), vertical.shape[1], -1)
        return torch.bmm(vertical, mixed).view(x.shape)
