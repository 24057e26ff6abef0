"""The parts of supernets have the outputs and gradients of PyTorch's own operations, for any shape and memory format."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from budgetnas.spaces.supernets.columns import Columns, images, pixels  # noqa: E402
from budgetnas.spaces.supernets.depthwise import depthwise, quarters  # noqa: E402
from budgetnas.spaces.supernets.modules import DepthwiseConv2d, for_search  # noqa: E402
from budgetnas.spaces.supernets.weighted_sum import mixture  # noqa: E402

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
LAST = st.booleans()


def drawn(*shape: int, last: bool = True, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(shape, dtype=dtype)
    return (x.contiguous(memory_format=torch.channels_last) if last and len(shape) == 4 else x).requires_grad_()


def assert_same(mine: Callable[..., Tensor], theirs: Callable[..., Tensor], arguments: Sequence[Tensor]) -> None:
    one, two = mine(*arguments), theirs(*arguments)
    grad = torch.randn_like(two)
    torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)
    gradients = (torch.autograd.grad(output, arguments, grad) for output in (one, two))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def normalised(x: Tensor, scale: Tensor | None = None) -> Tensor:
    return functional.batch_norm(x, None, None, None if scale is None else scale.expand(x.shape[1]), None, training=True)


@settings(max_examples=60)
@given(SHAPES, st.sampled_from([(3, 1, 1), (5, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 2), (5, 1, 2)]), LAST, st.integers(0, 99))
def test_depthwise_convolutions_in_double_precision(
    shape: tuple[int, int, int, int], kind: tuple[int, int, int], last: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    kernel, stride, dilation = kind

    def plain(x: Tensor, kernels: Tensor) -> Tensor:
        return functional.conv2d(x, kernels, None, stride, dilation * (kernel // 2), dilation, len(kernels))

    assert_same(
        lambda x, kernels: depthwise(x, kernels, stride, dilation), plain, [drawn(*shape, last=last), drawn(shape[1], 1, kernel, kernel)]
    )


@pytest.mark.parametrize("side", [32, 9, 8, 4, 3, 1])
@pytest.mark.parametrize("kind", [(3, 1, 1), (5, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 2), (5, 1, 2)])
def test_depthwise_convolutions_in_single_precision_which_use_other_kernels(side: int, kind: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    kernel, stride, dilation = kind
    x, kernels = drawn(2, 16, side, side), drawn(16, 1, kernel, kernel)
    single = [each.detach().float().contiguous(memory_format=torch.channels_last).requires_grad_() for each in (x, kernels)]
    exact = functional.conv2d(x, kernels, None, stride, dilation * (kernel // 2), dilation, 16)
    grad = torch.randn_like(exact)
    found = torch.autograd.grad(depthwise(*single, stride, dilation), single, grad.float())
    for one, two in zip(found, torch.autograd.grad(exact, [x, kernels], grad), strict=True):
        torch.testing.assert_close(one.double(), two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [1, 6, 7])
def test_dilation_with_stride_is_a_plain_convolution_of_every_other_pixel(kernel: int, side: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, kernel, 2, 2 * (kernel // 2), 2, groups=4, bias=False).double()
    holder = nn.Sequential(nn.Conv2d(4, 4, kernel, 2, 2 * (kernel // 2), 2, groups=4, bias=False).double())
    holder[0].weight = plain.weight
    fast = for_search(holder)[0]
    assert isinstance(fast, DepthwiseConv2d) and fast.weight is plain.weight
    assert_same(fast, plain, [drawn(2, 4, side, side)])


def test_quarters_hold_every_pixel_once() -> None:
    x = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4).contiguous(memory_format=torch.channels_last)
    found = quarters(x + 1)
    assert found.shape == (8, 3, 3, 2) and found.is_contiguous(memory_format=torch.channels_last)
    # The pixels of the second image at odd rows and even columns; the padded row is zero.
    assert torch.equal(found[6], functional.pad(x + 1, (0, 0, 0, 1))[1, :, 1::2, ::2])
    assert found.sum() == (x + 1).sum()


@settings(max_examples=60)
@given(SHAPES, st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), LAST, st.integers(0, 99))
def test_the_weighted_sum_of_a_node(shape: tuple[int, int, int, int], maps: int, convolved: int, bare: int, last: bool, seed: int) -> None:
    torch.manual_seed(seed)
    images_, channels, height, width = shape
    if images_ * height * width < 3 or not maps + convolved + bare:
        return
    tensors = [drawn(*shape, last=last) for _ in range(maps)]
    inputs = [drawn(images_, channels + number, height, width, last=last) for number in range(convolved)]
    inputs += [drawn(*shape, last=last) for _ in range(bare)]
    weights = [drawn(channels, channels + number) for number in range(convolved)]
    parts = (maps, maps + len(inputs), maps + len(inputs) + convolved)

    def split(*given: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor], list[Tensor | None], Tensor, Tensor]:
        return given[: parts[0]], given[parts[0] : parts[1]], [*given[parts[1] : parts[2]], *[None] * bare], given[-2], given[-1]

    def mine(*given: Tensor) -> Tensor:
        some_maps, some_inputs, some_weights, map_strengths, strengths = split(*given)
        return mixture(some_maps, map_strengths, some_inputs, some_weights, strengths)

    def theirs(*given: Tensor) -> Tensor:
        some_maps, some_inputs, some_weights, map_strengths, strengths = split(*given)
        total = (map_strengths.sum() + strengths.sum()) * 0 + torch.zeros(shape, dtype=torch.float64)
        for each, strength in zip(some_maps, map_strengths, strict=True):
            total = total + each * strength
        for x, weight, strength in zip(some_inputs, some_weights, strengths, strict=True):
            total = total + strength * normalised(x if weight is None else functional.conv2d(x, weight[..., None, None]))
        return total

    assert_same(mine, theirs, [*tensors, *inputs, *weights, drawn(maps), drawn(convolved + bare)])


@given(st.integers(1, 2000), st.integers(1, 40))
def test_columns_are_summed_and_centred_for_any_number_of_pixels_in_a_row(count: int, channels: int) -> None:
    torch.manual_seed(count)
    x = torch.randn(count, channels, dtype=torch.float64) + 3
    columns = Columns(count, channels)
    torch.testing.assert_close(columns.sums(columns.rows(x)), x.sum(0))
    own = x.clone()
    inverse = columns.centre(columns.rows(own))
    torch.testing.assert_close(own, x - x.mean(0))
    torch.testing.assert_close(inverse, (x.var(0, unbiased=False) + 1e-5).rsqrt())
    assert torch.equal(columns.repeated(x[0]).view(-1, channels)[-1], x[0])


def test_pixels_and_images_are_views_of_channels_last_tensors() -> None:
    x = drawn(2, 3, 4, 5).detach()
    assert pixels(x).data_ptr() == x.data_ptr() and torch.equal(images(pixels(x), x), x)
    assert images(pixels(x), x).is_contiguous(memory_format=torch.channels_last)


def test_frozen_tensors_get_no_gradient_and_the_others_the_same() -> None:
    """Frozen weights save time: the products for their gradients are not computed."""
    torch.manual_seed(0)
    x, weight, strengths, kernels = drawn(2, 3, 6, 6), drawn(3, 3), drawn(1), drawn(3, 1, 5, 5)

    def passed(*frozen: Tensor) -> list[Tensor | None]:
        given = [
            each.detach() if any(each is one for one in frozen) else each.detach().requires_grad_()
            for each in (x, weight, strengths, kernels)
        ]
        middle = depthwise(given[0], given[3])
        mixture([given[0]], given[2], [middle], [given[1]], given[2]).square().sum().backward()
        return [each.grad for each in given]

    everything = passed()
    for frozen in ((weight, kernels), (strengths,), (x,)):
        for found, whole, tensor in zip(passed(*frozen), everything, (x, weight, strengths, kernels), strict=True):
            if any(tensor is one for one in frozen):
                assert found is None
            else:
                torch.testing.assert_close(found, whole)
