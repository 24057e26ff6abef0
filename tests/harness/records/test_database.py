"""The file of records: rows are read as they were written, and every damage gives a one-line error that names the file or the record."""

from __future__ import annotations

import random
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.records import database as module
from budgetnas.harness.records.database import APPLICATION, LAYOUT, PAGE_BYTES, Database, Row, RunError
from budgetnas.harness.records.identity import canonical_json, identity_of
from budgetnas.harness.records.store import Store

MakeRow = Callable[..., Row]
SIZES = (10, 200, 2_000, 40_000)  # the last one needs overflow pages


@pytest.fixture(scope="session")
def rows(make_row: MakeRow) -> list[Row]:
    return [make_row(number, size=SIZES[number % 4], status="failed" if number % 5 == 0 else "ok") for number in range(24)]


@pytest.fixture(scope="session")
def written(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with all rows; tests copy it."""
    store = Store(tmp_path_factory.mktemp("written") / "run")
    store.create()
    for start in range(0, len(rows), 5):
        store.write_rows(rows[start : start + 5])
    return store.root


@pytest.fixture
def store(tmp_path: Path, written: Path) -> Store:
    shutil.copytree(written, tmp_path / "run")
    return Store(tmp_path / "run")


def change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def one_line(error: pytest.ExceptionInfo[RunError], path: Path) -> str:
    text = str(error.value)
    assert str(path) in text and "\n" not in text
    return text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=20,
)


@given(trial=JSON, more=st.dictionaries(st.text("abc", min_size=1), JSON), timing=st.dictionaries(st.text("abc"), JSON))
def test_row_returns_the_canonical_bytes(trial: Any, more: dict[str, Any], timing: dict[str, Any]) -> None:
    record = more | {"identity": identity_of(trial), "status": "ok", "trial": trial}
    row = Row.of(record, timing)
    assert row.json() == canonical_json(record).encode() and row.record() == record
    assert row.timing == canonical_json(timing)


@given(number=st.integers(0, 23), more=st.integers(0, 10**9), new=st.binary(min_size=1, max_size=5))
def test_changed_content_is_refused(rows: list[Row], number: int, more: int, new: bytes) -> None:
    row = rows[number]
    place = more % len(row.content)
    content = row.content[:place] + new + row.content[place + len(new) :]
    damaged = Row(row.identity, row.status, row.sha256, content)
    if content == row.content:
        assert damaged.record() == row.record()
        return
    try:
        assert damaged.json() == row.json()  # zlib ignores some bits, such as the compression level
    except ValueError as error:
        assert str(error) == "it was changed or damaged"


def test_content_that_decompresses_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch, make_row: MakeRow) -> None:
    row = make_row(0)
    monkeypatch.setattr(module, "LARGEST_RECORD", len(row.json()) + 1)
    assert row.record()["trial"] == {"seed": 0}
    monkeypatch.setattr(module, "LARGEST_RECORD", len(row.json()) - 1)
    with pytest.raises(ValueError, match="it was changed or damaged"):
        row.json()


@settings(max_examples=15)  # a commit waits for the disk
@given(order=st.permutations(range(24)), chunk=st.integers(1, 30), parts=st.integers(5, 24))
def test_rows_are_sorted_in_any_order_of_writing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], order: Sequence[int], chunk: int, parts: int
) -> None:
    database = Database(tmp_path_factory.mktemp("order") / "records.sqlite")
    database.create()
    for start in range(0, len(order), parts):
        database.write([rows[number] for number in order[start : start + parts]])
    expected = sorted(rows, key=lambda row: row.identity)
    assert list(database.rows(chunk)) == expected
    assert list(database.statuses().items()) == [(row.identity, row.status) for row in expected]
    assert [database.row(row.identity) for row in expected] == expected


def test_many_statuses_are_read_in_chunks(store: Store, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 0.05)  # 5 rows
    assert store.statuses() == {row.identity: row.status for row in rows}


def test_record_written_again_replaces_the_first_and_adds_its_attempts(store: Store, make_row: MakeRow) -> None:
    store.write_rows([make_row(1, version=1, status="failed", timing=1.5)])
    store.write_rows([make_row(1, version=2, timing=2.5, attempts=3)])
    found = store.row(make_row(1).identity)
    assert (found.status, found.record()["version"], found.attempts) == ("ok", 2, 5)  # 1 from the fixture, then 1 and 3
    assert store.timing(found.identity) == {"trial_seconds": 2.5}
    assert len(list(store.rows())) == 24


def test_rows_are_written_all_or_none(store: Store, rows: list[Row], make_row: MakeRow) -> None:
    unwritable = Row.of(make_row(101).record())
    object.__setattr__(unwritable, "timing", '"\udc80"')
    with pytest.raises(UnicodeEncodeError):
        store.write_rows([make_row(100), unwritable, make_row(102)])
    assert list(store.rows()) == sorted(rows, key=lambda row: row.identity)
    store.write_rows([make_row(100)])
    assert make_row(100).identity in store.done()


def test_deleted_and_replaced_rows_leave_no_trace_in_the_file(store: Store, rows: list[Row], make_row: MakeRow) -> None:
    for row in rows[:8]:
        assert row.content[:40] in store.database.path.read_bytes()
    store.discard([row.identity for row in rows[:4]])
    store.write_rows([make_row(number, version=1) for number in range(4, 8)])
    after = store.database.path.read_bytes()
    for row in rows[:8]:
        assert row.content[:40] not in after and row.content[-40:] not in after
    assert {row.identity for row in rows[:4]}.isdisjoint(store.done())


DAMAGES: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "another sha256": ("UPDATE records SET sha256 = ? WHERE identity = ?", ("0" * 64,), "it was changed or damaged"),
    "another status": ("UPDATE records SET status = ? WHERE identity = ?", ("failed",), "not the record of the trial that it is kept for"),
    "a later format": ("UPDATE records SET format = ? WHERE identity = ?", (2,), "its format is 2, .* reads 1: update budgetnas"),
    "no zlib": ("UPDATE records SET content = ? WHERE identity = ?", (b"nothing",), "it was changed or damaged"),
    "cut off": ("UPDATE records SET content = substr(content, 1, length(content) - ?) WHERE identity = ?", (8,), "changed or damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_changed_record_is_refused_by_name_and_the_others_are_read(store: Store, rows: list[Row], damage: str) -> None:
    statement, values, reason = DAMAGES[damage]
    change(store.database.path, statement, *values, rows[1].identity)
    store.check()
    with pytest.raises(RunError, match=f"the record of trial {rows[1].identity} in .*{reason}.*--recover") as error:
        store.get(rows[1].identity)
    one_line(error, store.database.path)
    for row in store.rows():
        if row.identity != rows[1].identity:
            assert store.checked(row)["identity"] == row.identity


def test_two_swapped_records_are_refused(store: Store, rows: list[Row]) -> None:
    first, second = rows[1], rows[2]
    for identity, row in ((first.identity, second), (second.identity, first)):
        values = (row.content, row.sha256, row.status, identity)
        change(store.database.path, "UPDATE records SET content = ?, sha256 = ?, status = ? WHERE identity = ?", *values)
    for row in (first, second):
        with pytest.raises(RunError, match=f"trial {row.identity} .* it is not the record of the trial that it is kept for"):
            store.get(row.identity)


@pytest.mark.parametrize("record", [[], None, 5, {}, {"identity": "x", "status": "ok"}, "nested"])
def test_json_value_that_is_not_a_record_is_refused(store: Store, rows: list[Row], record: Any) -> None:
    text = b"[" * 100_000 + b"]" * 100_000 if record == "nested" else canonical_json(record).encode()
    values = (zlib.compress(text), module.hashlib.sha256(text).hexdigest(), rows[1].identity)
    change(store.database.path, "UPDATE records SET content = ?, sha256 = ? WHERE identity = ?", *values)
    with pytest.raises(RunError, match=f"trial {rows[1].identity} .* it is not the record"):
        store.get(rows[1].identity)


@pytest.mark.parametrize("timing", ["", "{", "[]", "5", "[" * 100_000, '{"a"'])
def test_damaged_timing_is_refused_by_name(store: Store, rows: list[Row], timing: str) -> None:
    change(store.database.path, "UPDATE records SET timing = ? WHERE identity = ?", timing, rows[1].identity)
    assert store.get(rows[1].identity) == rows[1].record()
    if timing == "[]":  # an empty list is read as an empty mapping
        assert store.timing(rows[1].identity) == {}
        return
    with pytest.raises(RunError, match=f"the timing of trial {rows[1].identity} in .* is damaged"):
        store.timing(rows[1].identity)


@pytest.mark.parametrize(
    ("column", "value"),
    [("content", 5), ("content", "text"), ("timing", b"\x00"), ("attempts", "often"), ("format", 1.5), ("status", b"ok"), ("sha256", 7.5)],
)
def test_value_of_the_wrong_type_is_damage(store: Store, rows: list[Row], column: str, value: Any) -> None:
    # As if another application had written into the file. A TEXT column converts numbers to texts.
    change(store.database.path, f"UPDATE records SET {column} = ? WHERE identity = ?", value, rows[1].identity)
    with pytest.raises(RunError) as error:
        store.check()  # newer versions of SQLite find it
        store.get(rows[1].identity)
    one_line(error, store.database.path)


def test_unknown_status_is_found_without_reading_the_records(store: Store, rows: list[Row]) -> None:
    change(store.database.path, "UPDATE records SET status = 'fine' WHERE identity = ?", rows[1].identity)
    with pytest.raises(RunError, match="a status is neither ok nor failed"):
        store.statuses()


def in_its_place(path: Path, what: str) -> None:
    """Put something that is not a file of records where the file should be."""
    if what == "text":
        path.write_text("identity,status\n" * 1_000)
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "folder":
        path.mkdir()
    elif what == "dangling link":
        path.symlink_to(path.with_name("nowhere"))
    elif what == "gzip":
        path.write_bytes(b"\x1f\x8b" + bytes(5_000))
    elif what == "database of others":
        change(path, "CREATE TABLE records (identity TEXT)")
    elif what == "database of others, with a write-ahead log":
        change(path, "PRAGMA journal_mode = WAL")
        change(path, "CREATE TABLE mine (name TEXT)")
    elif what == "database without a table":
        change(path, "PRAGMA application_id = 5")
    elif what == "ours without a table":
        change(path, f"PRAGMA application_id = {APPLICATION}")
        change(path, f"PRAGMA user_version = {LAYOUT}")
    else:
        Database(path).create()
        change(path, f"PRAGMA user_version = {LAYOUT + 1}")


PLACES = {
    "text": "is cut off or damaged (file is not a database); save what is whole with `budgetnas export",
    "empty": "is not a file of records of budgetnas; move it away",
    "folder": "cannot read or write",
    "dangling link": "cannot read or write",
    "gzip": "is cut off or damaged (file is not a database)",
    "database of others": "is not a file of records of budgetnas; move it away",
    "database of others, with a write-ahead log": "is not a file of records of budgetnas; move it away",
    "database without a table": "is not a file of records of budgetnas; move it away",
    "later layout": f"was written by a later version of budgetnas (layout {LAYOUT + 1}, not {LAYOUT}); update budgetnas",
}


@pytest.mark.parametrize("what", PLACES)
def test_any_other_file_is_refused_by_name_and_left_unchanged(tmp_path: Path, what: str) -> None:
    store = Store(tmp_path)
    path = store.database.path
    in_its_place(path, what)
    before = path.read_bytes() if path.is_file() else None
    for use in (store.check, store.create, store.database.check, store.database.create):
        with pytest.raises(RunError) as error:
            use()
        assert PLACES[what] in one_line(error, path)
    with pytest.raises(RunError), store.locked():
        pytest.fail("the run was begun")
    assert before is None or path.read_bytes() == before
    assert store.holds_records()  # something exists there, so no run starts from scratch


def test_file_without_the_table_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    in_its_place(store.database.path, "ours without a table")
    for use in (store.statuses, lambda: list(store.rows()), lambda: store.get("0" * 64)):
        with pytest.raises(RunError, match=r"is cut off or damaged .no such table: records") as error:
            use()
        one_line(error, store.database.path)


def test_reading_a_missing_file_does_not_create_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "records.sqlite")
    uses = (database.check, database.statuses, lambda: list(database.rows()), lambda: database.row("x"), lambda: database.write([]))
    for use in uses:
        with pytest.raises(RunError, match=r"cannot read or write .*records.sqlite: unable to open database file"):
            use()
    assert list(tmp_path.iterdir()) == []
    store = Store(tmp_path)
    store.check()
    assert (store.statuses(), list(store.rows()), store.timing("x"), store.holds_records()) == ({}, [], {}, False)
    assert list(tmp_path.iterdir()) == []


def refused_or_the_same(store: Store, expected: dict[str, Row]) -> str:
    """Read everything as a run and its pages do; return 'refused' (the file), 'named' (a record) or 'same'. Missing rows are a failure."""
    try:
        store.check()
        statuses = store.statuses()
        rows = list(store.rows())
    except RunError as error:
        assert str(store.database.path) in str(error) and "\n" not in str(error)
        return "refused"
    assert list(statuses) == [row.identity for row in rows] == list(expected)
    answer = "same"
    for row in rows:
        try:
            assert store.checked(row) == expected[row.identity].record()
            assert statuses[row.identity] == row.status
        except RunError as error:
            assert row.identity in str(error)
            answer = "named"
    return answer


def expected_of(rows: list[Row]) -> dict[str, Row]:
    return {row.identity: row for row in sorted(rows, key=lambda row: row.identity)}


def test_truncated_file_is_refused(store: Store, rows: list[Row]) -> None:
    whole = store.database.path.read_bytes()
    assert refused_or_the_same(store, expected_of(rows)) == "same"
    lengths = {len(whole) * part // 20 for part in range(20)} | {1, 99, 100, 511, 512, PAGE_BYTES, len(whole) - PAGE_BYTES}
    for length in sorted(lengths):
        store.database.path.write_bytes(whole[:length])
        assert refused_or_the_same(store, expected_of(rows)) == "refused", length
        with pytest.raises(RunError), store.locked():
            pytest.fail("the run was begun")
    store.database.path.write_bytes(whole[:-1])  # the last page may not be full
    assert refused_or_the_same(store, expected_of(rows))


def test_a_garbled_page_never_hides_a_row(store: Store, rows: list[Row]) -> None:
    rng = random.Random("garbled")
    whole = store.database.path.read_bytes()
    pages = len(whole) // PAGE_BYTES
    assert pages > 10
    answers = set()
    for number in range(pages):
        start, end = number * PAGE_BYTES, (number + 1) * PAGE_BYTES
        another = (number + 1) % pages * PAGE_BYTES
        for garbled in (rng.randbytes(PAGE_BYTES), bytes(PAGE_BYTES), whole[another : another + PAGE_BYTES]):
            store.database.path.write_bytes(whole[:start] + garbled + whole[end:])
            answers.add(refused_or_the_same(store, expected_of(rows)))
            assert answers <= {"refused", "named"}, number  # no page is empty
    assert answers == {"refused", "named"}


@pytest.mark.slow
def test_changed_bits_never_hide_a_row(store: Store, rows: list[Row]) -> None:
    rng = random.Random("bits")
    whole = store.database.path.read_bytes()
    answers = set()
    for _ in range(500):
        content = bytearray(whole)
        page = rng.randrange(len(whole) // PAGE_BYTES) * PAGE_BYTES
        for _ in range(rng.choice([1, 1, 3])):  # in the header of a page, where a bit matters most, or anywhere in the page
            content[page + rng.randrange(rng.choice([200, PAGE_BYTES]))] ^= 1 << rng.randrange(8)
        store.database.path.write_bytes(content)
        answers.add(refused_or_the_same(store, expected_of(rows)))
    assert answers == {"refused", "named", "same"}


def test_an_index_that_differs_from_the_table_is_refused(store: Store, rows: list[Row]) -> None:
    """SQLite's quick check does not detect it: the trial would run again and be in the file twice."""
    whole = store.database.path.read_bytes()
    name, found = rows[0].identity.encode(), 0
    for place in [at for at in range(len(whole)) if whole.startswith(name, at)]:
        content = bytearray(whole)
        content[place + 63] = ord("0") if content[place + 63] != ord("0") else ord("1")
        store.database.path.write_bytes(content)
        with closing(sqlite3.connect(store.database.path)) as connection:
            ((quick,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        found += quick == "ok"
        with pytest.raises(RunError, match="is cut off or damaged"):
            store.check()
    assert found  # at least one change reached the index


@pytest.mark.parametrize("use", ["read", "write", "discard", "check"])
def test_file_locked_for_too_long_gives_one_line(store: Store, rows: list[Row], use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    with closing(sqlite3.connect(store.database.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        uses = {
            "read": store.statuses,
            "write": lambda: store.write_rows(rows),
            "discard": lambda: store.discard(["x"]),
            "check": store.check,
        }
        with pytest.raises(RunError, match="has been in use by another process for over 0 s; wait and try again"):
            uses[use]()
    assert store.statuses() == {row.identity: row.status for row in rows}


def test_leftovers_of_a_killed_creation_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in (".records.sqlite.x.partial", ".records.sqlite.x.partial-journal"):
        (tmp_path / name).write_bytes(b"half")
    with store.locked():
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "context", "records.sqlite", "timings"]


def test_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(RunError, match=r"records\.sqlite"):
        Database(tmp_path / "records.sqlite", failing).create()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "blocked").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*blocked/records.sqlite: File exists; choose another folder with --out"):
        Database(tmp_path / "blocked" / "records.sqlite").create()
