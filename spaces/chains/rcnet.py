"""RCNet's chains (Xiong, Mehta and Singh, "Resource Constrained Neural Network Architecture Search", ICCV 2019, section 4.1).

A network is a 3x3 stem, a fixed block (no expansion, stride 1), six stages of positions, a 1x1 convolution, average pooling and a linear
layer. A position holds one of six block types or is empty. An empty position is the identity: the k-th block reads the output of the
(k-1)-th. The first block of a stage has the stride of the stage and changes the number of channels.

The paper leaves some points open. This implementation decides them as follows:

- An empty stage keeps its stride, by average pooling without parameters, and keeps its number of input channels; the next block changes the
  channels to those of its own stage. Otherwise an almost empty chain would compute on large images in all its stages.
- Images of at most 64 pixels a side have the strides for CIFAR, larger images those for ImageNet.
- Fewer positions means fewer positions in every stage. A narrower or wider network has all numbers of channels scaled to the nearest
  multiple of 4, at least 4; the groups of all block types divide it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

from budgetnas.spaces.chains.codes import check_element, decode, encode
from budgetnas.spaces.chains.complexity import Part, Pooling
from budgetnas.spaces.chains.rcnet_skeleton import STAGE_CHANNELS, TYPES, Skeleton, costs_of
from budgetnas.spaces.space import Architecture, Complexity, check_genes
from budgetnas.spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

POSITIONS = 36
ACTIVATIONS = ("relu6", "relu")  # in the paper; in its released code
# Below 13 per cent a stage of stride 1 might have as many channels as the stage before it; then two chains would be the same network.
_WIDTHS = range(13, 201)
_STAGES = len(STAGE_CHANNELS)
_RCNET_B = "5 3 5 1 0 0 5 2 5 3 3 5 5 5 3 5 5 6 5 1 5 5 4 5 5 4 5 5 4 5 0 5 0 0 0 0"
_LEGEND = "0 is empty, 1 to 6 are block types, as in '5 3 0 1 ...'"


class InvalidChain(ValueError):
    """The space does not take this value of a parameter; the message lists the allowed values."""


@dataclass(frozen=True)
class RCNet:
    """Chains of `positions` positions, each one of six block types or empty. A gene is the code of a position, 0 if it is empty.

    Args:
        positions: 6, 12, ... or 36, a sixth of them in each stage (published: 36).
        width: Channels in per cent of the published ones, 13 to 200.
        activation: `relu6`, as in the paper, or `relu`, as in its released code.

    Raises:
        InvalidChain: A parameter has another value; the message lists the allowed values.
    """

    positions: int = POSITIONS
    width: int = 100
    activation: str = ACTIVATIONS[0]

    def __post_init__(self) -> None:
        if self.positions not in range(_STAGES, POSITIONS + 1, _STAGES):
            raise InvalidChain(f"positions is {self.positions}; choose 6, 12, 18, 24, 30 or 36, the same number for each of six stages")
        if self.width not in _WIDTHS:
            raise InvalidChain(f"width is {self.width}; choose {_WIDTHS[0]} to {_WIDTHS[-1]}, in per cent of the published channels")
        if self.activation not in ACTIVATIONS:
            raise InvalidChain(f"activation is '{self.activation}'; choose one of {', '.join(ACTIVATIONS)}")

    @cached_property
    def name(self) -> str:
        """`rcnet`, with those parameters in brackets that differ from the published ones."""
        given = sorted([f"{key.name}={value}" for key in fields(self) if (value := getattr(self, key.name)) != key.default])
        return f"rcnet[{','.join(given)}]" if given else "rcnet"

    @cached_property
    def arity(self) -> tuple[int, ...]:
        """Seven choices at every position."""
        return (1 + len(TYPES),) * self.positions

    @cached_property
    def identity(self) -> Architecture:
        """The chain with all positions empty, from which RCAS starts."""
        return Architecture(self.name, (0,) * self.positions)

    @cached_property
    def published(self) -> Mapping[str, Architecture]:
        """The paper's network of 4.7 M parameters for ImageNet (table 3); nothing if there are fewer than 36 positions."""
        return {"rcnet_b": self.decode(_RCNET_B)} if self.positions == POSITIONS else {}

    def encode(self, arch: Architecture) -> str:
        """Return the codes of all positions, separated by spaces."""
        return encode(self, arch)

    def decode(self, text: str) -> Architecture:
        """Return the chain with these codes. Raises InvalidArchitecture, which names the fault and its position."""
        return decode(self, text, _LEGEND)

    def connected(self, arch: Architecture) -> bool:
        """Return True: an empty position passes its input on."""
        check_genes(self, arch)
        return True

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the chain with the blocks of each stage moved to its first positions. The network stays the same."""
        check_genes(self, arch)
        per_stage = self.positions // _STAGES
        genes: list[int] = []
        for codes in self._by_stage(arch.genes):
            filled = [int(code) for code in codes if code]
            genes += [*filled, *[0] * (per_stage - len(filled))]
        return Architecture(self.name, tuple(genes))

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs of the network for a task."""
        check_genes(self, arch)
        costs = costs_of(self.width, task)
        params, macs = costs.start
        channels = 0
        for stage, codes in enumerate(self._by_stage(arch.genes), start=1):
            for code in codes:
                if code:
                    # The first block of a stage reads the channels of an earlier stage, the others those of their own stage.
                    more_params, more_macs = costs.blocks[stage - 1][channels][code]
                    params, macs, channels = params + more_params, macs + more_macs, stage
        end_params, end_macs = costs.ends[channels]
        return Complexity(params + end_params, macs + end_macs)

    def element_cost(self, position: int, value: int, task: Task, device: str | None = None) -> Mapping[str, float]:
        """Return c(v), the cost of a block alone at its position, as in a chain with every position filled: `params` and `macs`.

        It does not depend on other positions, so it is additive, as theorem 1 of the paper requires. The true cost of a chain is
        `complexity`. Code 0 costs nothing. `device` is ignored, since no device was measured.

        Raises:
            InvalidArchitecture: The space does not have this position, or this value at it.
        """
        check_element(self, position, value)
        stage, within = divmod(position, self.positions // _STAGES)
        params, macs = costs_of(self.width, task).blocks[stage][stage + 1 if within else stage][value]
        return {"params": float(params), "macs": float(macs)}

    def cheapest(self, resource: str, task: Task, device: str | None = None) -> Architecture:
        """Return the empty chain: every block adds to each known cost, and no block lowers the cost of the last convolution."""
        return self.identity

    def parts(self, arch: Architecture, task: Task) -> Iterator[Part]:
        """Yield the parts of the network for a task, from the stem to the last convolution."""
        check_genes(self, arch)
        skeleton = Skeleton.of(self.width, task)
        yield from skeleton.start()
        channels = 0
        for stage, codes in enumerate(self._by_stage(arch.genes)):
            filled = [code for code in codes if code]
            for code in filled:
                yield skeleton.block(stage, channels, code)
                channels = stage + 1
            if not filled and skeleton.strides[stage] > 1:
                yield Pooling(skeleton.strides[stage])
        yield skeleton.end(channels)

    def network(self, arch: Architecture, task: Task, *, auxiliary: bool = False) -> nn.Module:
        """Return the untrained network for a task; it has no auxiliary head. Needs torch."""
        from budgetnas.spaces.chains.network import network

        return network(self.parts(arch, task), Skeleton.of(self.width, task).head_channels, task, self.activation)

    def _by_stage(self, genes: Sequence[int]) -> list[Sequence[int]]:
        per_stage = self.positions // _STAGES
        return [genes[start : start + per_stage] for start in range(0, self.positions, per_stage)]
