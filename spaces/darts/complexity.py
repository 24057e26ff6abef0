"""Exact parameters, multiply-adds and CPU cycles of DARTS's evaluation networks.

A network computes every operation of its discrete architecture, so its cost is a sum: over its edges (`edge_costs`), over the connections
that bring the inputs of a cell to its width (`connection_costs`), and over everything else (`rest`). Costs are int64, in the order of
`RESOURCES`. Cycles are those of the whole network, including stem, connections and classifier: five per multiply-add, plus the poolings
(`spaces/cycles.py`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.cycles import CYCLES_A_MAC, average_pooling, max_pooling, separable_macs
from budgetnas.spaces.darts.layout import STEM_MULTIPLIER, Place, Size, halved, is_small, places
from budgetnas.spaces.darts.order import CONNECTIONS, EDGES, INPUTS, NODES, OPERATIONS
from budgetnas.spaces.task import Task

RESOURCES = ("params", "macs", "cycles")
AUXILIARY_WIDTHS = (128, 768)
Costs: TypeAlias = NDArray[np.int64]
_POOLED = 3 * 3  # pixels
_SEPARABLE = {"sep_conv_3x3": (3, 2), "sep_conv_5x5": (5, 2), "dil_conv_3x3": (3, 1), "dil_conv_5x5": (5, 1)}  # kernel, times
_GROUPS = {"conv_1x1": 1, "conv_1x1_g2": 2, "conv_1x1_g4": 4}


class IndivisibleWidth(ValueError):
    """The groups of a connection's convolution do not divide its channels; the message gives both."""


def _costs(params: int, macs: int, other_cycles: int = 0) -> Costs:
    return np.array([params, macs, CYCLES_A_MAC * macs + other_cycles], np.int64)


def operation_costs(operation: str, width: int, side: int, side_out: int) -> Costs:
    """Return the cost of an operation, including its normalisation, shape (resources,).

    Args:
        operation: The name of the operation.
        width: Channels of input and output.
        side: Pixels a side of the input.
        side_out: Pixels a side of the output.
    """
    outputs = side_out * side_out
    if operation in _SEPARABLE:
        kernel, times = _SEPARABLE[operation]
        return times * _costs(separable_macs(kernel, width, 1) + 2 * width, separable_macs(kernel, width, outputs))
    if operation == "skip_connect" and side_out != side:
        return _costs(width * width + 2 * width, width * width * outputs)
    if operation == "max_pool_3x3":
        return _costs(0, 0, max_pooling(_POOLED, width * outputs))
    if operation == "avg_pool_3x3":
        return _costs(0, 0, average_pooling(_POOLED, width * outputs))
    return _costs(0, 0)


def _connection(operation: str, width_in: int, width: int, outputs: int, halves: bool) -> Costs:
    """Return the cost of a connection from `width_in` to `width` channels with `outputs` output pixels.

    `halves` means that two convolutions compute half of the channels each. Raises IndivisibleWidth if groups do not divide the channels.
    """
    if operation == "dil_conv_3x3":
        return _costs(separable_macs(3, width_in, 1, width) + 2 * width, separable_macs(3, width_in, outputs, width))
    groups = _GROUPS[operation]
    widths_out = {width // 2, width - width // 2} if halves else {width}
    if any(each % groups for each in (width_in, *widths_out)):
        raise IndivisibleWidth(
            f"{operation} cannot connect {width_in} to {' and '.join(map(str, sorted(widths_out)))} channels: its {groups} groups do not"
            f" divide them; choose another connection, or channels that are a multiple of {2 * groups}"
        )
    weights = width_in * width // groups
    return _costs(weights + 2 * width, weights * outputs)


@lru_cache(maxsize=64)
def connection_costs(operation: str, task: Task, size: Size) -> Costs:
    """Return the cost of a connection summed over both inputs of every cell, shape (resources,).

    Raises:
        IndivisibleWidth: The groups of the connection do not divide the channels of some input.
    """
    total = _costs(0, 0)
    for place in places(task, size):
        outputs = place.side * place.side
        total += _connection(operation, place.width_first, place.width, outputs, place.factorised)
        total += _connection(operation, place.width_second, place.width, outputs, halves=False)
    total.setflags(write=False)
    return total


@lru_cache(maxsize=64)
def edge_costs(task: Task, size: Size) -> Costs:
    """Return the costs of operations on edges summed over all cells of a kind, shape (groups + 1, edges, operations, resources).

    The first axis is the groups of normal cells, then the reduction cell.
    """
    total = np.zeros((size.groups + 1, len(EDGES), len(OPERATIONS), len(RESOURCES)), np.int64)
    for place in places(task, size):
        from_input, from_node = (_operations(place, source) for source in (0, INPUTS))
        for edge, (source, _) in enumerate(EDGES):
            total[place.searched, edge] += from_input if source < INPUTS else from_node
    total.setflags(write=False)
    return total


def _operations(place: Place, source: int) -> Costs:
    return np.stack([operation_costs(operation, place.width, *place.edge_sides(source)) for operation in OPERATIONS])


@lru_cache(maxsize=64)
def rest(task: Task, size: Size) -> Costs:
    """Return the cost of stem, global average pooling and classifier, shape (resources,)."""
    *_, last = places(task, size)
    width, pixels = len(NODES) * last.width, last.side_out**2
    classifier = _costs((width + 1) * task.classes, width * task.classes, average_pooling(pixels, width))
    total = classifier + (_small_stem(task, size.channels) if is_small(task) else _large_stem(task, size.channels))
    total.setflags(write=False)
    return total


def _convolution_3x3(width_in: int, width_out: int, side_out: int) -> Costs:
    weights = 9 * width_in * width_out
    return _costs(weights + 2 * width_out, weights * side_out * side_out)


def _small_stem(task: Task, channels: int) -> Costs:
    return _convolution_3x3(task.image_channels, STEM_MULTIPLIER * channels, task.image_size)


def _large_stem(task: Task, channels: int) -> Costs:
    """Return the cost of three convolutions with stride two; the first has half of the channels."""
    half = halved(task.image_size)
    sides = (half, halved(half), halved(halved(half)))
    widths = (task.image_channels, channels // 2, channels, channels)
    steps = [_convolution_3x3(*step) for step in zip(widths[:-1], widths[1:], sides, strict=True)]
    return steps[0] + steps[1] + steps[2]


def auxiliary_params(task: Task, size: Size) -> int:
    """Return the parameters of the auxiliary head after the second reduction cell. The head for ImageNet has no second normalisation."""
    narrow, wide = AUXILIARY_WIDTHS
    width = len(NODES) * [place for place in places(task, size) if place.reduction][-1].width
    convolutions = width * narrow + 2 * narrow + 2 * 2 * narrow * wide + (2 * wide if is_small(task) else 0)
    return convolutions + (wide + 1) * task.classes


def connection_table(task: Task, size: Size) -> Costs:
    """Return the cost of every operation of the connection cell, shape (1, operations, resources).

    Raises:
        IndivisibleWidth: The groups of some operation do not divide the channels.
    """
    return np.stack([connection_costs(operation, task, size) for operation in CONNECTIONS])[None]
