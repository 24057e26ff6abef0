"""The networks of NAS-Bench-201 in PyTorch: the benchmark's (Dong and Yang, ICLR 2020, section 2), and the small one of digits201.

As in the benchmark, both contain, compute and count the operations on edges that no path uses. The benchmark's latencies were measured on
such networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from budgetnas.spaces.nasbench201 import small_network
from budgetnas.spaces.nasbench201.complexity import CELLS_A_STAGE, CHANNELS
from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS
from budgetnas.spaces.network import check_images
from budgetnas.spaces.task import Task

_NODES = 4
_HALVINGS = len(CHANNELS) - 1


class IndivisibleImages(ValueError):
    """The benchmark's residual blocks cannot halve images of this side twice; the message gives the allowed sides."""


def convolution(kernel: int, width_in: int, width_out: int, stride: int = 1, affine: bool = True) -> nn.Sequential:
    """Return ReLU, convolution, batch normalisation. The ReLU does not work in place, because other edges read its argument too."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(width_in, width_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(width_out, affine=affine),
    )


# From (channels, affine) to the module on an edge, by the name of its operation; `none` has no module.
_MAKERS: dict[str, Callable[[int, bool], nn.Module]] = {
    "skip_connect": lambda width, affine: nn.Identity(),
    "nor_conv_1x1": lambda width, affine: convolution(1, width, width, affine=affine),
    "nor_conv_3x3": lambda width, affine: convolution(3, width, width, affine=affine),
    "avg_pool_3x3": lambda width, affine: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


def operation(name: str, width: int, affine: bool = True) -> nn.Module:
    """Return an operation other than `none`, with `width` input and output channels."""
    return _MAKERS[name](width, affine)


class Cell(nn.Module):
    """A cell. Node 0 is the input, every later node is the sum of its edges, node 3 is the output. All nodes have the same shape."""

    def __init__(self, genes: Sequence[int], width: int):
        super().__init__()
        names = [OPERATIONS[gene] for gene in genes]
        self.edges = nn.ModuleDict({str(edge): operation(name, width) for edge, name in enumerate(names) if name != "none"})

    def forward(self, x: Tensor) -> Tensor:
        """Return the output node; zeros if no path leads to it."""
        nodes: list[Tensor | None] = [x] + [None] * (_NODES - 1)
        for edge, module in self.edges.items():
            source, target = EDGES[int(edge)]
            value, held = nodes[source], nodes[target]
            # A convolution of a node without input still adds the shift of its normalisation.
            term = module(torch.zeros_like(x) if value is None else value)
            nodes[target] = term if held is None else held + term
        output = nodes[-1]
        return torch.zeros_like(x) if output is None else output


class ResidualBlock(nn.Module):
    """The block between stages: two 3x3 convolutions, the first with stride 2, and a shortcut (2x2 average pooling, 1x1 convolution)."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.body = nn.Sequential(convolution(3, width_in, width_out, stride=2), convolution(3, width_out, width_out))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(width_in, width_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return an output with half the side of `x`."""
        output: Tensor = self.body(x) + self.shortcut(x)
        return output


class Network(nn.Module):
    """A whole network, from images of the task's shape to logits: stem, cells, residual blocks, classifier."""

    def __init__(self, task: Task, features: Sequence[nn.Module], width: int):
        super().__init__()
        self._task = task
        self.features = nn.Sequential(*features, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(width, task.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, shape (N, classes). Raises WrongImages unless the images have the shape of the task's images."""
        check_images(images, self._task)
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


def network(genes: Sequence[int], task: Task) -> Network:
    """Return the untrained network of a cell for a task. Raises IndivisibleImages as `check_side` does."""
    if task == small_network.DIGITS201:
        return Network(task, list(_small_features(genes)), small_network.CHANNELS[-1])
    check_side(task)
    return Network(task, list(_published_features(genes, task)), CHANNELS[-1])


def check_side(task: Task) -> None:
    """Raise IndivisibleImages if the benchmark's residual blocks cannot halve the images of a task twice."""
    if task.image_size % 2**_HALVINGS:
        raise IndivisibleImages(
            f"the side of the images is {task.image_size}; nasbench201 halves it {_HALVINGS} times, so choose a multiple of {2**_HALVINGS}"
        )


def _published_features(genes: Sequence[int], task: Task) -> Iterator[nn.Module]:
    yield nn.Conv2d(task.image_channels, CHANNELS[0], 3, padding=1, bias=False)
    yield nn.BatchNorm2d(CHANNELS[0])
    yield from (Cell(genes, CHANNELS[0]) for _ in range(CELLS_A_STAGE))
    for narrow, wide in pairwise(CHANNELS):
        yield ResidualBlock(narrow, wide)
        yield from (Cell(genes, wide) for _ in range(CELLS_A_STAGE))


def _small_features(genes: Sequence[int]) -> Iterator[nn.Module]:
    """Yield the layers of the network in `small_network.py`, up to the last cell."""
    narrow, wide = small_network.CHANNELS
    yield nn.Conv2d(small_network.DIGITS201.image_channels, narrow, 1, bias=False)
    yield nn.BatchNorm2d(narrow)
    yield Cell(genes, narrow)
    yield nn.AvgPool2d(2)
    yield nn.ReLU(inplace=True)
    yield nn.Conv2d(narrow, wide, 1, bias=False)
    yield nn.BatchNorm2d(wide)
    yield Cell(genes, wide)
