"""The parts that chains are made of, each with its exact parameters and multiply-adds in closed form.

A part stands at a `Layer`: the image side and the channels that go in, the channels that come out, the stride. Every convolution is padded
by half its kernel, so a stride leaves the ceiling of side / stride. `network.py` builds what is described here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from budgetnas.spaces.space import Complexity
from budgetnas.spaces.tables.operators import Layer

SMALL_IMAGES = 64  # pixels a side: up to here a chain has its CIFAR strides, beyond it those for ImageNet


def strided(side: int, stride: int) -> int:
    """Return the side that a stride leaves of a side."""
    return -(-side // stride)


def convolution(kernel: int, channels_in: int, channels_out: int, groups: int, side: int) -> Complexity:
    """Return the cost of a convolution with `side` x `side` outputs, its normalisation's scale and shift included."""
    weights = kernel * kernel * (channels_in // groups) * channels_out
    return Complexity(weights + 2 * channels_out, weights * side * side)


def linear(channels: int, classes: int) -> Complexity:
    """Return the cost of the classifier, which has a bias."""
    return Complexity((channels + 1) * classes, channels * classes)


def total(costs: Iterable[Complexity]) -> Complexity:
    """Return the sum of costs."""
    params = macs = 0
    for cost in costs:
        params, macs = params + cost.params, macs + cost.macs
    return Complexity(params, macs)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, batch normalisation and the activation."""

    kernel: int
    at: Layer

    def complexity(self) -> Complexity:
        """Return exact parameters and MACs."""
        return convolution(self.kernel, self.at.channels_in, self.at.channels_out, 1, strided(self.at.side, self.at.stride))


@dataclass(frozen=True, slots=True)
class BlockType:
    """What an inverted residual block is, wherever it stands.

    1x1 convolution to `expansion` times the channels, normalisation, activation; depthwise convolution with the stride, normalisation,
    activation; 1x1 convolution, normalisation. The 1x1 convolutions may have groups, and channels are shuffled over `shuffle_groups`
    before the depthwise convolution or after it. The input is added where it has the output's shape. Where only the channels differ, and
    `projected` says so, a 1x1 convolution and normalisation of it are added.
    """

    kernel: int
    expansion: int
    expansion_groups: int
    projection_groups: int
    shuffle: Literal["before depthwise", "after depthwise"]
    projected: bool

    @property
    def shuffle_groups(self) -> int:
        """Groups over which channels are shuffled: those of the convolution whose groups are to be mixed."""
        return self.expansion_groups if self.shuffle == "before depthwise" else self.projection_groups


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual block at its place."""

    type: BlockType
    at: Layer

    @property
    def shortcut(self) -> Literal["none", "identity", "projection"]:
        """What is added to the block's output."""
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
    """Average pooling over squares of `stride` pixels a side, which do not overlap; at the far edges they may be cut off. No parameters."""

    stride: int

    def complexity(self) -> Complexity:
        """Return 0 and 0: pooling is not counted."""
        return Complexity(0, 0)


Part: TypeAlias = Convolution | Block | Pooling
