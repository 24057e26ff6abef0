"""The text form of chains: one code per position, first to last, separated by single spaces: `5 3 5 1 0 0`."""

from __future__ import annotations

import re

from budgetnas.spaces.space import Architecture, InvalidArchitecture, Space, check_genes

_CODES = re.compile(r"[0-9](?: [0-9])*")
_LONGEST_QUOTE = 20  # characters


def encode(space: Space, arch: Architecture) -> str:
    """Return the codes of an architecture. Raises InvalidArchitecture if it is not a point of the space."""
    check_genes(space, arch)
    return " ".join([str(int(gene)) for gene in arch.genes])


def decode(space: Space, text: str, legend: str) -> Architecture:
    """Return the architecture with these codes.

    Args:
        space: The space of chains.
        text: One code per position.
        legend: The meaning of the codes, for the error message.

    Raises:
        InvalidArchitecture: The text is not a chain; the message names the fault and its position.
    """
    stripped = text.strip()
    if len(stripped) == 2 * len(space.arity) - 1 and _CODES.fullmatch(stripped):
        genes = tuple([int(code) for code in stripped[::2]])
        if all(gene < arity for gene, arity in zip(genes, space.arity, strict=True)):
            return Architecture(space.name, genes)
    raise InvalidArchitecture(_fault(space, stripped, legend))


def _fault(space: Space, text: str, legend: str) -> str:
    """Return the first fault in `text`."""
    count, form = len(space.arity), f"'{space.name}' takes one code per position, separated by single spaces: {legend}"
    codes = text.split()
    for position, (code, arity) in enumerate(zip(codes, space.arity, strict=False)):
        if not re.fullmatch("[0-9]", code) or int(code) >= arity:
            return f"position {position} is {_quoted(code)}; {form}"
    if len(codes) != count:
        return f"{len(codes)} codes are given; '{space.name}' has {count} positions: {legend}"
    return f"the codes are not separated by single spaces; {form}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}...")


def check_element(space: Space, position: int, value: int) -> None:
    """Raise InvalidArchitecture unless `value` is an allowed code at `position`."""
    if position not in range(len(space.arity)):
        raise InvalidArchitecture(f"position {position!r} is outside '{space.name}'; choose 0 to {len(space.arity) - 1}")
    if value not in range(space.arity[position]):
        raise InvalidArchitecture(f"position {position} has the code {value!r}; '{space.name}' allows 0 to {space.arity[position] - 1}")
