"""Costs of the operators of HW-NAS-Bench's FBNet space. The cost of an architecture is the sum over its operators.

They are stored in a table with the name `fbnet-operators`. It has a row for each operator, in the order of `operator_keys()`, and a column
for each resource and device, such as `latency_ms/raspi4`. The name of a column has no dataset, since the key of an operator includes the
image size.

The keys follow from the network (FBNet, Wu et al., CVPR 2019, as HW-NAS-Bench builds it): a stem, seven stages of layers, each one of eight
blocks or a skip, and a header. One network takes images of 32x32 pixels (CIFAR-10 and CIFAR-100), another images of 224x224 (ImageNet).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from budgetnas.spaces.tables.columnar import Table, TableError

OPERATORS = "fbnet-operators"
_STEM_CHANNELS = 16
_STAGE_CHANNELS = (16, 24, 32, 64, 112, 184, 352)
_STAGE_LAYERS = (1, 4, 4, 4, 4, 4, 1)
# Kernel, expansion and groups of the eight blocks, by code; code 8 is the skip.
BLOCKS = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))


@dataclass(frozen=True, slots=True)
class Layer:
    """The shape of a layer: image side and channels of its input, channels of its output, stride."""

    side: int
    channels_in: int
    channels_out: int
    stride: int

    def key(self, code: int) -> str:
        """Return the key of the operator with a code at this layer: block `code` of `BLOCKS`, or the skip for 8."""
        shape = f"H{self.side}_W{self.side}_Cin{self.channels_in}_Cout{self.channels_out}"
        if code == len(BLOCKS):
            return f"Skip_{shape}_stride{self.stride}"
        kernel, expansion, groups = BLOCKS[code]
        return f"ConvBlock_{shape}_exp{expansion}_kernel{kernel}_stride{self.stride}_group{groups}"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The fixed part of an FBNet network: image side, strides of stem and stages, channels of the header, numbers of classes."""

    image_side: int
    stem_stride: int
    strides: tuple[int, ...]
    header_channels: int
    classes: tuple[int, ...]

    def layers(self) -> Iterator[Layer]:
        """Yield the 22 searched layers, first to last. A stride leaves the ceiling of side / stride, as in padded convolutions."""
        side, channels_in = -(-self.image_side // self.stem_stride), _STEM_CHANNELS
        for channels_out, count, first_stride in zip(_STAGE_CHANNELS, _STAGE_LAYERS, self.strides, strict=True):
            for position in range(count):
                stride = first_stride if position == 0 else 1
                yield Layer(side, channels_in, channels_out, stride)
                side, channels_in = -(-side // stride), channels_out

    def fixed_keys(self, classes: int) -> tuple[str, str, str, str]:
        """Return the keys of the stem, the last convolution, the pooling and the linear layer."""
        *_, last = self.layers()
        side, width = -(-last.side // last.stride), self.header_channels
        return (
            f"ConvNorm_H{self.image_side}_W{self.image_side}_Cin3_Cout{_STEM_CHANNELS}_kernel3_stride{self.stem_stride}_group1",
            f"ConvNorm_H{side}_W{side}_Cin{last.channels_out}_Cout{width}_kernel1_stride1_group1",
            f"AvgP_H{side}_W{side}_Cin{width}_Cout{width}_kernel{side}_stride1",
            f"FC_Cin{width}_Cout{classes}",
        )


CIFAR = Skeleton(image_side=32, stem_stride=1, strides=(1, 1, 2, 2, 1, 2, 1), header_channels=1504, classes=(10, 100))
IMAGENET = Skeleton(image_side=224, stem_stride=2, strides=(1, 2, 2, 2, 1, 2, 1), header_channels=1984, classes=(1000,))


@cache
def operator_keys() -> tuple[str, ...]:
    """Return the keys of all operators, sorted. These are the rows of the table."""
    keys = {key for skeleton in (CIFAR, IMAGENET) for classes in skeleton.classes for key in skeleton.fixed_keys(classes)}
    layers = [layer for skeleton in (CIFAR, IMAGENET) for layer in skeleton.layers()]
    return tuple(sorted(keys | {layer.key(code) for layer in layers for code in range(len(BLOCKS) + 1)}))


@cache
def _row_of() -> dict[str, int]:
    return {key: row for row, key in enumerate(operator_keys())}


def operator_column(resource: str, device: str) -> str:
    """Return the name of a column such as `latency_ms/pixel3`."""
    return f"{resource}/{device}"


def total_cost(table: Table, resource: str, device: str, keys: Iterable[str]) -> float:
    """Return the sum of the costs of operators on a device, added in their order, in the unit of the resource; NaN if one is not supported.

    Raises:
        TableError: The table does not have the device or the resource, or there is no operator with one of the keys.
    """
    name = operator_column(resource, device)
    if name not in table:
        raise TableError(f"the operators have no {resource} on {device}; the table has {', '.join(sorted(table)) or 'nothing'}")
    costs, rows, total = table.column(name), _row_of(), 0.0
    for key in keys:
        if key not in rows:
            raise TableError(f"there is no operator '{key}'; the {len(rows)} known operators are those of FBNet's two networks")
        total += float(costs[rows[key]])
    return total
