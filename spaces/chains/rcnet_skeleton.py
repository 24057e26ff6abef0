"""The fixed part of RCNet's networks (widths, strides, sides), and with it the cost of every block at every possible place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TypeAlias

from budgetnas.spaces.chains.complexity import SMALL_IMAGES, Block, BlockType, Convolution, Part, linear, strided, total
from budgetnas.spaces.tables.operators import Layer
from budgetnas.spaces.task import Task

STAGE_CHANNELS = (24, 32, 64, 96, 160, 320)
_STEM, _FIXED, _HEAD = 32, 16, 1280
_MULTIPLE = 4  # every number of channels is a multiple of this; the groups of all block types divide it
# Strides of the stem and of each stage's first block.
_SMALL_STRIDES = (1, (1, 2, 2, 1, 2, 1))
_LARGE_STRIDES = (2, (2, 2, 2, 1, 2, 1))


def _type(expansion: int, expansion_groups: int, projection_groups: int) -> BlockType:
    return BlockType(3, expansion, expansion_groups, projection_groups, shuffle="after depthwise", projected=True)


_FIXED_TYPE = _type(1, 1, 1)
# Expansion, groups of the expansion, groups of the projection; codes 1 to 6 (figure 2 of the paper).
TYPES = (_type(3, 1, 1), _type(3, 1, 2), _type(6, 2, 2), _type(6, 1, 2), _type(6, 1, 1), _type(12, 2, 4))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The network around the positions. Level 0 is the input of the first stage, level k the output of stage k, counted from 1."""

    task: Task
    stem_channels: int
    stem_stride: int
    head_channels: int
    channels: tuple[int, ...]  # of levels 0 to 6
    strides: tuple[int, ...]  # of the six stages
    sides: tuple[int, ...]  # of levels 0 to 6; the same for all chains, since an empty stage keeps its stride

    @classmethod
    def of(cls, width: int, task: Task) -> Skeleton:
        """Return the skeleton for a task with `width` per cent of the published channels."""
        stem_stride, strides = _SMALL_STRIDES if task.image_size <= SMALL_IMAGES else _LARGE_STRIDES
        channels = tuple([_scaled(count, width) for count in (_FIXED, *STAGE_CHANNELS)])
        sides = tuple(accumulate(strides, strided, initial=strided(task.image_size, stem_stride)))
        return cls(task, _scaled(_STEM, width), stem_stride, _scaled(_HEAD, width), channels, strides, sides)

    def start(self) -> Iterator[Part]:
        """Yield the stem and the fixed block."""
        yield Convolution(3, Layer(self.task.image_size, self.task.image_channels, self.stem_channels, self.stem_stride))
        yield Block(_FIXED_TYPE, Layer(self.sides[0], self.stem_channels, self.channels[0], 1))

    def block(self, stage: int, level: int, code: int) -> Block:
        """Return the block with a code.

        Args:
            stage: The stage of the block, counted from 0.
            level: The level with the channels that the block reads. It is `stage + 1` unless the block is the first of its stage.
            code: The type of the block, 1 to 6.
        """
        if level == stage + 1:
            return Block(TYPES[code - 1], Layer(self.sides[level], self.channels[level], self.channels[level], 1))
        return Block(TYPES[code - 1], Layer(self.sides[stage], self.channels[level], self.channels[stage + 1], self.strides[stage]))

    def end(self, level: int) -> Convolution:
        """Return the last convolution, which reads the channels of a level."""
        return Convolution(1, Layer(self.sides[-1], self.channels[level], self.head_channels, 1))


_Pair: TypeAlias = tuple[int, int]  # parameters and MACs


@dataclass(frozen=True, slots=True)
class Costs:
    """Parameters and MACs of every possible part of a network."""

    start: _Pair  # stem, fixed block and classifier
    blocks: tuple[tuple[tuple[_Pair, ...], ...], ...]  # [stage][level][code], the level being that of the input; code 0 costs nothing
    ends: tuple[_Pair, ...]  # [level]: the last convolution


@lru_cache(maxsize=64)
def costs_of(width: int, task: Task) -> Costs:
    """Return the costs of all parts of the networks for a task, with `width` per cent of the published channels."""
    skeleton = Skeleton.of(width, task)
    start = total([*(part.complexity() for part in skeleton.start()), linear(skeleton.head_channels, task.classes)])
    levels = range(len(skeleton.channels))
    return Costs(
        start=(start.params, start.macs),
        blocks=tuple(
            tuple(
                ((0, 0), *(_pair(skeleton.block(stage, level, code)) for code in range(1, len(TYPES) + 1))) for level in levels[: stage + 2]
            )
            for stage in range(len(STAGE_CHANNELS))
        ),
        ends=tuple(_pair(skeleton.end(level)) for level in levels),
    )


def _pair(part: Part) -> _Pair:
    cost = part.complexity()
    return cost.params, cost.macs


def _scaled(channels: int, width: int) -> int:
    """Return `width` per cent of `channels`, rounded to the nearest positive multiple of `_MULTIPLE` (up at half)."""
    return max(1, (channels * width + 50 * _MULTIPLE) // (100 * _MULTIPLE)) * _MULTIPLE
