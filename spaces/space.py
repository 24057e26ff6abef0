"""The words every space shares, and the moves on them, written once for every space."""

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
    """A text, index or list of genes that is no architecture of the space; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A point of a product space: `genes[i] < space.arity[i]`. The same type for every space."""

    space: str
    genes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Complexity:
    """Exact trained parameters and multiply-adds (convolutions and linear layers; no bias, normalisation or pooling)."""

    params: int
    macs: int


@runtime_checkable
class Space(Protocol):
    """What can be built. `name` may carry parameters, such as `rcnet[positions=6]`."""

    @property
    def name(self) -> str:
        """Name by which studies, records and commands refer to the space."""

    @property
    def arity(self) -> tuple[int, ...]:
        """Number of choices of every gene."""

    def encode(self, arch: Architecture) -> str:
        """Return the published text form; `InvalidArchitecture` for what is no point of the space, here and in the questions below."""

    def decode(self, text: str) -> Architecture:
        """Return the architecture that a text names; `InvalidArchitecture` says what is wrong and where. Nothing is evaluated."""

    def connected(self, arch: Architecture) -> bool:
        """Return whether the output depends on the input at all."""

    def canonical(self, arch: Architecture) -> Architecture:
        """Return one fixed member of the class of networks identical to this one."""

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs without building the network."""

    @property
    def identity(self) -> Architecture | None:
        """The architecture in which every position is left unfilled (the identity), or None where a space has no such notion."""


@runtime_checkable
class Enumerable(Space, Protocol):
    """A space small enough to be listed: every architecture has an index."""

    @property
    def size(self) -> int:
        """Number of architectures."""

    def index(self, arch: Architecture) -> int:
        """Return the published index, 0 to `size - 1`; `InvalidArchitecture` for what is no point of the space."""

    def at(self, index: int) -> Architecture:
        """Return the architecture with that index; `InvalidArchitecture` beyond the range."""


@runtime_checkable
class Buildable(Space, Protocol):
    """A space whose networks can be built and trained. Building needs torch; asking whether a space is one does not."""

    def network(self, arch: Architecture, task: Task, *, auxiliary: bool = False) -> nn.Module:
        """Return the untrained network of an architecture: images (N, channels, side, side) to logits (N, classes).

        With `auxiliary`, where the space has such a head, `module.with_auxiliary(images)` gives (logits, auxiliary logits) in training.
        A module that has `drop_path` (a probability, 0 at first) drops paths with it in training. Weights are drawn from torch's global
        generator, which the caller seeds.
        """


@dataclass(frozen=True, slots=True)
class SearchedCell:
    """One cell of a relaxed space: its architecture variables have the shape (edges, operations)."""

    name: str
    edges: tuple[tuple[int, int], ...]  # (from node, to node)
    operations: tuple[str, ...]
    never_kept: tuple[str, ...] = ()  # of the operations, those that no discrete architecture has: DARTS's `none`

    @property
    def choosable(self) -> tuple[int, ...]:
        """The numbers of the operations that a discrete architecture may have."""
        return tuple(number for number, operation in enumerate(self.operations) if operation not in self.never_kept)


@dataclass(frozen=True, slots=True)
class SupernetOptions:
    """How a supernet is built. Sizes left out are the space's own for searching.

    channels, cells: of the search network (nasbench201 counts cells a stage).
    partial: one in so many channels goes through the operations, the others go past them (PC-DARTS).
    edge_weights: a trained weight an edge beside the alphas, normalised over a node's incoming edges (PC-DARTS).
    shared: the edges that leave a node share the weights of equal operations (DCA-NAS, equation 5).
    bottleneck: operations work on one in so many channels, between 1x1 convolutions (DCA-NAS).
    derived: two cells carry architecture variables; the others hold the strongest operations only (DCA-NAS).
    layout: `auto` chooses by device; the others are named where the supernet is.
    recompute: trade time for memory, activations being computed again in the backward pass.
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
    """A network in which every searched edge is a weighted sum of all its operations; a `torch.nn.Module`.

    Batch normalisation inside uses the batch's own statistics and has no affine parameters (DARTS, A.1.1).
    """

    def __call__(self, images: Tensor, strengths: Sequence[Tensor]) -> Tensor:
        """Return logits (N, classes), given the weight of every operation, shape (edges, operations), one tensor a searched cell."""

    def derive(self, arch: Architecture) -> None:
        """Set the operations of the derived cells to those of `arch`; their weights are kept. Only with `SupernetOptions.derived`."""


