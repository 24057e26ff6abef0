"""The protocols that spaces implement, and the random moves that work in every space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

Floats: TypeAlias = NDArray[np.float64]


class InvalidArchitecture(ValueError):
    """The text, index or genes are not an architecture of the space; the message names the fault and its position."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A point of a product space, `0 <= genes[i] < space.arity[i]`. All spaces use this type."""

    space: str
    genes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Complexity:
    """Exact counts: trained parameters, and multiply-adds of convolutions and linear layers (without bias, normalisation or pooling)."""

    params: int
    macs: int


@runtime_checkable
class Space(Protocol):
    """A set of architectures. Every method that takes an architecture raises InvalidArchitecture if it is not a point of the space."""

    @property
    def name(self) -> str:
        """The name in studies, records and commands. It may carry parameters, such as `rcnet[positions=6]`."""

    @property
    def arity(self) -> tuple[int, ...]:
        """The number of choices of every gene."""

    def encode(self, arch: Architecture) -> str:
        """Return the architecture in its published text form."""

    def decode(self, text: str) -> Architecture:
        """Return the architecture in its text form. The text is parsed, never executed.

        Raises:
            InvalidArchitecture: The text is not an architecture; the message names the fault and its position.
        """

    def connected(self, arch: Architecture) -> bool:
        """Return whether the output depends on the input."""

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the representative of the class of architectures with identical networks that `arch` belongs to."""

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs, without building the network."""

    @property
    def identity(self) -> Architecture | None:
        """The architecture with nothing (the identity) at every position; None if the space has no such architecture."""


@runtime_checkable
class Enumerable(Space, Protocol):
    """A space that is small enough to be listed: every architecture has an index."""

    @property
    def size(self) -> int:
        """The number of architectures."""

    def index(self, arch: Architecture) -> int:
        """Return the published index, 0 to `size - 1`."""

    def at(self, index: int) -> Architecture:
        """Return the architecture with this index. Raises InvalidArchitecture if the index is not 0 to `size - 1`."""


@runtime_checkable
class Buildable(Space, Protocol):
    """A space with networks that can be built and trained. Building needs torch; `isinstance(space, Buildable)` does not."""

    def network(self, arch: Architecture, task: Task, *, auxiliary: bool = False) -> nn.Module:
        """Return the untrained network of an architecture: images (N, channels, side, side) to logits (N, classes).

        A module with the attribute `drop_path` (a probability, at first 0) drops paths with this probability in training. Weights are drawn
        from torch's global generator, which the caller seeds.

        Args:
            arch: The architecture.
            task: The dataset's image shape and number of classes.
            auxiliary: Add the auxiliary head, if the space has one. Then `module.with_auxiliary(images)` returns (logits, auxiliary logits)
                in training.
        """


@dataclass(frozen=True, slots=True)
class SearchedCell:
    """One searched cell of a relaxed space. Its architecture variables have the shape (edges, operations)."""

    name: str
    edges: tuple[tuple[int, int], ...]  # (from node, to node)
    operations: tuple[str, ...]
    never_kept: tuple[str, ...] = ()  # operations that no discrete architecture has, such as `none` in DARTS

    @property
    def choosable(self) -> tuple[int, ...]:
        """The numbers of the operations that a discrete architecture can have."""
        return tuple(number for number, operation in enumerate(self.operations) if operation not in self.never_kept)


@dataclass(frozen=True, slots=True)
class SupernetOptions:
    """How a supernet is built.

    Args:
        channels: Initial channels of the search network; by default the space's own number for searching.
        cells: Cells of the search network (nasbench201: per stage); by default the space's own number for searching.
        partial: k sends the first of every k channels through the operations; the others bypass them (PC-DARTS).
        edge_weights: Train a weight per edge besides the alphas, normalised over the incoming edges of a node (PC-DARTS).
        shared: Edges that leave the same node share the weights of equal operations (DCA-NAS, equation 5).
        bottleneck: r lets operations work on 1 / r of the channels, between 1x1 convolutions (DCA-NAS).
        derived: Two cells carry architecture variables; the others hold only the strongest operations (DCA-NAS).
        layout: Order of computation, one of those in `supernets/arithmetic.py`; `auto` chooses by device.
        recompute: Save memory and lose time: compute the activations again in the backward pass.
    """

    channels: int | None = None
    cells: int | None = None
    partial: int = 1
    edge_weights: bool = False
    shared: bool = False
    bottleneck: int = 1
    derived: bool = False
    layout: str = "auto"
    recompute: bool = False


