"""Saves what is whole in a damaged file of records.

SQLite reads a table from its root page down, so one garbled page can hide many rows. Here every page of the file is looked at by itself:
rows stand in pages of type 13, and a long one goes on in a chain of overflow pages (https://www.sqlite.org/fileformat2.html, section 1.6).
A row counts only if the checksum of its record is right, so a misread page cannot add a wrong one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from budgetnas.harness.records.database import COLUMNS, LARGEST_RECORD, PAGE_BYTES, Row, RunError, row_of

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100  # before the first page's own header
_TABLE_LEAF = 0x0D
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
Value = int | bytes | None


@dataclass(slots=True)
class Salvaged:
    """What was saved of a file: rows by identity, and the identities of rows whose record is damaged."""

    rows: dict[str, Row] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)


class _Broken(ValueError):
    """Bytes that are not what the file format says."""


def salvage(path: Path) -> Salvaged:
    """Return every row of a file of records whose checksum is right. Raises `RunError` if the file cannot be read at all."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; give the folder of a run") from None
    size = _page_size(data)
    found = Salvaged()
    for number in range(-(-len(data) // size)):
        for row in _rows_of_page(data, size, number):
            try:
                row.record()
            except ValueError:
                found.damaged.add(row.identity)
                continue
            known = found.rows.get(row.identity)
            if known is None or row.attempts > known.attempts:  # a page that was freed may hold an earlier one
                found.rows[row.identity] = row
    found.damaged -= set(found.rows)
    return found


def _page_size(data: bytes) -> int:
    size = int(struct.unpack(">H", data[16:18])[0]) if data[:16] == _MAGIC else PAGE_BYTES
    size = 65_536 if size == 1 else size
    return size if size >= 512 and size & (size - 1) == 0 else PAGE_BYTES


def _rows_of_page(data: bytes, size: int, number: int) -> Iterator[Row]:
    """Yield the rows that begin in a page, counted from 0; what cannot be decoded is left out."""
    page = data[number * size : (number + 1) * size]
    start = _HEADER_BYTES if number == 0 else 0
    if len(page) < start + 8 or page[start] != _TABLE_LEAF:
        return
    (count,) = struct.unpack(">H", page[start + 3 : start + 5])
    for index in range(count):
        pointer = page[start + 8 + 2 * index : start + 10 + 2 * index]
        try:
            values = _values(_payload(data, size, page, struct.unpack(">H", pointer)[0]))
            if len(values) == len(COLUMNS):
                yield _row(values)
        except (_Broken, struct.error, IndexError, ValueError, TypeError):
            continue


def _payload(data: bytes, size: int, page: bytes, offset: int) -> bytes:
    """Return the content of a cell, its overflow pages included."""
    length, offset = _varint(page, offset)
    _, offset = _varint(page, offset)  # the row's number
    if length > 2 * LARGEST_RECORD:
        raise _Broken
    most, least = size - 35, (size - 12) * 32 // 255 - 23
    local = length
    if length > most:
        local = least + (length - least) % (size - 4)
        local = local if local <= most else least
    content = bytearray(page[offset : offset + local])
    following = page[offset + local : offset + local + 4]
    while len(content) < length:
        (number,) = struct.unpack(">I", following)
        overflow = data[(number - 1) * size : number * size]
        if number < 1 or len(overflow) < size:
            raise _Broken
        following = overflow[:4]
        content += overflow[4 : 4 + length - len(content)]
    return bytes(content)


def _values(payload: bytes) -> list[Value]:
    """Return the columns of a row: numbers, and texts as bytes."""
    end, offset = _varint(payload, 0)
    kinds = []
    while offset < end:
        kind, offset = _varint(payload, offset)
        kinds.append(kind)
    values: list[Value] = []
    offset = end
    for kind in kinds:
        if kind in (0, 8, 9):
            values.append({0: None, 8: 0, 9: 1}[kind])
            continue
        length = _INTEGER_BYTES[kind] if kind in _INTEGER_BYTES else (kind - 12) // 2 if kind >= 12 else -1
        part = payload[offset : offset + length]
        if length < 0 or len(part) < length:
            raise _Broken
        values.append(part if kind >= 12 else int.from_bytes(part, "big", signed=True))
        offset += length
    return values


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a number of one to nine bytes and the offset behind it."""
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
