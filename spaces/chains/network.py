"""The networks of chains in PyTorch, built from the parts in `complexity.py`. Weights have PyTorch's default initialisation."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from budgetnas.spaces.chains.complexity import Block, Convolution, Part
from budgetnas.spaces.network import check_images
from budgetnas.spaces.task import Task

_ACTIVATIONS: dict[str, type[nn.ReLU] | type[nn.ReLU6]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class ChannelShuffle(nn.Module):
    """Reorders channels: first the first channel of every group, then the second of every group, and so on."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Return the reordered channels, so that each new group holds channels of every old group."""
        images, channels, *sides = x.shape
        return x.reshape(images, self.groups, channels // self.groups, *sides).transpose(1, 2).reshape(x.shape)


def _convolution(kernel: int, channels_in: int, channels_out: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution and its batch normalisation."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]


class InvertedResidual(nn.Module):
    """An inverted residual block: expansion, depthwise convolution and projection, with a shortcut."""

    def __init__(self, block: Block, activation: type[nn.ReLU] | type[nn.ReLU6]):
        super().__init__()
        kind, at = block.type, block.at
        hidden = kind.expansion * at.channels_in
        shuffle = [ChannelShuffle(kind.shuffle_groups)] if kind.shuffle_groups > 1 else []
        self.body = nn.Sequential(
            *_convolution(1, at.channels_in, hidden, groups=kind.expansion_groups),
            activation(inplace=True),
            *(shuffle if kind.shuffle == "before depthwise" else []),
            *_convolution(kind.kernel, hidden, hidden, at.stride, groups=hidden),
            activation(inplace=True),
            *(shuffle if kind.shuffle == "after depthwise" else []),
            *_convolution(1, hidden, at.channels_out, groups=kind.projection_groups),
        )
        self.shortcut: nn.Module | None = None
        if block.shortcut == "identity":
            self.shortcut = nn.Identity()
        elif block.shortcut == "projection":
            self.shortcut = nn.Sequential(*_convolution(1, at.channels_in, at.channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the body plus that of the shortcut, if there is one."""
        output: Tensor = self.body(x)
        return output if self.shortcut is None else output + self.shortcut(x)


class Chain(nn.Module):
    """A whole network: features, global average pooling, classifier."""

    def __init__(self, features: nn.Sequential, channels: int, task: Task):
        super().__init__()
        self._task = task
        self.features = features
        self.classifier = nn.Linear(channels, task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, shape (N, classes). Raises WrongImages unless the images have the shape of the task's images."""
        check_images(images, self._task)
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


def network(parts: Iterable[Part], channels: int, task: Task, activation: str) -> Chain:
    """Return the untrained network of the parts, the last of which has `channels` outputs; `activation` is `relu6` or `relu`."""
    return Chain(nn.Sequential(*(_module(part, _ACTIVATIONS[activation]) for part in parts)), channels, task)


def _module(part: Part, activation: type[nn.ReLU] | type[nn.ReLU6]) -> nn.Module:
    if isinstance(part, Block):
        return InvertedResidual(part, activation)
    if isinstance(part, Convolution):
        at = part.at
        return nn.Sequential(*_convolution(part.kernel, at.channels_in, at.channels_out, at.stride), activation(inplace=True))
    # A square cut off at the far edge averages the pixels that it holds, so the output has the side of a strided convolution's output.
    return nn.AvgPool2d(part.stride, ceil_mode=True)
