"""The networks of chains equal plain PyTorch, and their counted complexity equals the closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from budgetnas.spaces.chains import FBNet, RCNet  # noqa: E402
from budgetnas.spaces.chains.complexity import Block, BlockType  # noqa: E402
from budgetnas.spaces.chains.network import ChannelShuffle, InvertedResidual  # noqa: E402
from budgetnas.spaces.network import WrongImages  # noqa: E402
from budgetnas.spaces.space import Architecture, Complexity, InvalidArchitecture, sample  # noqa: E402
from budgetnas.spaces.tables.operators import Layer  # noqa: E402
from budgetnas.spaces.task import TASKS, Task  # noqa: E402

pytestmark = pytest.mark.slow

DIGITS = TASKS["digits"]
SMALL = RCNet(positions=6, width=25)


def images(task: Task, count: int = 3) -> Tensor:
    return torch.rand(count, task.image_channels, task.image_size, task.image_size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("space", [SMALL, RCNet(positions=12, width=13), RCNet(positions=18, width=140)], ids=lambda s: s.name)
def test_the_complexity_of_smaller_and_wider_chains_equals_a_count(space: RCNet, counted: Callable[..., Complexity]) -> None:
    rng = np.random.default_rng(2)
    for task in (DIGITS, Task("odd", 29, 2, 7), TASKS["imagenet"]):
        for arch in (space.identity, *(sample(space, rng) for _ in range(2))):
            with torch.device("meta"):
                network = space.network(arch, task)
            assert counted(network, task) == space.complexity(arch, task)


def test_the_complexity_of_the_papers_network_equals_a_count(counted: Callable[..., Complexity]) -> None:
    space, task = RCNet(), TASKS["imagenet"]
    with torch.device("meta"):
        network = space.network(space.published["rcnet_b"], task)
    assert counted(network, task) == Complexity(4_749_024, 472_448_320)


def test_a_shuffle_spreads_the_channels_of_every_group() -> None:
    channels = torch.arange(12.0).reshape(1, 12, 1, 1).expand(2, 12, 3, 3)
    assert ChannelShuffle(3)(channels)[1, :, 2, 2].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def shuffled(x: Tensor, groups: int) -> Tensor:
    return torch.cat([x[:, first :: x.shape[1] // groups] for first in range(x.shape[1] // groups)], dim=1)


def normal(x: Tensor, normalisation: nn.BatchNorm2d) -> Tensor:
    return F.batch_norm(x, None, None, normalisation.weight, normalisation.bias, training=True)


@pytest.mark.parametrize("early", [True, False], ids=["before depthwise", "after depthwise"])
@pytest.mark.parametrize(("channels_out", "stride"), [(8, 1), (12, 1), (12, 2), (8, 2)])
@pytest.mark.parametrize("projected", [True, False])
def test_a_block_equals_plain_pytorch(early: bool, channels_out: int, stride: int, projected: bool) -> None:
    kind = BlockType(5, 3, 2, 4, shuffle="before depthwise" if early else "after depthwise", projected=projected)
    torch.manual_seed(0)
    block = InvertedResidual(Block(kind, Layer(7, 8, channels_out, stride)), nn.ReLU6)
    x = 20 * torch.randn(2, 8, 7, 7)
    expand, depthwise, project = (part for part in block.body if isinstance(part, nn.Conv2d))
    first, second, third = (part for part in block.body if isinstance(part, nn.BatchNorm2d))
    for normalisation in (first, second, third):
        nn.init.normal_(normalisation.weight, 5.0)
    y = normal(F.conv2d(x, expand.weight, groups=2), first).clamp(0, 6)
    y = shuffled(y, 2) if early else y
    y = normal(F.conv2d(y, depthwise.weight, stride=stride, padding=2, groups=24), second).clamp(0, 6)
    y = y if early else shuffled(y, 4)
    y = normal(F.conv2d(y, project.weight, groups=4), third)
    if stride == 1 and channels_out == 8:
        y = y + x
    elif stride == 1 and projected:
        assert isinstance(block.shortcut, nn.Sequential)
        y = y + normal(F.conv2d(x, block.shortcut[0].weight), block.shortcut[1])
    torch.testing.assert_close(block(x.clone()), y)


def test_an_empty_stage_averages_pixels_and_keeps_the_channels() -> None:
    network = SMALL.network(SMALL.identity, Task("odd", 7, 1, 10))
    pools = [part for part in network.features if isinstance(part, nn.AvgPool2d)]
    x = torch.rand(1, 2, 5, 5)
    pooled = pools[0](x)
    assert pooled.shape == (1, 2, 3, 3)
    torch.testing.assert_close(pooled[..., 0, 0], x[..., :2, :2].mean((2, 3)))
    torch.testing.assert_close(pooled[..., 2, 2], x[..., 4, 4])
    torch.testing.assert_close(pools[0](x[..., :1, :1]), x[..., :1, :1])
    assert network.features[-1][0].in_channels == 4  # a quarter of the fixed block's 16


@pytest.mark.parametrize(("activation", "kind"), [("relu6", nn.ReLU6), ("relu", nn.ReLU)])
def test_the_activation_is_an_option(activation: str, kind: type[nn.Module]) -> None:
    space = RCNet(positions=6, activation=activation)
    network = space.network(space.decode("1 2 3 4 5 6"), DIGITS)
    found = {type(module) for module in network.modules() if isinstance(module, nn.ReLU | nn.ReLU6)}
    assert found == {kind}


def test_a_chain_and_its_canonical_form_give_the_same_output() -> None:
    space = RCNet(positions=12, width=25)
    arch = space.decode("0 5 0 0 3 1 0 6 0 0 0 4")
    outputs = []
    for one in (arch, space.canonical(arch)):
        torch.manual_seed(7)
        outputs.append(space.network(one, DIGITS)(images(DIGITS)))
    assert one != arch and torch.equal(*outputs)


def test_fbnets_skip_is_the_identity_or_a_strided_1x1_convolution() -> None:
    space = FBNet()
    features = space.network(space.identity, TASKS["cifar100"]).features
    convolutions = [part[0] for part in features]
    assert [(c.kernel_size[0], c.stride[0], c.out_channels) for c in convolutions[1:-1]] == [
        (1, 1, 24), (1, 2, 32), (1, 2, 64), (1, 1, 112), (1, 2, 184), (1, 1, 352),
    ]  # fmt: skip
    assert all(type(part[2]) is nn.ReLU for part in features)


@pytest.mark.parametrize("space", [SMALL, FBNet()], ids=lambda space: space.name)
def test_a_network_returns_logits_and_refuses_images_of_another_shape(space: RCNet | FBNet) -> None:
    for name in ("digits", "fashion-mnist"):
        task = TASKS[name]
        network = space.network(sample(space, np.random.default_rng(6)), task)
        assert network(images(task)).shape == (3, task.classes)
        with pytest.raises(WrongImages, match=f"a network for {name} takes"):
            network(torch.rand(3, 3, task.image_size, task.image_size))


@pytest.mark.parametrize("space", [SMALL, FBNet()], ids=lambda space: space.name)
def test_an_invalid_chain_is_not_built(space: RCNet | FBNet) -> None:
    with pytest.raises(InvalidArchitecture):
        space.network(Architecture(space.name, (9,) * len(space.arity)), DIGITS)
