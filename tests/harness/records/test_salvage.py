"""Salvage of a damaged file recovers every row on intact pages, and never a wrong or a deleted row."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.records.database import PAGE_BYTES, Database, Row, RunError
from budgetnas.harness.records.salvage import Salvaged, salvage

apsw = pytest.importorskip("apsw", reason="apsw is not installed")

MakeRow = Callable[..., Row]
SIZES = (10, 500, 3_000, 16_000, 40_000)  # rows of the last two sizes need overflow pages


@dataclass(frozen=True, repr=False)
class Kept:
    """A file of records: its bytes, its rows, and the pages (counted from 0) of each row, in order."""

    content: bytes
    rows: dict[str, Row]
    pages: dict[str, list[int]]

    @property
    def page_count(self) -> int:
        return len(self.content) // PAGE_BYTES

    def page(self, number: int) -> bytes:
        return self.content[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]


def pages_of_rows(path: Path) -> dict[str, list[int]]:
    """Return the pages of each row from SQLite's own table `dbstat`: a leaf is '/000/', an overflow page '/000/00c+000001'."""
    with closing(apsw.Connection(str(path))) as connection:
        identities = iter([identity for (identity,) in connection.execute("SELECT identity FROM records NOT INDEXED ORDER BY rowid")])
        places = connection.execute("SELECT path, pageno, ncell, pagetype FROM dbstat WHERE name = 'records' ORDER BY path").fetchall()
    found: dict[str, list[int]] = {}
    for leaf, page, cells, kind in places:
        if kind == "leaf":
            for cell in range(cells):
                chain = [number - 1 for place, number, _, _ in places if place.startswith(f"{leaf}{cell:03x}+")]
                found[next(identities)] = [page - 1, *chain]
    return found


@pytest.fixture(scope="session")
def kept(make_row: MakeRow, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    path = tmp_path_factory.mktemp("kept") / "records.sqlite"
    database = Database(path)
    database.create()
    for start in range(0, 60, 15):
        database.write([make_row(number, SIZES[number % 5], attempts=number + 1) for number in range(start, start + 15)])
    made = Kept(path.read_bytes(), {row.identity: row for row in database.rows()}, pages_of_rows(path))
    assert set(made.pages) == set(made.rows) and len(made.rows) == 60
    assert {len(pages) for pages in made.pages.values()} == {1, 2, 3} and made.page_count > 50
    return made


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "records.sqlite"


def test_intact_file_gives_all_rows(kept: Kept, place: Path) -> None:
    place.write_bytes(kept.content)
    found = salvage(place)
    assert (found.rows, found.damaged) == (kept.rows, set())


def check_salvaged(kept: Kept, place: Path, content: bytes, touched: set[int]) -> Salvaged:
    place.write_bytes(content)
    found = salvage(place)
    for identity, pages in kept.pages.items():
        if touched.isdisjoint(pages):
            assert found.rows[identity] == kept.rows[identity]
    for identity, row in found.rows.items():
        assert row.record() == kept.rows[identity].record()  # a KeyError means a row that never existed
    assert found.damaged.isdisjoint(found.rows)
    return found


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_rows_on_intact_pages_are_recovered(kept: Kept, place: Path, data: st.DataObject) -> None:
    content, touched = bytearray(kept.content), data.draw(st.sets(st.integers(0, kept.page_count - 1), min_size=1))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    for number in touched:
        noise = rng.randbytes(PAGE_BYTES)
        garbled = rng.choice([noise, bytes(PAGE_BYTES), kept.page(rng.randrange(kept.page_count)), b"\x0d" + noise[1:]])
        content[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = garbled
    found = check_salvaged(kept, place, bytes(content), touched)
    assert found.damaged <= set(kept.rows)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, PAGE_BYTES - 1) | st.integers(0, 60), st.integers(0, 7)), max_size=60)
)
def test_changed_bits_give_no_wrong_row(kept: Kept, place: Path, flips: list[tuple[int, int, int]]) -> None:
    content = bytearray(kept.content)
    for page, byte, bit in flips:
        content[page % kept.page_count * PAGE_BYTES + byte] ^= 1 << bit
    check_salvaged(kept, place, bytes(content), {page % kept.page_count for page, _, _ in flips})


