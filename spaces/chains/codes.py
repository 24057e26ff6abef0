"""The text form of chains: the code of every position, first to last, separated by single blanks: `5 3 5 1 0 0`."""

from __future__ import annotations

import re

from budgetnas.spaces.space import Architecture, InvalidArchitecture, Space, check_genes

_CODES = re.compile(r"[0-9](?: [0-9])*")
_LONGEST_QUOTE = 20  # characters


def encode(space: Space, arch: Architecture) -> str:
    """Return the codes of an architecture; `InvalidArchitecture` for what is no point of the space."""
    check_genes(space, arch)
    return " ".join([str(int(gene)) for gene in arch.genes])


def decode(space: Space, text: str, legend: str) -> Architecture:
    """Return the architecture that the codes name; `InvalidArchitecture` says what is wrong and where, `legend` which codes there are."""
    stripped = text.strip()
    if len(stripped) == 2 * len(space.arity) - 1 and _CODES.fullmatch(stripped):
        genes = tuple([int(code) for code in stripped[::2]])
        if all(gene < arity for gene, arity in zip(genes, space.arity, strict=True)):
            return Architecture(space.name, genes)
    raise InvalidArchitecture(_fault(space, stripped, legend))


def _fault(space: Space, text: str, legend: str) -> str:
    """Return the first thing that is wrong with `text`."""
    count, form = len(space.arity), f"'{space.name}' has a code a position, separated by single blanks: {legend}"
    codes = text.split()
    for position, (code, arity) in enumerate(zip(codes, space.arity, strict=False)):
        if not re.fullmatch("[0-9]", code) or int(code) >= arity:
            return f"position {position} is {_quoted(code)}; {form}"
    if len(codes) != count:
        return f"{len(codes)} codes are given; '{space.name}' has {count} positions: {legend}"
    return f"the codes are separated by more than single blanks; {form}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}...")


def check_element(space: Space, position: int, value: int) -> None:
    """Raise `InvalidArchitecture` unless `value` is a code that may stand at `position`."""
    if position not in range(len(space.arity)):
        raise InvalidArchitecture(f"position {position!r} is outside '{space.name}'; choose 0 to {len(space.arity) - 1}")
    if value not in range(space.arity[position]):
        raise InvalidArchitecture(f"code {value!r} at position {position}; '{space.name}' allows 0 to {space.arity[position] - 1} there")
