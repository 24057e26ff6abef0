"""The parts of chains, each with its exact parameters and multiply-adds in closed form.

The shape of a part is a `Layer`: image side and channels of the input, channels of the output, stride. Every convolution is padded by half
its kernel, so the side of its output is the ceiling of side / stride. `network.py` builds the parts in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from budgetnas.spaces.space import Complexity
from budgetnas.spaces.tables.operators import Layer

SMALL_IMAGES = 64  # pixels a side: a chain has its CIFAR strides up to this size, its ImageNet strides above


def strided(side: int, stride: int) -> int:
    """Return the side of the output of a padded convolution: the ceiling of side / stride."""
    return -(-side // stride)


def convolution(kernel: int, channels_in: int, channels_out: int, groups: int, side: int) -> Complexity:
    """Return the cost of a convolution with `side` x `side` outputs, including scale and shift of its normalisation."""
    weights = kernel * kernel * (channels_in // groups) * channels_out
    return Complexity(weights + 2 * channels_out, weights * side * side)


def linear(channels: int, classes: int) -> Complexity:
    """Return the cost of the linear classifier, with its bias."""
    return Complexity((channels + 1) * classes, channels * classes)


def total(costs: Iterable[Complexity]) -> Complexity:
    """Return the sum of costs."""
    params = macs = 0
    for cost in costs:
        params, macs = params + cost.params, macs + cost.macs
    return Complexity(params, macs)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, batch normalisation and activation."""

    kernel: int
    at: Layer

    def complexity(self) -> Complexity:
        """Return exact parameters and MACs."""
        return convolution(self.kernel, self.at.channels_in, self.at.channels_out, 1, strided(self.at.side, self.at.stride))


@dataclass(frozen=True, slots=True)
class BlockType:
    """The type of an inverted residual block, without its shape.

    The block is a 1x1 convolution to `expansion` times the channels, normalisation, activation; a depthwise convolution with the stride,
    normalisation, activation; a 1x1 convolution, normalisation. The 1x1 convolutions may have groups. Channels are shuffled over
    `shuffle_groups` before or after the depthwise convolution. The input is added to the output if both have the same shape. If only their
    channels differ and `projected` is set, the input is added after a 1x1 convolution and normalisation.
    """

    kernel: int
    expansion: int
    expansion_groups: int
    projection_groups: int
    shuffle: Literal["before depthwise", "after depthwise"]
    projected: bool

    @property
    def shuffle_groups(self) -> int:
        """The groups over which channels are shuffled: before the depthwise convolution those of the expansion, else of the projection."""
        return self.expansion_groups if self.shuffle == "before depthwise" else self.projection_groups


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual block of a given shape."""

    type: BlockType
    at: Layer

    @property
    def shortcut(self) -> Literal["none", "identity", "projection"]:
        """What is added to the output of the block: nothing, its input, or a projection of its input."""
        if self.at.stride != 1:
            return "none"
        if self.at.channels_in == self.at.channels_out:
            return "identity"
        return "projection" if self.type.projected else "none"

    def complexity(self) -> Complexity:
        """Return exact parameters and MACs."""
        at, kind = self.at, self.type
        hidden, side = kind.expansion * at.channels_in, strided(at.side, at.stride)
        costs = [
            convolution(1, at.channels_in, hidden, kind.expansion_groups, at.side),
            convolution(kind.kernel, hidden, hidden, hidden, side),
            convolution(1, hidden, at.channels_out, kind.projection_groups, side),
        ]
        if self.shortcut == "projection":
            costs.append(convolution(1, at.channels_in, at.channels_out, 1, side))
        return total(costs)


@dataclass(frozen=True, slots=True)
class Pooling:
    """Average pooling over squares of `stride` x `stride` pixels that do not overlap. Squares at the far edges may be cut off."""

    stride: int

    def complexity(self) -> Complexity:
        """Return 0 parameters and 0 MACs: pooling is not counted."""
        return Complexity(0, 0)


Part: TypeAlias = Convolution | Block | Pooling
