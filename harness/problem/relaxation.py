"""The continuous relaxation of a problem: the protocol that differentiable methods use, for tables and supernets alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from budgetnas.spaces.space import Architecture, SearchedCell

if TYPE_CHECKING:
    from torch import Tensor


class Stateful(Protocol):
    """State that a method keeps between steps: a torch optimiser, or any object with these two methods."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, made of plain values and tensors only."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restore a state from `state_dict`."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a search: its index, the number of steps, its epoch, and the number of epochs. On a table each step is an epoch."""

    index: int
    total: int
    epoch: int
    epochs: int


class Relaxation(Protocol):
    """The continuous relaxation of a problem. It has the same interface for a table and for a supernet.

    Lists of tensors have one tensor per searched cell, of shape (edges, operations) unless stated otherwise.

    Attributes:
        cells: the searched cells.
        alphas: the architecture variables.
        not_modelled: the requested options that this relaxation cannot model; a table, for example, has no weights to share.
    """

    cells: tuple[SearchedCell, ...]
    alphas: list[Tensor]
    not_modelled: tuple[str, ...]

    def parameters(self) -> list[Tensor]:
        """Return the tensors that the method's optimiser trains: the alphas, and edge weights if the options have them."""

    def strengths(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return the weight of each operation: softmax(alphas) over the operations of an edge, times the edge's normalised weight, if any.

        Like the other methods with this parameter, it uses the current alphas if `alphas` is None.
        """

    def steps(self, state: Sequence[Stateful], count: int | None = None) -> Iterator[Step]:
        """Yield the steps of the search. A method updates the alphas in the body of a loop over them.

        After each loop body, a supernet trains its weights for one step, on a batch of the training half of the images. A supernet also
        restores the last checkpoint, if there is one, before the first step, and writes one after each epoch. A table does neither.

        Args:
            state: the method's state, which checkpoints keep beside weights and alphas.
            count: the number of steps; None: as many as the recipe has, or the default of a table.
        """

    def backward(self, penalty: Tensor | None = None, unrolled: bool = False) -> float:
        """Add the gradient of the validation loss, and of the penalty if given, to `parameters()`; return the loss without the penalty.

        Args:
            penalty: a scalar that is added to the loss.
            unrolled: use the second-order gradient (DARTS, equations 7 and 8). A table has none, and lists it in `not_modelled`.
        """

    def expected_cost(self, resource: str, alphas: Sequence[Tensor] | None = None) -> Tensor:
        """Return the expected cost of the evaluation network, a scalar in the resource's unit, differentiable in the alphas.

        Raises ValueError if the relaxation has no expected cost of this resource.
        """

    def edge_costs(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> list[Tensor]:
        """Return the cost that each operation on each edge adds, summed over the network's cells: u in equation 6 of RC-DARTS."""

    def fixed_cost(self, resource: str, network: Literal["evaluation", "search"] = "evaluation") -> float:
        """Return the cost of the network without its searched operations."""

    def additive_error(self, resource: str) -> Mapping[str, float]:
        """Return the error of `edge_costs` and `fixed_cost` if they are a fit: `variance_explained` and `mean_error`, both as shares.

        The result is empty for a resource that is exactly a sum over edges.
        """

    def kept_edges(self, alphas: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return the edges that the discrete architecture has, as booleans of shape (edges,): the indicator in equation 6 of RC-DARTS."""

    def discretise(self, alphas: Sequence[Tensor] | None = None) -> Architecture:
        """Return the discrete architecture."""

    def derive(self) -> None:
        """Set the derived cells to the current discrete architecture. Without derived cells, do nothing."""

    def note(self, **figures: float) -> None:
        """Record figures of the method, such as a multiplier or a penalty, beside this step's loss, entropy and expected costs."""
