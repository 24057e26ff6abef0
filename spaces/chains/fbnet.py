"""FBNet's chains (Wu et al., CVPR 2019) as HW-NAS-Bench (Li et al., ICLR 2021) builds and measures them.

A network is a 3x3 stem, 22 layers, a 1x1 convolution, average pooling and a linear layer; the activation is ReLU. Channels and stride of a
layer depend on its position alone, not on the block that it holds.

- Codes 0 to 7 are inverted residual blocks. They keep their first 1x1 convolution even with expansion 1. A channel shuffle follows that
  convolution if it has 2 groups.
- Code 8 is the skip: the identity if the layer keeps the shape, else a 1x1 convolution with the stride of the layer, normalisation, ReLU.

Images of 32 pixels a side use HW-NAS-Bench's network for CIFAR, images of 224 pixels its network for ImageNet. Other images use the strides
of the first network up to 64 pixels a side, and those of the second above.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from budgetnas.spaces.chains import fbnet_devices
from budgetnas.spaces.chains.codes import check_element, decode, encode
from budgetnas.spaces.chains.complexity import SMALL_IMAGES, Block, BlockType, Convolution, Part, linear, strided, total
from budgetnas.spaces.space import Architecture, Complexity, check_genes
from budgetnas.spaces.tables.operators import BLOCKS, CIFAR, IMAGENET, Layer, Skeleton
from budgetnas.spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

POSITIONS = 22
SKIP = len(BLOCKS)
_TYPES = tuple(
    BlockType(kernel, expansion, groups, groups, shuffle="before depthwise", projected=False) for kernel, expansion, groups in BLOCKS
)
_LEGEND = "0 to 7 are blocks, 8 is the skip, as in '0 0 8 ...'"


class FBNet:
    """Chains of 22 positions, each one of eight blocks or the skip. A gene is the code of a position."""

    name = "fbnet"
    arity = (SKIP + 1,) * POSITIONS

    @property
    def identity(self) -> Architecture:
        """The chain of skips, from which RCAS starts. If the shape changes, some grouped blocks cost less than the skip."""
        return Architecture(self.name, (SKIP,) * POSITIONS)

    def encode(self, arch: Architecture) -> str:
        """Return the codes of all positions, separated by spaces."""
        return encode(self, arch)

    def decode(self, text: str) -> Architecture:
        """Return the chain with these codes. Raises InvalidArchitecture, which names the fault and its position."""
        return decode(self, text, _LEGEND)

    def connected(self, arch: Architecture) -> bool:
        """Return True: the output of every block and of the skip depends on the input."""
        check_genes(self, arch)
        return True

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the chain itself: no two chains are identical networks."""
        check_genes(self, arch)
        return Architecture(self.name, tuple([int(gene) for gene in arch.genes]))

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs of the network for a task."""
        check_genes(self, arch)
        (params, macs), layers = _costs_of(task)
        for codes, code in zip(layers, arch.genes, strict=True):
            more_params, more_macs = codes[code]
            params, macs = params + more_params, macs + more_macs
        return Complexity(params, macs)

    def element_cost(self, position: int, value: int, task: Task, device: str | None = None) -> Mapping[str, float]:
        """Return c(v), the cost of a block or the skip alone at its position: `params`, `macs` and, with a device, its resources.

        A shape depends on its position alone, so a chain costs the sum of c(v) over all positions plus the cost of the fixed parts.

        Raises:
            InvalidArchitecture: The space does not have this position, or this value at it.
            NoDeviceCosts, UnknownDevice, TableError: As for `device_cost`.
        """
        check_element(self, position, value)
        params, macs = _costs_of(task)[1][position][value]
        on_device = fbnet_devices.element_cost(position, value, task, device) if device is not None else {}
        return {"params": float(params), "macs": float(macs), **on_device}

    def devices(self, task: Task) -> tuple[str, ...]:
        """Return the devices with costs known on this machine; none if HW-NAS-Bench has no network for the task."""
        return fbnet_devices.devices(task)

    def device_cost(self, arch: Architecture, task: Task, device: str) -> Mapping[str, float]:
        """Return `latency_ms`, `energy_mj` or both: sums over HW-NAS-Bench's operators. NaN means 'not supported'.

        Raises:
            NoDeviceCosts: HW-NAS-Bench has no network for the task.
            UnknownDevice: HW-NAS-Bench did not measure operators on the device.
            TableError: The costs of the operators are not on this machine.
        """
        check_genes(self, arch)
        return fbnet_devices.device_cost(arch.genes, task, device)

    def cheapest(self, resource: str, task: Task, device: str | None = None) -> Architecture:
        """Return the chain with the cheapest code at every position, since costs are sums over positions. Raises as `element_cost` does.

        A code that the device does not support is chosen only if it supports no code at that position. Ties go to the lowest code.
        """

        def cost(position: int, code: int) -> tuple[bool, float]:
            value = self.element_cost(position, code, task, device)[resource]
            return math.isnan(value), value

        codes = [min(range(choices), key=lambda code: cost(position, code)) for position, choices in enumerate(self.arity)]
        return Architecture(self.name, tuple(codes))

    def parts(self, arch: Architecture, task: Task) -> Iterator[Part]:
        """Yield the parts of the network for a task, from the stem to the last convolution. A skip that keeps the shape is not a part."""
        check_genes(self, arch)
        skeleton = skeleton_of(task)
        yield _stem(skeleton, task)
        for layer, code in zip(skeleton.layers(), arch.genes, strict=True):
            part = _part(layer, code)
            if part is not None:
                yield part
        yield _header(skeleton)

    def network(self, arch: Architecture, task: Task, *, auxiliary: bool = False) -> nn.Module:
        """Return the untrained network for a task; it has no auxiliary head. Needs torch."""
        from budgetnas.spaces.chains.network import network

        return network(self.parts(arch, task), skeleton_of(task).header_channels, task, "relu")


def skeleton_of(task: Task) -> Skeleton:
    """Return the fixed parts of the networks for a task: sides, strides and channels."""
    return replace(CIFAR if task.image_size <= SMALL_IMAGES else IMAGENET, image_side=task.image_size)


def _stem(skeleton: Skeleton, task: Task) -> Convolution:
    first = next(skeleton.layers())
    return Convolution(3, Layer(task.image_size, task.image_channels, first.channels_in, skeleton.stem_stride))


def _header(skeleton: Skeleton) -> Convolution:
    *_, last = skeleton.layers()
    return Convolution(1, Layer(strided(last.side, last.stride), last.channels_out, skeleton.header_channels, 1))


def _part(layer: Layer, code: int) -> Part | None:
    """Return the part for a code at a layer; None for the identity."""
    if code < SKIP:
        return Block(_TYPES[code], layer)
    return None if layer.stride == 1 and layer.channels_in == layer.channels_out else Convolution(1, layer)


@lru_cache(maxsize=64)
def _costs_of(task: Task) -> tuple[tuple[int, int], tuple[tuple[tuple[int, int], ...], ...]]:
    """Return (parameters, MACs) of the fixed parts, and of every code at every position."""
    skeleton = skeleton_of(task)
    fixed = total([_stem(skeleton, task).complexity(), _header(skeleton).complexity(), linear(skeleton.header_channels, task.classes)])
    layers = tuple(tuple(_pair(_part(layer, code)) for code in range(SKIP + 1)) for layer in skeleton.layers())
    return (fixed.params, fixed.macs), layers


def _pair(part: Part | None) -> tuple[int, int]:
    cost = part.complexity() if part is not None else Complexity(0, 0)
    return cost.params, cost.macs