@pytest.mark.slow
@given(length=st.integers(0, 10**9))
def test_truncated_file_gives_the_rows_before_the_cut(kept: Kept, place: Path, length: int) -> None:
    length %= len(kept.content)
    check_salvaged(kept, place, kept.content[:length], set(range(length // PAGE_BYTES, kept.page_count)))


@pytest.mark.parametrize(
    "header",
    [bytes(100), b"\xff" * 100, b"SQLite format 3\x00\x10\x00" + bytes(82), b"SQLite format 3\x00\x00\x01" + bytes(82)],
    ids=["zeros", "ones", "pages of 4096", "pages of 65536"],
)
def test_damaged_header_loses_no_row(kept: Kept, place: Path, header: bytes) -> None:
    place.write_bytes(header + kept.content[100:])
    assert salvage(place).rows == kept.rows


def test_page_size_is_read_from_the_header(kept: Kept, place: Path) -> None:
    place.write_bytes(kept.content)
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("VACUUM")
    assert salvage(place).rows == kept.rows


def test_a_damaged_record_is_named_and_left_out(kept: Kept, place: Path) -> None:
    identity = next(identity for identity, pages in kept.pages.items() if len(pages) == 3)
    content = bytearray(kept.content)
    content[kept.pages[identity][1] * PAGE_BYTES + 100] ^= 1
    place.write_bytes(content)
    found = salvage(place)
    assert found.damaged == {identity}
    assert found.rows == {name: row for name, row in kept.rows.items() if name != identity}


def test_circular_chain_of_pages_ends(kept: Kept, place: Path) -> None:
    content = bytearray(kept.content)
    for pages in kept.pages.values():
        for number in pages[1:]:
            content[number * PAGE_BYTES : number * PAGE_BYTES + 4] = (number + 1).to_bytes(4, "big")  # its own number, counted from 1
    check_salvaged(kept, place, bytes(content), {number for pages in kept.pages.values() for number in pages[1:]})


Step = tuple[str, list[int], int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "discard"]), st.lists(st.integers(0, 25), min_size=1), st.integers(0, 4)), max_size=12
)


@pytest.mark.slow
@settings(max_examples=30)  # a commit waits for the disk
@given(steps=STEPS)
def test_deleted_and_replaced_rows_do_not_come_back(tmp_path_factory: pytest.TempPathFactory, make_row: MakeRow, steps: list[Step]) -> None:
    path = tmp_path_factory.mktemp("steps") / "records.sqlite"
    database = Database(path)
    database.create()
    for version, (action, numbers, size) in enumerate(steps):
        rows = [make_row(number, SIZES[(size + number) % 5], version) for number in numbers]
        if action == "write":
            database.write(rows)
        else:
            database.discard([row.identity for row in rows])
    found = salvage(path)
    assert (found.rows, found.damaged) == ({row.identity: row for row in database.rows()}, set())


def test_attempts_are_added_to_those_recovered(kept: Kept, place: Path, tmp_path: Path) -> None:
    place.write_bytes(kept.content)
    new = Database(tmp_path / "records.sqlite")
    new.create()
    new.write(list(salvage(place).rows.values()))
    assert {row.identity: row for row in new.rows()} == kept.rows
    again = next(row for row in kept.rows.values() if row.attempts == 7)
    new.write([replace(again, attempts=1)])
    assert new.row(again.identity) == replace(again, attempts=8)


@pytest.mark.parametrize(
    ("column", "value", "saved"),
    [("attempts", -1, 1), ("attempts", 2**40, 1), ("attempts", 2**31 - 1, 2**31 - 1), ("timing", "{", "{}"), ("timing", "[1]", "{}")],
)
def test_impossible_attempts_and_timings_are_replaced(make_row: MakeRow, tmp_path: Path, column: str, value: object, saved: object) -> None:
    database = Database(tmp_path / "records.sqlite")
    database.create()
    database.write([make_row(0)])
    shutil.copy(database.path, tmp_path / "before")
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute(f"UPDATE records SET {column} = ?", (value,))
    (row,) = salvage(database.path).rows.values()
    assert row == replace(make_row(0), **{column: saved})


def test_empty_file_and_unreadable_file(tmp_path: Path) -> None:
    for content in (b"", b"text\n" * 10_000, bytes(PAGE_BYTES), b"SQLite format 3\x00", b"\x0d" * 3 * PAGE_BYTES):
        (tmp_path / "other").write_bytes(content)
        found = salvage(tmp_path / "other")
        assert (found.rows, found.damaged) == ({}, set())
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "nowhere", "No such file or directory")):
        with pytest.raises(RunError, match=f"cannot read {path}: {reason}; give the folder of a run"):
            salvage(path)