@runtime_checkable
class Relaxable(Buildable, Protocol):
    """A space with a continuous relaxation: mixtures of operations on edges. `strengths` are one array a searched cell."""

    @property
    def searched(self) -> tuple[SearchedCell, ...]:
        """The cells that carry architecture variables."""

    def strongest(self, strengths: Sequence[Floats]) -> Architecture:
        """Return the discrete architecture: by the space's rule, the strongest edges and operations. Ties go to the lowest number."""

    def kept_edges(self, strengths: Sequence[Floats]) -> list[NDArray[np.bool_]]:
        """Return which edges that architecture has, shape (edges,), one array a searched cell."""

    def one_hot(self, arch: Architecture) -> list[Floats]:
        """Return strengths of 1 and 0 (an edge that `arch` lacks has none), of which `arch` is the strongest."""

    def edge_costs(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> list[Floats]:
        """Return what each operation on each edge adds to a resource, shape (edges, operations), summed over all cells of a kind.

        For the network of the given size, by default the evaluation network's. `params`, `macs` or `cycles`, where it is a sum over edges;
        a `ValueError` for people otherwise. Operations cost what they cost in the evaluation network (their normalisation has parameters).
        """

    def fixed_cost(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> float:
        """Return the resource of everything but the searched operations: fixed + the edge costs of `arch` is its exact cost."""

    def supernet(self, task: Task, options: SupernetOptions) -> Supernet:
        """Return an untrained supernet; weights are drawn from torch's global generator. Needs torch."""


@runtime_checkable
class CostedOnDevices(Space, Protocol):
    """A space whose costs on devices are computed for each architecture (a sum over its parts), not read from a table of architectures."""

    def devices(self, task: Task) -> tuple[str, ...]:
        """Return the devices whose costs are known on this machine."""

    def device_cost(self, arch: Architecture, task: Task, device: str) -> Mapping[str, float]:
        """Return latency_ms, energy_mj or both; NaN is 'not supported'. A `ValueError` for people where the figures are missing."""


@runtime_checkable
class CostedElements(Space, Protocol):
    """A space in which a value at a position has a cost of its own, whatever the other positions hold."""

    def element_cost(self, position: int, value: int, task: Task, device: str | None = None) -> Mapping[str, float]:
        """Return c(v) by resource, in the unit of its name: what the element costs alone at its own position."""


@runtime_checkable
class HasCheapest(Space, Protocol):
    """A space too large to be listed of which the cheapest architectures are known all the same."""

    def cheapest(self, resource: str, task: Task, device: str | None = None) -> Architecture:
        """Return one of the architectures that need the least of a resource that is known of them."""


@runtime_checkable
class Described(Space, Protocol):
    """A space that has more to say of an architecture than its complexity."""

    def figures(self, arch: Architecture, task: Task) -> Mapping[str, float]:
        """Return exact figures by name, such as `params_with_auxiliary` or `cycles`."""


@runtime_checkable
class Published(Space, Protocol):
    """A space of which the literature has named architectures."""

    @property
    def published(self) -> Mapping[str, Architecture]:
        """The architectures by name, in lower case."""


@runtime_checkable
class Tabled(Enumerable, Protocol):
    """A space with tables of accuracies for some datasets, whether on this machine or not."""

    @property
    def tabled(self) -> tuple[str, ...]:
        """The datasets that tables exist for."""


@runtime_checkable
class CountedInPaper(Space, Protocol):
    """A space whose cells DEff-ARTS's paper counts in CPU cycles by fixed representations, beside those of the whole network."""

    def paper_cycles(self, arch: Architecture) -> int:
        """Return the compute cost of the cells as the paper publishes it."""


def check_genes(space: Space, arch: Architecture) -> None:
    """Raise `InvalidArchitecture` unless `arch` is a point of `space`."""
    if not isinstance(arch, Architecture):
        raise InvalidArchitecture(f"{arch!r} is no Architecture; use space.decode, space.at or Architecture(space.name, genes)")
    if arch.space != space.name:
        raise InvalidArchitecture(f"an architecture of the space '{arch.space}' was given where one of '{space.name}' is expected")
    if not isinstance(arch.genes, tuple):
        raise InvalidArchitecture(f"the genes are a {type(arch.genes).__name__}; an Architecture has a tuple of whole numbers")
    if len(arch.genes) != len(space.arity):
        raise InvalidArchitecture(f"{len(arch.genes)} genes given; '{space.name}' has {len(space.arity)}")
    for position, (gene, arity) in enumerate(zip(arch.genes, space.arity, strict=True)):
        if gene not in range(arity):
            raise InvalidArchitecture(f"gene {position} is {gene!r}; '{space.name}' allows 0 to {arity - 1} there")


def sample(space: Space, rng: np.random.Generator) -> Architecture:
    """Return an architecture drawn uniformly from all of the space, disconnected ones included."""
    uniforms = rng.random(len(space.arity)).tolist()
    return Architecture(space.name, tuple([int(u * a) for u, a in zip(uniforms, space.arity, strict=True)]))


def mutate(space: Space, arch: Architecture, rng: np.random.Generator) -> Architecture:
    """Return `arch` with one gene, drawn uniformly among those that have a choice, set to another value, drawn uniformly."""
    position, shift = rng.random(2).tolist()
    free = [i for i, a in enumerate(space.arity) if a > 1]
    if not free:
        raise InvalidArchitecture(f"'{space.name}' has a single architecture; there is nothing to mutate")
    gene = free[int(position * len(free))]
    arity = space.arity[gene]
    value = (arch.genes[gene] + 1 + int(shift * (arity - 1))) % arity
    return Architecture(space.name, (*arch.genes[:gene], value, *arch.genes[gene + 1 :]))


def neighbours(space: Space, arch: Architecture) -> Iterator[Architecture]:
    """Yield every architecture that differs in exactly one gene, by gene, then by value."""
    for gene, arity in enumerate(space.arity):
        for value in range(arity):
            if value != arch.genes[gene]:
                yield Architecture(space.name, (*arch.genes[:gene], value, *arch.genes[gene + 1 :]))


def crossover(space: Space, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
    """Return a child that takes every gene from either parent with probability one half (uniform crossover)."""
    coins = rng.random(len(space.arity)).tolist()
    return Architecture(space.name, tuple([a if u < 0.5 else b for a, b, u in zip(first.genes, second.genes, coins, strict=True)]))
