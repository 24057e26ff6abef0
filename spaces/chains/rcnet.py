"""RCNet's chains (Xiong, Mehta and Singh, "Resource Constrained Neural Network Architecture Search", ICCV 2019, section 4.1).

A network: 3x3 stem, a fixed block (no expansion, stride 1), six stages of positions, a 1x1 convolution, average pooling, linear layer.
A position holds one of six block types or nothing. Nothing is the identity: the k-th filled block reads the (k-1)-th. So a stage's
stride and its change of channels belong to its first filled position. Where the paper says no more:

- A stage with no block keeps its stride, by average pooling without parameters, and leaves the channels as they are; the next filled block
  brings them to its own stage's. Otherwise an almost empty chain would compute on large images throughout.
- Images of at most 64 pixels a side have the strides for CIFAR, larger ones those for ImageNet.
- Fewer positions are fewer a stage. Narrower networks have every number of channels scaled, to the nearest multiple of 4 and 4 at least,
  which the groups of all block types divide.
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
ACTIVATIONS = ("relu6", "relu")  # the paper's, its release's
# Below 13 per cent a stage of stride 1 might have the channels of the stage before it, and one network two chains.
_WIDTHS = range(13, 201)
_STAGES = len(STAGE_CHANNELS)
_RCNET_B = "5 3 5 1 0 0 5 2 5 3 3 5 5 5 3 5 5 6 5 1 5 5 4 5 5 4 5 5 4 5 0 5 0 0 0 0"
_LEGEND = "0 is empty, 1 to 6 are block types, as in '5 3 0 1 ...'"


class InvalidChain(ValueError):
    """A parameter of the space that it does not take; the message says which values it does."""


@dataclass(frozen=True)
class RCNet:
    """Chains of `positions` positions with six block types or nothing each. A gene is a position's code, 0 for nothing.

    positions: 6, 12, ... 36, a sixth of them a stage (published: 36).
    width: channels in per cent of the published ones, 13 to 200.
    activation: `relu6`, which the paper says, or `relu`, which its release has.
    """

    positions: int = POSITIONS
    width: int = 100
    activation: str = ACTIVATIONS[0]

    def __post_init__(self) -> None:
        if self.positions not in range(_STAGES, POSITIONS + 1, _STAGES):
            raise InvalidChain(
                f"positions is {self.positions}; choose 6, 12, 18, 24, 30 or 36, a sixth of which stands in each of six stages"
            )
        if self.width not in _WIDTHS:
            raise InvalidChain(
                f"width is {self.width}; choose {_WIDTHS[0]} to {_WIDTHS[-1]}, the channels in per cent of the published ones"
            )
        if self.activation not in ACTIVATIONS:
            raise InvalidChain(f"activation is '{self.activation}'; choose one of {', '.join(ACTIVATIONS)}")

    @cached_property
    def name(self) -> str:
        """`rcnet`, with the parameters that are not the published ones."""
        given = sorted([f"{key.name}={value}" for key in fields(self) if (value := getattr(self, key.name)) != key.default])
        return f"rcnet[{','.join(given)}]" if given else "rcnet"

    @cached_property
    def arity(self) -> tuple[int, ...]:
        """Seven choices a position."""
        return (1 + len(TYPES),) * self.positions

    @cached_property
    def identity(self) -> Architecture:
        """The chain with every position empty, from which RCAS starts."""
        return Architecture(self.name, (0,) * self.positions)

    @cached_property
    def published(self) -> Mapping[str, Architecture]:
        """The paper's network of 4.7 M parameters for ImageNet (table 3); none where there are fewer positions."""
        return {"rcnet_b": self.decode(_RCNET_B)} if self.positions == POSITIONS else {}

    def encode(self, arch: Architecture) -> str:
        """Return the codes of all positions, separated by blanks."""
        return encode(self, arch)

    def decode(self, text: str) -> Architecture:
        """Return the chain that codes name; `InvalidArchitecture` says what is wrong and where."""
        return decode(self, text, _LEGEND)

    def connected(self, arch: Architecture) -> bool:
        """Return true: an empty position lets its input through."""
        check_genes(self, arch)
        return True

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the chain with each stage's blocks in its first positions: where a stage is empty makes no difference."""
        check_genes(self, arch)
        per_stage = self.positions // _STAGES
        genes: list[int] = []
        for codes in self._by_stage(arch.genes):
            filled = [int(code) for code in codes if code]
            genes += [*filled, *[0] * (per_stage - len(filled))]
        return Architecture(self.name, tuple(genes))

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs of the task's network."""
        check_genes(self, arch)
        costs = costs_of(self.width, task)
        params, macs = costs.start
        channels = 0
        for stage, codes in enumerate(self._by_stage(arch.genes), start=1):
            for code in codes:
                if code:
                    # The first block of a stage reads what an earlier stage left, the others what their own has.
                    more_params, more_macs = costs.blocks[stage - 1][channels][code]
                    params, macs, channels = params + more_params, macs + more_macs, stage
        end_params, end_macs = costs.ends[channels]
        return Complexity(params + end_params, macs + end_macs)

    def element_cost(self, position: int, value: int, task: Task, device: str | None = None) -> Mapping[str, float]:
        """Return c(v), what a block costs alone at its own position, as in a chain with every position filled: `params` and `macs`.

        It depends on no other position, so it is additive, which theorem 1 of the paper asks for; the true cost of a chain is
        `complexity`. Code 0 costs nothing, and a device adds nothing, since none was measured. `InvalidArchitecture` for a position or
        a value that the space has not.
        """
        check_element(self, position, value)
        stage, within = divmod(position, self.positions // _STAGES)
        params, macs = costs_of(self.width, task).blocks[stage][stage + 1 if within else stage][value]
        return {"params": float(params), "macs": float(macs)}

    def cheapest(self, resource: str, task: Task, device: str | None = None) -> Architecture:
        """Return the empty chain: every block adds to what is known of a chain, and none makes the last convolution read less."""
        return self.identity

    def parts(self, arch: Architecture, task: Task) -> Iterator[Part]:
        """Yield the parts of the task's network, stem to last convolution."""
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
        """Return the task's untrained network; it has no auxiliary head. Needs torch."""
        from budgetnas.spaces.chains.network import network

        return network(self.parts(arch, task), Skeleton.of(self.width, task).head_channels, task, self.activation)

    def _by_stage(self, genes: Sequence[int]) -> list[Sequence[int]]:
        per_stage = self.positions // _STAGES
        return [genes[start : start + per_stage] for start in range(0, self.positions, per_stage)]
