"""A space of chains: a stem, `positions` blocks in a row, pooling and a linear layer.

Copy this file to `spaces/`, rename the class, and register it in `spaces/registry.py`. A position
holds nothing or a convolution with a kernel of 1, 3 or 5 pixels, batch normalisation and ReLU. The
text of an architecture is its kernels, 0 for nothing: `3 0 5 1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgetnas.spaces.space import Architecture, Complexity, InvalidArchitecture, check_genes
from budgetnas.spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

KERNELS = (0, 1, 3, 5)  # pixels a side, by gene
CHANNELS = 8


@dataclass(frozen=True)
class MySpace:
    """Chains of `positions` positions. A gene is the number of a kernel; 0 is an empty position."""

    positions: int = 4

    @property
    def name(self) -> str:
        """How studies and commands call it; parameters that are not the defaults are part of it."""
        return "my_space" if self.positions == 4 else f"my_space[positions={self.positions}]"

    @property
    def arity(self) -> tuple[int, ...]:
        """The number of choices of every gene."""
        return (len(KERNELS),) * self.positions

    @property
    def identity(self) -> Architecture:
        """The chain without blocks."""
        return Architecture(self.name, (0,) * self.positions)

    def encode(self, arch: Architecture) -> str:
        """Return the kernels, separated by single blanks."""
        check_genes(self, arch)
        return " ".join(str(KERNELS[gene]) for gene in arch.genes)

    def decode(self, text: str) -> Architecture:
        """Return the architecture of a text. Raises `InvalidArchitecture`, in one line."""
        if (
            not re.fullmatch(r"[0135](?: [0135])*", text.strip())
            or len(text.split()) != self.positions
        ):
            raise InvalidArchitecture(
                f"{text[:40]!r} is not {self.positions} kernels of 0, 1, 3 or 5 with single blanks"
            )
        return Architecture(self.name, tuple(KERNELS.index(int(kernel)) for kernel in text.split()))

    def connected(self, arch: Architecture) -> bool:
        """Return true: an empty position lets its input through."""
        check_genes(self, arch)
        return True

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the one of the identical networks whose empty positions come last."""
        check_genes(self, arch)
        filled = [int(gene) for gene in arch.genes if gene]
        return Architecture(self.name, (*filled, *[0] * (self.positions - len(filled))))

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters, and multiply-adds of convolutions and the linear layer."""
        check_genes(self, arch)
        weights = 9 * task.image_channels * CHANNELS + sum(
            KERNELS[gene] ** 2 * CHANNELS**2 for gene in arch.genes
        )
        normalisations = 1 + sum(gene != 0 for gene in arch.genes)
        linear = CHANNELS * task.classes
        params = weights + normalisations * 2 * CHANNELS + linear + task.classes
        return Complexity(int(params), int(weights * task.image_size**2 + linear))

    def network(self, arch: Architecture, task: Task, *, auxiliary: bool = False) -> nn.Module:
        """Return the untrained network: images (N, channels, side, side) to logits (N, classes)."""
        from torch import nn  # here and not above: a space is listed and decoded without torch

        from budgetnas.spaces.network import check_images

        check_genes(self, arch)

        def block(channels: int, kernel: int) -> list[nn.Module]:
            convolution = nn.Conv2d(channels, CHANNELS, kernel, padding=kernel // 2, bias=False)
            return [convolution, nn.BatchNorm2d(CHANNELS), nn.ReLU()]

        layers = block(task.image_channels, 3)
        for gene in arch.genes:
            layers += block(CHANNELS, KERNELS[gene]) if gene else []
        network = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, task.classes)
        )
        network.register_forward_pre_hook(lambda _, inputs: check_images(inputs[0], task))
        return network
