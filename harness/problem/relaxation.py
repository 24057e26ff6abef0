"""A problem's continuous relaxation: what every differentiable method is written over, on a table and in a supernet alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from budgetnas.spaces.space import Architecture, SearchedCell

if TYPE_CHECKING:
    from torch import Tensor


class Stateful(Protocol):
    """What a method keeps between steps: a torch optimiser, or any object of its own with these two. Plain values and tensors only."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take up a state that `state_dict` gave."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a search: its number from 0, how many there are, and the epoch that it belongs to (on a table an epoch is a step)."""

    index: int
    total: int
    epoch: int
    epochs: int


class Relaxation(Protocol):
    """A problem's continuous relaxation, the same for a table and for a supernet: a differentiable method is written once over it.

    `cells` are the searched cells; tensors come as lists with one a cell, of shape (edges, operations) unless said otherwise.
    `not_modelled` names the options asked for that this relaxation cannot model (a table has no weights to share).
    """

    cells: tuple[SearchedCell, ...]
    alphas: list[Tensor]
    not_modelled: tuple[str, ...]

    def parameters(self) -> list[Tensor]:
        """Return what the method's optimiser trains: the alphas, and edge weights if the options have them."""

    def strengths(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return every operation's weight: softmax(alphas) over the operations of an edge, times the edge's normalised weight if any."""

    def steps(self, state: Sequence[Stateful], count: int | None = None) -> Iterator[Step]:
        """Yield the steps of the search, `count` or as many as the recipe has: the loop of every differentiable method.

        When the body is done, a supernet makes one step of its weights on a batch of its training half (a table has none). It restores the
        last checkpoint, if there is one, into weights, alphas and `state` before the first step, and writes one after every epoch.
        """

    def backward(self, penalty: Tensor | None = None, unrolled: bool = False) -> float:
        """Add the gradient of the validation loss, plus the penalty's, to the gradients of `parameters()`; return the loss.

        `unrolled` takes the second-order gradient (DARTS, equations 7 and 8); on a table there is none, and it is `not_modelled`.
        """

    def expected_cost(self, resource: str, alphas: Sequence[Tensor] | None = None) -> Tensor:
        """Return the expected resource of the evaluation network, differentiable in the alphas (or in those given), in its own unit."""

    def edge_costs(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> list[Tensor]:
        """Return what each operation on each edge adds, summed over a network's cells: u of RC-DARTS's equation 6."""

    def fixed_cost(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> float:
        """Return the resource of everything but the searched operations."""

    def additive_error(self, resource: str) -> Mapping[str, float]:
        """Return how far `edge_costs` and `fixed_cost` are off where they are a fit: `variance_explained`, `mean_error` (both shares).

        Empty for what is exactly a sum over edges.
        """

    def kept_edges(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return which edges the discrete architecture has, shape (edges,), truth values: the indicator of equation 6."""

    def discretise(self, alphas: Sequence[Tensor] | None = None) -> Architecture:
        """Return the discrete architecture of the present alphas, or of those given."""

    def derive(self) -> None:
        """Set the derived cells, where the options have them, to the present discrete architecture. Elsewhere nothing."""

    def note(self, **figures: float) -> None:
        """Keep a method's own figures (a multiplier, a penalty) beside this step's loss, entropy and expected costs."""