class Supernet(Protocol):
    """A `torch.nn.Module` in which every searched edge is a weighted sum of all its operations.

    Batch normalisation in the cells uses the statistics of the batch and has no affine parameters (DARTS, A.1.1).
    """

    def __call__(self, images: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        """Return logits, shape (N, classes).

        Args:
            images: Shape (N, channels, side, side).
            strengths: The weight of every operation, one tensor of shape (edges, operations) per searched cell.
        """

    def derive(self, arch: Architecture) -> None:
        """Set the operations of the derived cells to those of `arch` and keep all weights. Only with `SupernetOptions.derived`."""


@runtime_checkable
class Relaxable(Buildable, Protocol):
    """A space with a continuous relaxation: every edge is a mixture of operations.

    `strengths` are the weights of the operations, one array of shape (edges, operations) per searched cell.
    """

    @property
    def searched(self) -> tuple[SearchedCell, ...]:
        """The cells that carry architecture variables."""

    def strongest(self, strengths: Sequence[Floats]) -> Architecture:
        """Return the discrete architecture: the strongest edges and operations by the rule of the space. Ties go to the lowest number."""

    def kept_edges(self, strengths: Sequence[Floats]) -> list[NDArray[np.bool_]]:
        """Return which edges `strongest(strengths)` has, one array of shape (edges,) per searched cell."""

    def one_hot(self, arch: Architecture) -> list[Floats]:
        """Return strengths of 1 for the operations of `arch` and 0 for all others, so that `strongest` returns `arch`.

        An edge that `arch` does not have is a row of zeros.
        """

    def edge_costs(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> list[Floats]:
        """Return the cost that each operation adds on each edge, summed over all cells of a kind, shape (edges, operations) each.

        The costs are those of the evaluation network, in which normalisations have parameters.

        Args:
            resource: `params`, `macs` or `cycles`, if it is a sum over edges in this space.
            task: The dataset's image shape and number of classes.
            channels: Initial channels of the network; by default those of the evaluation network.
            cells: Cells of the network; by default those of the evaluation network.

        Raises:
            ValueError: The resource is not a sum over edges here; the message is written for the user.
        """

    def fixed_cost(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> float:
        """Return the cost of everything but the searched operations. It and the edge costs of `arch` add up to the exact cost of `arch`."""

    def supernet(self, task: Task, options: SupernetOptions) -> Supernet:
        """Return an untrained supernet, with weights drawn from torch's global generator. Needs torch."""


@runtime_checkable
class CostedOnDevices(Space, Protocol):
    """A space with costs on devices that are sums over the parts of an architecture, not rows of a table of architectures."""

    def devices(self, task: Task) -> tuple[str, ...]:
        """Return the devices with costs that are known on this machine."""

    def device_cost(self, arch: Architecture, task: Task, device: str) -> Mapping[str, float]:
        """Return `latency_ms`, `energy_mj` or both; NaN means 'not supported'.

        Raises:
            ValueError: The costs are not known on this machine; the message is written for the user.
        """


@runtime_checkable
class CostedElements(Space, Protocol):
    """A space in which a value at a position has a cost that does not depend on the other positions."""

    def element_cost(self, position: int, value: int, task: Task, device: str | None = None) -> Mapping[str, float]:
        """Return c(v), the cost of `value` alone at `position`, by resource, in the unit of the resource's name."""


@runtime_checkable
class HasCheapest(Space, Protocol):
    """A space that is too large to be listed, but can compute its cheapest architecture."""

    def cheapest(self, resource: str, task: Task, device: str | None = None) -> Architecture:
        """Return an architecture with the lowest known cost in a resource."""


@runtime_checkable
class Described(Space, Protocol):
    """A space that knows more figures of an architecture than its complexity."""

    def figures(self, arch: Architecture, task: Task) -> Mapping[str, float]:
        """Return exact figures by name, such as `params_with_auxiliary` or `cycles`."""


@runtime_checkable
class Published(Space, Protocol):
    """A space with architectures that papers have published under a name."""

    @property
    def published(self) -> Mapping[str, Architecture]:
        """The published architectures, by their names in lower case."""


@runtime_checkable
class Tabled(Enumerable, Protocol):
    """A space with tables of accuracies for some datasets, on this machine or elsewhere."""

    @property
    def tabled(self) -> tuple[str, ...]:
        """The datasets with a table."""


@runtime_checkable
class CountedInPaper(Space, Protocol):
    """A space that counts the CPU cycles of cells as the paper of DEff-ARTS does, besides those of the whole network.

    The paper assumes representations of one fixed size.
    """

    def paper_cycles(self, arch: Architecture) -> int:
        """Return the compute cost of the cells [cycles], counted as in the paper."""


def check_genes(space: Space, arch: Architecture) -> None:
    """Raise InvalidArchitecture unless `arch` is a point of `space`."""
    if not isinstance(arch, Architecture):
        raise InvalidArchitecture(f"{arch!r} is not an Architecture; use space.decode, space.at or Architecture(space.name, genes)")
    if arch.space != space.name:
        raise InvalidArchitecture(f"the architecture belongs to the space '{arch.space}'; expected one of '{space.name}'")
    if not isinstance(arch.genes, tuple):
        raise InvalidArchitecture(f"the genes are a {type(arch.genes).__name__}; an Architecture needs a tuple of whole numbers")
    if len(arch.genes) != len(space.arity):
        raise InvalidArchitecture(f"{len(arch.genes)} genes given; '{space.name}' has {len(space.arity)}")
    for position, (gene, arity) in enumerate(zip(arch.genes, space.arity, strict=True)):
        if gene not in range(arity):
            raise InvalidArchitecture(f"gene {position} is {gene!r}; '{space.name}' allows 0 to {arity - 1} there")


def sample(space: Space, rng: np.random.Generator) -> Architecture:
    """Return an architecture drawn uniformly from the whole space, including disconnected ones."""
    uniforms = rng.random(len(space.arity)).tolist()
    return Architecture(space.name, tuple([int(u * a) for u, a in zip(uniforms, space.arity, strict=True)]))


def mutate(space: Space, arch: Architecture, rng: np.random.Generator) -> Architecture:
    """Return `arch` with one gene changed: both the gene (of those with more than one value) and its new value are drawn uniformly."""
    position, shift = rng.random(2).tolist()
    free = [i for i, a in enumerate(space.arity) if a > 1]
    if not free:
        raise InvalidArchitecture(f"'{space.name}' has a single architecture; there is nothing to mutate")
    gene = free[int(position * len(free))]
    arity = space.arity[gene]
    value = (arch.genes[gene] + 1 + int(shift * (arity - 1))) % arity
    return Architecture(space.name, (*arch.genes[:gene], value, *arch.genes[gene + 1 :]))


def neighbours(space: Space, arch: Architecture) -> Iterator[Architecture]:
    """Yield every architecture that differs from `arch` in exactly one gene, ordered by gene, then by value."""
    for gene, arity in enumerate(space.arity):
        for value in range(arity):
            if value != arch.genes[gene]:
                yield Architecture(space.name, (*arch.genes[:gene], value, *arch.genes[gene + 1 :]))


def crossover(space: Space, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
    """Return a child that takes each gene from the first or the second parent with probability 1/2 (uniform crossover)."""
    coins = rng.random(len(space.arity)).tolist()
    return Architecture(space.name, tuple([a if u < 0.5 else b for a, b, u in zip(first.genes, second.genes, coins, strict=True)]))
