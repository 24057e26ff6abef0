"""Recovers the intact rows of a damaged file of records.

SQLite reads a table from its root page down, so one damaged page can hide many rows. Here every page is read independently: rows are in
pages of type 13, and a long row continues in a chain of overflow pages (https://www.sqlite.org/fileformat2.html, section 1.6). A row counts
only if the checksum of its record is right, so a misread page cannot add a wrong row.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from budgetnas.harness.records.database import COLUMNS, PAGE_BYTES, Row, RunError, row_of

_IDENTITY = re.compile("[0-9a-f]{64}")
_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100  # of the file header, which precedes the page header in the first page
_TABLE_LEAF = 0x0D
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
Value = int | bytes | None


@dataclass(slots=True)
class Salvaged:
    """The result of a salvage: the intact rows by identity, and the identities of the rows with a damaged record."""

    rows: dict[str, Row] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)


class _Broken(ValueError):
    """Raised for bytes that do not follow the file format."""


def salvage(path: Path) -> Salvaged:
    """Return every row with a correct checksum in a file of records. Raises `RunError` if the file cannot be read at all."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; give the folder of a run") from None
    found = Salvaged()
    for size in _page_sizes(data):
        for number in range(-(-len(data) // size)):
            for row in _rows_of_page(data, size, number):
                _add(row, found)
    found.damaged -= set(found.rows)
    return found


def _add(row: Row, found: Salvaged) -> None:
    """Add a row if its record is intact. Attempts and timing are not covered by the checksum; impossible values are replaced."""
    try:
        row.record()
    except ValueError:
        if _IDENTITY.fullmatch(row.identity):
            found.damaged.add(row.identity)
        return
    try:
        sensible = isinstance(json.loads(row.timing), dict)
    except (ValueError, RecursionError):
        sensible = False
    row = replace(row, timing=row.timing if sensible else "{}", attempts=row.attempts if 0 < row.attempts < 2**31 else 1)
    known = found.rows.get(row.identity)
    if known is None or row.attempts > known.attempts:  # a freed page may hold an earlier version of the row
        found.rows[row.identity] = row


def _page_sizes(data: bytes) -> set[int]:
    """Return the possible page sizes: that in the header, and the usual one, because the header may be damaged."""
    size = int(struct.unpack(">H", data[16:18])[0]) if data[:16] == _MAGIC and len(data) >= _HEADER_BYTES else 0
    size = 65_536 if size == 1 else size
    return {PAGE_BYTES, size} if size >= 512 and size & (size - 1) == 0 else {PAGE_BYTES}


def _rows_of_page(data: bytes, size: int, number: int) -> Iterator[Row]:
    """Yield the rows that begin in page `number`, counted from 0; rows that cannot be decoded are skipped."""
    page = data[number * size : (number + 1) * size]
    start = _HEADER_BYTES if number == 0 else 0
    if len(page) < start + 8 or page[start] != _TABLE_LEAF:
        return
    (count,) = struct.unpack(">H", page[start + 3 : start + 5])
    for index in range(count):
        pointer = page[start + 8 + 2 * index : start + 10 + 2 * index]
        try:
            yield _row(_values(data, size, page, struct.unpack(">H", pointer)[0]))
        except (_Broken, struct.error, IndexError, ValueError, TypeError):
            continue


def _values(data: bytes, size: int, page: bytes, offset: int) -> list[Value]:
    """Return the columns of the row in the cell at `offset`: numbers as integers, texts as bytes."""
    length, offset = _varint(page, offset)
    _, offset = _varint(page, offset)  # the row's number
    most, least = size - 35, (size - 12) * 32 // 255 - 23
    local = length
    if length > most:
        local = least + (length - least) % (size - 4)
        local = local if local <= most else least
    content = page[offset : offset + local]
    kinds, start = _kinds(content)
    lengths = [_length(kind) for kind in kinds]
    if len(content) < local or len(kinds) != len(COLUMNS) or start + sum(lengths) != length:
        raise _Broken  # checked before a chain is followed, because a damaged page may seem to have thousands of long rows
    content += _overflow(data, size, page[offset + local : offset + local + 4], length - local)
    values: list[Value] = []
    for kind, width in zip(kinds, lengths, strict=True):
        part = content[start : start + width]
        start += width
        constant = {0: None, 8: 0, 9: 1}
        values.append(constant[kind] if kind in constant else part if kind >= 12 else int.from_bytes(part, "big", signed=True))
    return values


def _overflow(data: bytes, size: int, following: bytes, length: int) -> bytes:
    """Return `length` bytes from a chain of overflow pages; `following` holds the number of the first page, counted from 1."""
    if length > len(data):
        raise _Broken
    content = bytearray()
    while len(content) < length:
        (number,) = struct.unpack(">I", following)
        page = data[(number - 1) * size : number * size]
        if number < 1 or len(page) < size:
            raise _Broken
        following = page[:4]
        content += page[4 : 4 + length - len(content)]
    return bytes(content)


def _kinds(content: bytes) -> tuple[list[int], int]:
    """Return the kind of every column (SQLite's serial type), and the offset of the first column."""
    end, offset = _varint(content, 0)
    kinds: list[int] = []
    while offset < end and len(kinds) <= len(COLUMNS):
        kind, offset = _varint(content, offset)
        kinds.append(kind)
    return kinds, end


def _length(kind: int) -> int:
    """Return how many bytes a column of a kind takes. No column holds floating-point numbers (kind 7)."""
    if kind in (0, 8, 9):
        return 0
    if kind in _INTEGER_BYTES:
        return _INTEGER_BYTES[kind]
    if kind < 12:
        raise _Broken
    return (kind - 12) // 2


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a variable-length integer of one to nine bytes, and the offset after it."""
    value = 0
    for index in range(9):
        byte = data[offset + index]
        if index == 8:
            return value << 8 | byte, offset + 9
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, offset + index + 1
    raise _Broken


def _row(values: list[Value]) -> Row:
    texts = [
        value.decode() if isinstance(value, bytes) and name != "content" else value for name, value in zip(COLUMNS, values, strict=True)
    ]
    return row_of(texts)
