"""A power failure at any moment of a run: every reported row survives, and every surviving row is intact.

The real code runs on a file system that logs its calls. Then the power fails at a random moment, and the disk holds:

- everything that was synced to a file;
- a random part of the writes since then: each 512-byte sector of each write is on the disk or not, in any order, and the write in progress
  is cut at a random byte. Where a file grew, missing bytes are zeros or garbage. Bytes next to a write do not change (SQLite's "powersafe
  overwrite"). A truncation took effect or not;
- all changes to the folder (files created, deleted, renamed) before its last sync, and a random number of the first changes after it: as on
  a journaling file system, a later change is never on the disk without the earlier ones. So a deletion without a later sync of the folder
  may be undone, and then the file has its synced content.

SQLite syncs the folder when it first syncs a new journal, and when it deletes a journal with its flag `syncdir`. Disks that report a write
as safe too early, or that change sectors that were not written, are not modelled.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from budgetnas.harness.records.commits import Commits
from budgetnas.harness.records.database import Database, Row, RunError, connect
from budgetnas.harness.records.store import DATABASE, Store

pytestmark = pytest.mark.slow

apsw = pytest.importorskip("apsw", reason="apsw is not installed")

SECTOR = 512
POINTS = 600
MakeRow = Callable[..., Row]


@dataclass(frozen=True)
class Write:
    file: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    file: int
    size: int


@dataclass(frozen=True)
class Sync:
    file: int


@dataclass(frozen=True)
class Made:
    name: str
    file: int


@dataclass(frozen=True)
class Deleted:
    name: str


@dataclass(frozen=True)
class Renamed:
    name: str
    to: str


@dataclass(frozen=True)
class FolderSync:
    pass


@dataclass(frozen=True)
class Begun:
    """A row was passed to the store."""

    row: Row


@dataclass(frozen=True)
class Reported:
    row: Row


Change = Made | Deleted | Renamed
Event = Write | Truncate | Sync | Change | FolderSync | Begun | Reported


@dataclass
class Log:
    """The calls to the file system in one folder, in order. A file keeps its number when it is renamed."""

    events: list[Event] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def file(self, name: str) -> int:
        if name not in self.names:
            self.names[name] = next(self.numbers)
            self.events.append(Made(name, self.names[name]))
        return self.names[name]

    def delete(self, name: str) -> None:
        del self.names[name]
        self.events.append(Deleted(name))

    def rename(self, name: str, to: str) -> None:
        self.names[to] = self.names.pop(name)
        self.events.append(Renamed(name, to))


class LoggedFile(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, base: str, name: Any, flags: list[int], log: Log):
        super().__init__(base, name, flags)
        path = name if isinstance(name, str) else name.filename()
        known = Path(path).name in log.names
        self.log, self.file = log, log.file(Path(path).name)
        self.syncs_folder = not known and bool(flags[0] & apsw.SQLITE_OPEN_MAIN_JOURNAL)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.log.events.append(Write(self.file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self.log.events.append(Truncate(self.file, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.log.events.append(Sync(self.file))
        if self.syncs_folder:
            self.log.events.append(FolderSync())
            self.syncs_folder = False
        super().xSync(flags)

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)


class LoggedFileSystem(apsw.VFS):  # type: ignore[misc]
    def __init__(self, log: Log):
        self.log = log
        self.called = f"logged-{id(log)}"
        super().__init__(self.called, base="")

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        return apsw.VFSFile("", name, flags) if name is None else LoggedFile("", name, flags, self.log)

    def xDelete(self, path: str, sync: bool) -> None:  # noqa: N802
        self.log.delete(Path(path).name)
        if sync:
            self.log.events.append(FolderSync())
        super().xDelete(path, sync)


def logged_run(root: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch, synchronous: str = "") -> Log:
    """Make a run folder and write a few dozen transactions; return the log of its disk. `synchronous` replaces the setting of the code."""
    log = Log()
    system = LoggedFileSystem(log)

    class Connection(apsw.Connection):  # type: ignore[misc]
        def execute(self, statement: str, *values: Any) -> Any:
            if synchronous and statement.startswith("PRAGMA synchronous"):
                statement = f"PRAGMA synchronous = {synchronous}"
            return super().execute(statement, *values)

    def connect_logged(path: Path) -> Any:
        return Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=system.called)

    replace = Path.replace

    def rename(path: Path, target: Path) -> Path:
        if path.parent == root:
            log.rename(path.name, Path(target).name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", rename)
    rng = random.Random("what is written")
    store = Store(root, connect_logged)
    store.create()
    commits = Commits(store, lambda row: log.events.append(Reported(row)), clock=lambda: 0.0)
    for step in range(120):
        # Every fourth row is a trial that runs again; some records need overflow pages.
        number = rng.randrange(step) if step % 4 == 3 else step
        row = make_row(number, size=rng.choice([10, 300, 2_000, 2_000, 40_000]), version=step, status=rng.choice(["ok", "failed"]))
        log.events.append(Begun(row))
        commits.add(row)
        if rng.random() < 0.2:
            commits.write()
    commits.write()
    monkeypatch.undo()
    return log


@dataclass
class Disk:
    """The state of a disk: what is safe, and what was written since."""

    safe: dict[int, bytearray] = field(default_factory=dict)
    unsafe: dict[int, list[Write | Truncate]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def take(self, event: Event) -> None:
        match event:
            case Write(file) | Truncate(file):
                self.unsafe.setdefault(file, []).append(event)
            case Sync(file):
                for each in self.unsafe.pop(file, []):
                    apply(self.safe.setdefault(file, bytearray()), each)
            case Made() | Deleted() | Renamed():
                self.changes.append(event)
            case FolderSync():
                for change in self.changes:
                    follow(self.names, change)
                self.changes.clear()

    def after_failure(self, rng: random.Random, last: Event | None = None) -> dict[str, bytes]:
        """Return the files found after a power failure. `last` was in progress: a write is cut at a random byte."""
        names = dict(self.names)
        for change in self.changes[: rng.randint(0, len(self.changes))]:
            follow(names, change)
        share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        torn = [Write(last.file, last.offset, last.data[: rng.randint(0, len(last.data))])] if isinstance(last, Write) else []
        return {name: bytes(self._content(file, share, rng, torn)) for name, file in names.items()}

    def _content(self, file: int, share: float, rng: random.Random, torn: list[Write]) -> bytearray:
        content = bytearray(self.safe.get(file, b""))
        fill = rng.choice([bytes, rng.randbytes])
        for each in [*self.unsafe.get(file, []), *torn]:
            for part in sectors(each) if each.file == file else ():
                if rng.random() < share:
                    apply(content, part, fill)
        return content


def sectors(change: Write | Truncate) -> Iterator[Write | Truncate]:
    """Yield the parts of a change that reach the disk independently of each other."""
    if isinstance(change, Truncate):
        yield change
        return
    start = change.offset
    while start < change.offset + len(change.data):
        end = min((start // SECTOR + 1) * SECTOR, change.offset + len(change.data))
        yield Write(change.file, start, change.data[start - change.offset : end - change.offset])
        start = end


def apply(content: bytearray, change: Write | Truncate, fill: Callable[[int], bytes] = bytes) -> None:
    if isinstance(change, Truncate):
        del content[change.size :]
        return
    if change.offset > len(content):
        content += fill(change.offset - len(content))
    content[change.offset : change.offset + len(change.data)] = change.data


def follow(names: dict[str, int], change: Change) -> None:
    match change:
        case Made(name, file):
            names[name] = file
        case Deleted(name):
            del names[name]
        case Renamed(name, to):
            names[to] = names.pop(name)


def connect_quickly(path: Path) -> sqlite3.Connection:
    """Return a connection that rolls back a journal without waiting for the disk of this machine."""
    connection = connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def fault_of(files: dict[str, bytes], begun: list[Row], reported: list[Row], folder: Path) -> str:
    """Return what is wrong with the files found after a failure, or ''."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    database = Database(folder / DATABASE, connect_quickly)
    if not database.exists():
        return "the file is gone" if reported else ""
    try:
        database.check()
        rows = list(database.rows())
        number = len(database.statuses())
    except RunError as error:
        return str(error)
    found = {row.identity: row for row in rows}
    if len(found) != len(rows) or number != len(rows):
        return "a record is there twice"
    written = {(row.identity, row.sha256, row.content, row.timing) for row in begun}
    if not {(row.identity, row.sha256, row.content, row.timing) for row in rows} <= written:
        return "a record was never written"
    for identity, last in {row.identity: row for row in reported}.items():
        later = itertools.dropwhile(lambda row: row is not last, begun)  # noqa: B023
        if identity not in found or found[identity].sha256 not in {row.sha256 for row in later if row.identity == identity}:
            return "a reported record is missing, or was replaced by an earlier one"
    return ""


