"""Reads and writes genotypes, the text form in which DARTS's authors and later papers publish cells. The text is never executed.

    Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))

A cell has eight pairs, two for each of the nodes 2 to 5. With k groups of normal cells, these are called normal_0 to normal_<k-1>, each
with its concat. A connection cell adds one word, connection='conv_1x1_g2'.

The reader accepts the two pairs of a node in either order, the parts in any order, the concat as a list, both quotation marks, and any
white space. The writer uses one form, with the pairs of a node in the order of their sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from budgetnas.spaces.darts.order import CHOICES, CONNECTIONS, NODES, Edge
from budgetnas.spaces.space import InvalidArchitecture

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|'[^'\\]*'|\"[^\"\\]*\"|0|[1-9][0-9]*|[()\[\],=])")
_LONGEST_CELL = 2_000  # characters, with white space: several times the length of a cell
_SHOWN = 40
_EXAMPLE = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ...], normal_concat=range(2, 6), reduce=[...], ...)"


def write(names: Sequence[str], cells: Sequence[Sequence[Edge]], connection: str | None) -> str:
    """Return the text of cells.

    Args:
        names: A name for each cell, such as `normal` and `reduce`.
        cells: The edges of each cell, by node, then by source.
        connection: The operation of the connection cell; None if there is none.
    """
    parts = []
    for name, edges in zip(names, cells, strict=True):
        pairs = ", ".join(f"('{edge.operation}', {edge.source})" for edge in edges)
        parts += [f"{name}=[{pairs}]", f"{name}_concat=range({NODES[0]}, {NODES[-1] + 1})"]
    if connection is not None:
        parts.append(f"connection='{connection}'")
    return f"Genotype({', '.join(parts)})"


def read(text: str, names: Sequence[str], connection: bool) -> tuple[list[tuple[Edge, ...]], str | None]:
    """Return the cells of a text in the order of `names`, and its connection (None unless `connection` is set).

    Raises:
        InvalidArchitecture: The text is not a genotype; the message names the fault and its position.
    """
    longest = _LONGEST_CELL * (len(names) + 1)
    if len(text) > longest:
        raise InvalidArchitecture(
            f"a text of {len(text):,} characters is not a genotype; at most {longest:,} are allowed, as in {_EXAMPLE}"
        )
    return _Reader(_tokens(text), names, connection).genotype()


@dataclass(frozen=True, slots=True)
class _Token:
    text: str  # empty at the end
    place: int  # of its first character, counted from 1


def _tokens(text: str) -> list[_Token]:
    """Return the words, quoted words, numbers and marks of a text, then an empty token for the end."""
    tokens, place, whole = [], 0, text.rstrip()
    while place < len(whole):
        match = _TOKEN.match(whole, place)
        if match is None:
            place += len(whole[place:]) - len(whole[place:].lstrip())
            raise InvalidArchitecture(
                f"{whole[place]!r} at character {place + 1} is not allowed in a genotype, which looks like {_EXAMPLE}"
            )
        tokens.append(_Token(match[1], match.start(1) + 1))
        place = match.end()
    return [*tokens, _Token("", len(whole) + 1)]


class _Reader:
    """Reads the tokens once, from left to right."""

    def __init__(self, tokens: Sequence[_Token], names: Sequence[str], connection: bool):
        self._tokens = tokens
        self._next = 0
        self._names = names
        self._expected = [part for name in names for part in (name, f"{name}_concat")] + (["connection"] if connection else [])

    def genotype(self) -> tuple[list[tuple[Edge, ...]], str | None]:
        self._take("Genotype", "(")
        cells: dict[str, tuple[Edge, ...]] = {}
        connection: str | None = None
        missing = list(self._expected)
        while missing:
            token = self._token()
            if token.text not in missing:
                self._refuse(token, f"one of the parts {', '.join(missing)}")
            missing.remove(token.text)
            self._take("=")
            if token.text == "connection":
                connection = self._operation(CONNECTIONS, "the connection")
            elif token.text in self._names:
                cells[token.text] = self._cell(token.text)
            else:
                self._concatenation()
            self._take("," if missing else ")")
        self._take("")
        return [cells[name] for name in self._names], connection

    def _cell(self, name: str) -> tuple[Edge, ...]:
        self._take("[")
        edges: list[Edge] = []
        for node in NODES:
            first, second = self._pair(name, node), self._pair(name, node, last=node == NODES[-1])
            if first.source == second.source:
                raise InvalidArchitecture(f"node {node} of {name} has the predecessor {first.source} twice; choose two different ones")
            edges += sorted((first, second), key=lambda edge: edge.source)
        return tuple(edges)

    def _pair(self, name: str, node: int, last: bool = False) -> Edge:
        """Read `('operation', source)` and the comma after it, or after the last pair the closing bracket."""
        self._take("(")
        operation = self._operation(CHOICES, f"node {node} of {name}")
        self._take(",")
        token = self._token()
        if token.text not in map(str, range(node)):
            self._refuse(token, f"a predecessor of node {node} of {name}, 0 to {node - 1}")
        self._take(")", "]" if last else ",")
        return Edge(int(token.text), node, operation)

    def _operation(self, choices: Sequence[str], where: str) -> str:
        token = self._token()
        if token.text[:1] not in ("'", '"'):
            self._refuse(token, f"an operation in quotation marks for {where}")
        operation = token.text[1:-1]
        if operation not in choices:
            raise InvalidArchitecture(
                f"unknown operation {_quoted(operation)} for {where}, at character {token.place}; choose one of {', '.join(choices)}"
            )
        return operation

    def _concatenation(self) -> None:
        """Read the nodes that a cell concatenates to its output, which are always all intermediate nodes."""
        if self._tokens[self._next].text == "range":
            self._take("range", "(", str(NODES[0]), ",", str(NODES[-1] + 1), ")")
            return
        self._take("[")
        for node in NODES:
            self._take(str(node), "]" if node == NODES[-1] else ",")

    def _token(self) -> _Token:
        token = self._tokens[min(self._next, len(self._tokens) - 1)]
        self._next += 1
        return token

    def _take(self, *expected: str) -> None:
        for text in expected:
            token = self._token()
            if token.text != text:
                self._refuse(token, f"'{text}'" if text else "the end")

    def _refuse(self, token: _Token, expected: str) -> NoReturn:
        found = _quoted(token.text) if token.text else "the end of the text"
        raise InvalidArchitecture(f"{found} at character {token.place}; expected {expected}, as in {_EXAMPLE}")


def _quoted(text: str) -> str:
    """Return the beginning of `text` in quotes, on one line."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
