"""Readers while a run writes: nobody gets an error, every read is whole, and the writer comes through."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from budgetnas.harness.records.commits import Commits
from budgetnas.harness.records.store import Row, Store

pytestmark = pytest.mark.slow

MakeRow = Callable[..., Row]
TRANSACTIONS = 60


class Reader:
    """Reads everything again and again, as pages and exports do, and checks what it reads."""

    def __init__(self, root: Path) -> None:
        self.store, self.seen, self.reads, self.rng = Store(root), dict[str, int](), 0, random.Random("looked up")

    def read(self) -> None:
        """Read once. What was seen before is still there; identities are sorted and each is there once; every record is whole."""
        self.store.check()
        statuses = self.store.statuses()
        assert self.seen.keys() <= statuses.keys()
        versions: dict[str, int] = {}
        for row in self.store.rows():
            assert row.identity > next(reversed(versions), "")
            versions[row.identity] = self.store.checked(row)["version"]
        assert statuses.keys() <= versions.keys()
        assert all(versions[identity] >= version for identity, version in self.seen.items())
        for identity in self.rng.sample(sorted(versions), min(3, len(versions))):
            assert self.store.get(identity)["version"] >= versions[identity]
            assert self.store.timing(identity)["trial_seconds"] == 0.5
        self.seen = versions
        self.reads += 1


def write_all(root: Path, make_row: MakeRow) -> set[str]:
    """Write transactions of a few rows, some of them again, and return the identities."""
    rng = random.Random("written")
    reported: list[Row] = []
    commits = Commits(Store(root), reported.append)
    numbers = 0
    for version in range(TRANSACTIONS):
        for _ in range(rng.randint(1, 20)):
            again = numbers and rng.random() < 0.2
            number = rng.randrange(numbers) if again else numbers
            numbers += not again
            commits.add(make_row(number, size=rng.choice([50, 2_000, 20_000]), version=version))
        commits.write()
    return {row.identity for row in reported}


def read_in_a_process(root: Path, link: Connection) -> None:
    reader = Reader(root)
    reader.read()
    link.send("reading")
    while not link.poll():
        reader.read()
    reader.read()
    link.send((reader.reads, sorted(reader.seen)))


def test_readers_in_processes_of_their_own(tmp_path: Path, make_row: MakeRow) -> None:
    store = Store(tmp_path)
    store.create()
    context = multiprocessing.get_context("spawn")
    links = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=read_in_a_process, args=(tmp_path, theirs), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the link
        links.append((ours, process))
    assert [ours.recv() for ours, _ in links] == ["reading"] * 2
    with store.locked():
        written = write_all(tmp_path, make_row)
    for ours, process in links:
        ours.send("enough")
        reads, seen = ours.recv()
        assert reads >= 2 and set(seen) == written == store.done()
        process.join()
        assert process.exitcode == 0


def test_readers_in_threads(tmp_path: Path, make_row: MakeRow) -> None:
    Store(tmp_path).create()
    readers, errors, ended = [Reader(tmp_path) for _ in range(3)], list[BaseException](), threading.Event()

    def read(reader: Reader) -> None:
        try:
            while not ended.is_set():
                reader.read()
            reader.read()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        written = write_all(tmp_path, make_row)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []
    for reader in readers:
        assert reader.reads >= 2 and set(reader.seen) == written


def test_a_reader_that_stops_half_way_keeps_nobody_waiting(tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two parts of its rows a reader holds no lock, however long it takes."""
    monkeypatch.setattr("budgetnas.harness.records.database.PATIENCE_SECONDS", 0.0)
    store = Store(tmp_path)
    store.create()
    store.write_rows([make_row(number) for number in range(20)])
    rows = store.database.rows(chunk=3)
    found = [next(rows).identity for _ in range(5)]
    store.write_rows([make_row(number) for number in range(20, 40)])
    found += [row.identity for row in rows]
    assert found == sorted(set(found)) and set(found) <= store.done()
    assert {make_row(number).identity for number in range(20)} <= set(found)
