"""The operations equal plain formulas in float64, on even and odd sides, in both memory formats."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from budgetnas.spaces.darts.complexity import IndivisibleWidth  # noqa: E402
from budgetnas.spaces.darts.operations import (  # noqa: E402
    FactorizedReduce,
    UnknownOperation,
    connection,
    dilated,
    operation,
    separable,
)

pytestmark = pytest.mark.slow

NAMES = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
CONNECTIONS = ("dil_conv_3x3", "conv_1x1", "conv_1x1_g2", "conv_1x1_g4")


def images(side: int = 7, width: int = 8):
    return torch.randn(3, width, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(side))


def normalised(x):
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("side", [1, 2, 4, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_divides_the_side_by_its_stride_rounded_up_and_keeps_its_argument(name: str, stride: int, side: int) -> None:
    x = images(side)
    before = x.clone()
    out = operation(name, 8, stride).double()(x)
    assert out.shape == (3, 8, -(-side // stride), -(-side // stride))
    assert torch.equal(x, before), "the argument must not change, since other edges read it too"


@pytest.mark.parametrize("side", [4, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_connection_divides_the_side_and_changes_the_width(name: str, stride: int, side: int) -> None:
    x = images(side)
    before = x.clone()
    assert connection(name, 8, 16, stride).double()(x).shape == (3, 16, -(-side // stride), -(-side // stride))
    assert torch.equal(x, before)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", NAMES[1:])
def test_channels_last_gives_the_same_output_in_the_same_format(name: str, stride: int) -> None:
    module, x = operation(name, 8, stride).double(), images()
    out = module(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, module(x))


def test_none_is_zero_and_a_skip_connection_is_the_identity() -> None:
    x = images()
    assert not operation("none", 8, 1)(x).any() and not operation("none", 8, 2)(x).any()
    assert operation("skip_connect", 8, 1)(x) is x


@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_ignores_the_padding(stride: int) -> None:
    x = images()
    windows = functional.pad(x, (1, 1, 1, 1), value=torch.nan).unfold(2, 3, stride).unfold(3, 3, stride).flatten(4)
    torch.testing.assert_close(operation("avg_pool_3x3", 8, stride)(x), windows.nanmean(-1))
    torch.testing.assert_close(operation("max_pool_3x3", 8, stride)(x), windows.nan_to_num(-torch.inf).amax(-1))


def convolved(x, depthwise: nn.Conv2d, pointwise: nn.Conv2d, kernel: int, stride: int, dilation: int):
    """Return a depthwise and a 1x1 convolution, computed as plain sums."""
    reach = dilation * (kernel // 2)
    padded = functional.pad(x, (reach,) * 4)
    side = x.shape[-1]
    total = torch.zeros_like(x)
    for row in range(kernel):
        for column in range(kernel):
            window = padded[:, :, row * dilation : row * dilation + side, column * dilation : column * dilation + side]
            total = total + window * depthwise.weight[:, 0, row, column, None, None]
    return torch.einsum("nihw,oi->nohw", total[:, :, ::stride, ::stride], pointwise.weight[:, :, 0, 0])


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_separable_convolution_is_applied_twice_with_the_stride_in_the_first(kernel: int, stride: int) -> None:
    module = separable(8, kernel, stride).double()
    _, depthwise, pointwise, _, _, depthwise_too, pointwise_too, _ = module
    middle = normalised(convolved(images().relu(), depthwise, pointwise, kernel, stride, 1))
    expected = normalised(convolved(middle.relu(), depthwise_too, pointwise_too, kernel, 1, 1))
    torch.testing.assert_close(module(images()), expected)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_dilated_convolution_is_applied_once_with_dilation_two(kernel: int, stride: int) -> None:
    module = dilated(8, 12, kernel, stride).double()
    torch.testing.assert_close(module(images()), normalised(convolved(images().relu(), module[1], module[2], kernel, stride, 2)))


@pytest.mark.parametrize("side", [4, 7])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_factorised_reduction_reads_even_pixels_and_odd_ones(side: int, groups: int) -> None:
    module = FactorizedReduce(8, 16, groups=groups).double()
    x = functional.pad(images(side).relu(), (0, 1, 0, 1))  # one more row and column of zeros, which even sides never read
    parts = []
    for shift, half in enumerate((module.first, module.second)):
        pixels = x[:, :, shift : side + side % 2 : 2, shift : side + side % 2 : 2]
        parts.append(shuffled_by_hand(pixels, half if groups == 1 else half[0], groups))
    torch.testing.assert_close(module(images(side)), normalised(torch.cat(parts, 1)))


def shuffled_by_hand(x, convolution: nn.Conv2d, groups: int):
    """Return a grouped 1x1 convolution with output c of group g at position c * groups + g."""
    outs = []
    for part, weight in zip(x.chunk(groups, 1), convolution.weight.chunk(groups), strict=True):
        outs.append(torch.einsum("nihw,oi->nohw", part, weight[:, :, 0, 0]))
    return torch.stack(outs, 2).flatten(1, 2)


@pytest.mark.parametrize(("name", "groups"), [("conv_1x1", 1), ("conv_1x1_g2", 2), ("conv_1x1_g4", 4)])
def test_a_connection_is_relu_grouped_convolution_shuffle_and_normalisation(name: str, groups: int) -> None:
    module = connection(name, 8, 12).double()
    convolution = module[1] if groups == 1 else module[1][0]
    assert convolution.weight.shape == (12, 8 // groups, 1, 1)
    torch.testing.assert_close(module(images()), normalised(shuffled_by_hand(images().relu(), convolution, groups)))


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(IndivisibleWidth, match=r"4 groups do not divide .* 54 to 18 channels; choose .* multiple of 8"):
        connection("conv_1x1_g4", 54, 18)
    with pytest.raises(IndivisibleWidth, match="8 to 6 channels"):
        connection("conv_1x1_g4", 8, 12, stride=2)


def test_unknown_operations_are_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(UnknownOperation, match=r"unknown operation 'conv_7x7'; choose one of none, max_pool_3x3, .*dil_conv_5x5"):
        operation("conv_7x7", 8, 1)
    with pytest.raises(UnknownOperation, match="connection cell; choose one of dil_conv_3x3, conv_1x1, conv_1x1_g2, conv_1x1_g4"):
        connection("skip_connect", 8, 8)


@pytest.mark.parametrize("name", NAMES)
def test_the_search_network_has_no_affine_parameters_and_normalised_pooling(name: str) -> None:
    for stride in (1, 2):
        module = operation(name, 8, stride, affine=False, normalised_pooling=True).double()
        assert all(parameter.dim() == 4 for parameter in module.parameters())
        norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        assert all(not norm.affine for norm in norms)
        if "pool" in name:
            plain = operation(name, 8, stride)(images())
            torch.testing.assert_close(module(images()), normalised(plain))
