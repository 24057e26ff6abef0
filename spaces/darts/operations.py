"""The operations of DARTS cells in PyTorch (DARTS, section 3.1 and appendix A.1.1), and those of RC-DARTS's connection cells (section 4.1).

Every operation maps (N, width, side, side) to (N, width, s, s) with s = ceil(side / stride), also for odd sides. No operation changes its
argument, because other edges read it too. All operations keep the memory format: channels-last input gives channels-last output.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, cat, nn
from torch.nn import functional

from budgetnas.spaces.darts.complexity import IndivisibleWidth


class UnknownOperation(ValueError):
    """The cell has no operation with this name; the message lists the existing ones."""


class Zero(nn.Module):
    """The operation `none`: zeros, with the shape that its stride gives."""

    def __init__(self, stride: int):
        super().__init__()
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros, shape (N, width, ceil(side / stride), ceil(side / stride))."""
        return x[:, :, :: self._stride, :: self._stride].mul(0.0)


class FactorizedReduce(nn.Module):
    """ReLU; two 1x1 convolutions with stride 2, side by side, the second shifted by one pixel down and right; batch normalisation.

    The first convolution gives half of the channels (rounded down). If a side is odd, the shifted convolution also reads a row or column of
    zeros, so that both have ceil(side / 2) outputs a side. With groups, a channel shuffle follows each convolution.
    """

    def __init__(self, width_in: int, width_out: int, affine: bool = True, groups: int = 1):
        super().__init__()
        half = width_out // 2
        self.first = _pointwise(width_in, half, groups)
        self.second = _pointwise(width_in, width_out - half, groups)
        self.norm = nn.BatchNorm2d(width_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return an output with half the side of `x`, rounded up."""
        height, width = x.shape[2:]
        # Select the pixels of the stride before the ReLU, so that the ReLU computes only a quarter of them.
        shifted = functional.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
        halves = (self.first(x[:, :, ::2, ::2].relu()), self.second(shifted[:, :, 1::2, 1::2].relu()))
        output: Tensor = self.norm(cat(halves, dim=1))
        return output


def _pointwise(width_in: int, width_out: int, groups: int) -> nn.Module:
    """Return a 1x1 convolution. With groups, a channel shuffle follows: channel i of every group, then channel i + 1 (ShuffleNet)."""
    if width_in % groups or width_out % groups:
        raise IndivisibleWidth(
            f"{groups} groups do not divide the channels of a convolution of {width_in} to {width_out} channels;"
            f" choose initial channels that are a multiple of {2 * groups}, or another connection"
        )
    convolution = nn.Conv2d(width_in, width_out, 1, groups=groups, bias=False)
    return convolution if groups == 1 else nn.Sequential(convolution, nn.ChannelShuffle(groups))


def preprocessing(width_in: int, width_out: int, affine: bool = True, groups: int = 1) -> nn.Sequential:
    """Return ReLU, 1x1 convolution and batch normalisation, which DARTS applies to both inputs of a cell."""
    return nn.Sequential(nn.ReLU(), _pointwise(width_in, width_out, groups), nn.BatchNorm2d(width_out, affine=affine))


def _depthwise_pointwise(
    width_in: int, width_out: int, kernel: int, stride: int, dilation: int, affine: bool, own_input: bool = False
) -> list[nn.Module]:
    """Return ReLU, depthwise convolution, 1x1 convolution, normalisation.

    With `own_input`, no other module reads the input, so the ReLU works in place.
    """
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(inplace=own_input),
        nn.Conv2d(width_in, width_in, kernel, stride, padding, dilation, groups=width_in, bias=False),
        nn.Conv2d(width_in, width_out, 1, bias=False),
        nn.BatchNorm2d(width_out, affine=affine),
    ]


def separable(width: int, kernel: int, stride: int, affine: bool = True) -> nn.Sequential:
    """Return two separable convolutions, the first with the stride (DARTS, section 3.1)."""
    first = _depthwise_pointwise(width, width, kernel, stride, 1, affine)
    return nn.Sequential(*first, *_depthwise_pointwise(width, width, kernel, 1, 1, affine, own_input=True))


def dilated(width_in: int, width_out: int, kernel: int, stride: int, affine: bool = True) -> nn.Sequential:
    """Return one separable convolution with dilation 2."""
    return nn.Sequential(*_depthwise_pointwise(width_in, width_out, kernel, stride, 2, affine))


def _skip(width: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(width, width, affine)


def _max_pool(width: int, stride: int, affine: bool) -> nn.Module:
    return nn.MaxPool2d(3, stride, padding=1)


def _average_pool(width: int, stride: int, affine: bool) -> nn.Module:
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


# From (width, stride, affine) to the operation, in the published order.
_MAKERS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "none": lambda width, stride, affine: Zero(stride),
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _average_pool,
    "skip_connect": _skip,
    "sep_conv_3x3": lambda width, stride, affine: separable(width, 3, stride, affine),
    "sep_conv_5x5": lambda width, stride, affine: separable(width, 5, stride, affine),
    "dil_conv_3x3": lambda width, stride, affine: dilated(width, width, 3, stride, affine),
    "dil_conv_5x5": lambda width, stride, affine: dilated(width, width, 5, stride, affine),
}
_CONNECTION_GROUPS = {"conv_1x1": 1, "conv_1x1_g2": 2, "conv_1x1_g4": 4}
_CONNECTIONS = ("dil_conv_3x3", *_CONNECTION_GROUPS)


def operation(name: str, width: int, stride: int, affine: bool = True, normalised_pooling: bool = False) -> nn.Module:
    """Return an operation on `width` channels.

    Args:
        name: One of `OPERATIONS`.
        width: Channels of input and output.
        stride: 1 or 2.
        affine: Whether normalisations have scale and shift: yes in the evaluation network, no in the search network.
        normalised_pooling: Whether a normalisation follows pooling, so that all mixed operations have the same scale: no in the evaluation
            network, yes in the search network.

    Raises:
        UnknownOperation: The name is not known; the message lists the known ones.
    """
    if name not in _MAKERS:
        raise UnknownOperation(f"unknown operation '{name:.40}'; choose one of {', '.join(_MAKERS)}")
    module = _MAKERS[name](width, stride, affine)
    if normalised_pooling and isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return nn.Sequential(module, nn.BatchNorm2d(width, affine=affine))
    return module


def connection(name: str, width_in: int, width_out: int, stride: int = 1, affine: bool = True) -> nn.Module:
    """Return an operation of RC-DARTS's connection cell, which comes before an input of a cell; `conv_1x1` is DARTS's own preprocessing.

    Raises:
        UnknownOperation: The name is not known; the message lists the known ones.
        IndivisibleWidth: The groups of the convolution do not divide its channels.
    """
    if name not in _CONNECTIONS:
        raise UnknownOperation(f"unknown operation '{name:.40}' of the connection cell; choose one of {', '.join(_CONNECTIONS)}")
    if name not in _CONNECTION_GROUPS:
        return dilated(width_in, width_out, 3, stride, affine)
    groups = _CONNECTION_GROUPS[name]
    return (preprocessing if stride == 1 else FactorizedReduce)(width_in, width_out, affine, groups)
