"""The words every space shares, and the moves on them, written once for every space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from budgetnas.spaces.task import Task


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
