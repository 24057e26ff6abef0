"""The check that strengths have the shapes of the searched cells."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from budgetnas.spaces.space import SearchedCell


class WrongStrengths(ValueError):
    """The strengths do not have the number or shapes of the searched cells; the message gives the right shapes."""


def check_strengths(strengths: Sequence[Tensor], cells: Sequence[SearchedCell]) -> None:
    """Raise WrongStrengths unless there is one tensor of shape (edges, operations) for each searched cell."""
    expected = [(len(cell.edges), len(cell.operations)) for cell in cells]
    given = [tuple(each.shape) for each in strengths]
    if given != expected:
        names = ", ".join(f"{shape} for {cell.name}" for cell, shape in zip(cells, expected, strict=True))
        raise WrongStrengths(f"the strengths have the shapes {', '.join(map(str, given)) or 'none'}; this supernet takes {names}")
