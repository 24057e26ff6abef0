"""What every supernet does with strengths that are not its own cells': it refuses them in a line."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from budgetnas.spaces.space import SearchedCell


class WrongStrengths(ValueError):
    """Strengths of another number or shape than the searched cells have; the message says which they have."""


def check_strengths(strengths: Sequence[Tensor], cells: Sequence[SearchedCell]) -> None:
    """Raise `WrongStrengths` unless there is one tensor (edges, operations) a searched cell."""
    expected = [(len(cell.edges), len(cell.operations)) for cell in cells]
    given = [tuple(each.shape) for each in strengths]
    if given != expected:
        names = ", ".join(f"{shape} for {cell.name}" for cell, shape in zip(cells, expected, strict=True))
        raise WrongStrengths(f"strengths of shape {', '.join(map(str, given)) or 'none'} were given; this supernet takes {names}")