def faults(log: Log, points: int, folder: Path) -> tuple[list[str], int]:
    """Return the faults after power failures at `points` random moments, and how often a journal was found beside the file."""
    rng = random.Random("when the power fails")
    disk, begun, reported, found, journals = Disk(), list[Row](), list[Row](), list[str](), 0
    moments = Counter(rng.randrange(len(log.events)) for _ in range(points))
    for moment, event in enumerate(log.events):
        for number in range(moments[moment]):
            files = disk.after_failure(rng, event)
            journals += DATABASE in files and len(files.get(f"{DATABASE}-journal", b"")) > 0
            if fault := fault_of(files, begun, reported, folder / f"{moment}-{number}"):
                found.append(f"at event {moment}: {fault}")
        disk.take(event)
        if isinstance(event, Begun):
            begun.append(event.row)
        if isinstance(event, Reported):
            reported.append(event.row)
    return found, journals


def test_reported_rows_survive_a_power_failure_at_any_moment(tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logged_run(tmp_path / "run", make_row, monkeypatch)
    assert sum(isinstance(event, Reported) for event in log.events) == 120
    assert {type(event) for event in log.events} >= {Write, Sync, Made, Deleted, Renamed, FolderSync}
    found, journals = faults(log, POINTS, tmp_path)
    assert found == []
    assert journals > POINTS // 10  # some failures were in the middle of transactions


def test_power_failures_detect_a_file_that_is_not_synced(tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logged_run(tmp_path / "run", make_row, monkeypatch, synchronous="OFF")
    found, _ = faults(log, POINTS // 3, tmp_path)
    assert any("the file is gone" in fault for fault in found) and any("damaged" in fault for fault in found)


def test_power_failures_detect_a_folder_that_is_not_synced(tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `FULL` the folder is not synced after the journal is deleted: the last commit can be rolled back, but nothing else."""
    log = logged_run(tmp_path / "run", make_row, monkeypatch, synchronous="FULL")
    found, _ = faults(log, POINTS // 3, tmp_path)
    assert found and all("a reported record is missing" in fault for fault in found)


def test_replayed_log_equals_the_file(tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logged_run(tmp_path / "run", make_row, monkeypatch)
    disk = Disk()
    for event in log.events:
        disk.take(event)
    assert disk.after_failure(random.Random(0)) == {DATABASE: (tmp_path / "run" / DATABASE).read_bytes()}
