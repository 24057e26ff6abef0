"""The SQLite file with the records of a run: one row for each record, checked at every read.

The file uses a rollback journal and `synchronous=EXTRA`, so that a committed row survives a power failure. `FULL` would not be enough: it
does not sync the folder after it deletes the journal, and a journal whose deletion is lost rolls back the last commit. A write-ahead log is
never used, because it is not safe on network file systems. Only the process that holds the run's lock writes; others read in short
transactions.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from budgetnas.harness.records.identity import canonical_json, identity_of
from budgetnas.spaces.files import replacing

LAYOUT = 1  # version of the tables and columns of the file
FORMAT = 1  # version of the JSON of a record
APPLICATION = 0x62756467  # 'budg', the application id in the header of the file
PAGE_BYTES = 16_384  # records of a few kilobytes fill such a page well
PATIENCE_SECONDS = 60.0  # how long a process waits while another one reads or writes
CHUNK = 500  # rows read in one transaction
LARGEST_RECORD = 2**28  # bytes of JSON
STATUSES = frozenset({"ok", "failed"})
COLUMNS = ("identity", "format", "status", "attempts", "migrated", "sha256", "content", "timing")
_KINDS = (str, int, str, int, int, str, bytes, str)
_TABLE = """CREATE TABLE records (
  identity TEXT NOT NULL UNIQUE,  -- of the trial: 64 hexadecimal digits
  format INTEGER NOT NULL,        -- of the record
  status TEXT NOT NULL,           -- ok, or failed
  attempts INTEGER NOT NULL,      -- how often the trial was run to an end
  migrated INTEGER NOT NULL,      -- 1: taken over from a folder of version 0.2
  sha256 TEXT NOT NULL,           -- of the canonical JSON
  content BLOB NOT NULL,          -- the canonical JSON, compressed by zlib
  timing TEXT NOT NULL            -- JSON: what depends on the machine and its clock
)"""
_INSERT = (
    f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (identity) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:] if name != "attempts")
    + ", attempts = records.attempts + excluded.attempts"
)
Record = dict[str, Any]
Connect = Callable[[Path], Any]  # returns a connection of sqlite3, or of a library with the same methods


class RunError(ValueError):
    """Raised if a run folder cannot be used as requested. The message names the fault and the remedy."""


@dataclass(frozen=True, slots=True)
class Row:
    """A finished trial as stored in the file. `content` is the canonical JSON of its record, compressed with zlib."""

    identity: str
    status: str
    sha256: str
    content: bytes
    timing: str = "{}"
    attempts: int = 1
    migrated: bool = False
    format: int = FORMAT

    @classmethod
    def of(cls, record: Record, timing: dict[str, Any] | None = None, attempts: int = 1, migrated: bool = False) -> Row:
        """Return the row for a record and its timing. Raises ValueError or TypeError for values that JSON cannot represent."""
        text = canonical_json(record).encode()
        digest = hashlib.sha256(text).hexdigest()
        kept = canonical_json(timing or {})
        kept.encode()  # raises for a lone surrogate, which UTF-8 cannot encode
        return cls(str(record["identity"]), str(record["status"]), digest, zlib.compress(text, 6), kept, attempts, migrated)

    def json(self) -> bytes:
        """Return the canonical JSON of the record. Raises ValueError if its checksum or its format is wrong."""
        if self.format != FORMAT:
            raise ValueError(f"its format is {self.format}, and this version of budgetnas reads {FORMAT}: update budgetnas")
        inflate = zlib.decompressobj()
        try:
            text = inflate.decompress(self.content, LARGEST_RECORD)
        except zlib.error:
            raise ValueError("it was changed or damaged") from None
        if not inflate.eof or inflate.unused_data or hashlib.sha256(text).hexdigest() != self.sha256:
            raise ValueError("it was changed or damaged")
        return text

    def record(self) -> Record:
        """Return the record. Raises ValueError as `json` does, and if the record does not belong to the trial of this row."""
        text = self.json()
        try:
            record = from_json(text)  # twice as fast as the standard library
        except ValueError:  # nested too deep
            record = None
        if not is_record(record, self.identity) or record["status"] != self.status:
            raise ValueError("it is not the record of the trial that it is kept for")
        return dict(record)


def is_record(record: Any, identity: str) -> bool:
    """Return whether a JSON value is a record of the trial with this identity."""
    if not isinstance(record, dict) or record.get("identity") != identity or record.get("status") not in STATUSES:
        return False
    try:
        return identity_of(record.get("trial")) == identity
    except (ValueError, RecursionError):  # for example NaN, which only an edited record can contain
        return False


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to an existing file, without automatic transactions."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=PATIENCE_SECONDS, isolation_level=None)


class Database:
    """The records of a run in one SQLite file. Its methods raise `RunError`; the message names the file and the remedy."""

    def __init__(self, path: Path, connect: Connect = connect):
        self.path = path
        self._connect = connect

    @property
    def journal(self) -> Path:
        """The file in which SQLite keeps what a transaction in progress replaces."""
        return self.path.with_name(f"{self.path.name}-journal")

    def exists(self) -> bool:
        """Return whether the file, or anything else, exists at the path."""
        return self.path.exists() or self.path.is_symlink()

    def create(self) -> None:
        """Create the file with an empty table, atomically; if it exists, check it instead."""
        if not self.exists():
            try:
                with replacing(self.path) as partial:  # the first transaction syncs the folder
                    self.fill(partial)
                    self.journal.unlink(missing_ok=True)  # of a file that was deleted: SQLite would apply it to the new one
            except OSError as error:
                raise RunError(f"cannot write {self.path}: {error.strerror}; choose another folder with --out") from None
        self.check()

    def fill(self, place: Path | None = None) -> None:
        """Write an empty table into an empty file: the file of this object, or the one at `place`, which is then renamed to it."""
        with self._open(writing=True, place=place) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
            connection.execute("COMMIT")

    def check(self) -> None:
        """Raise `RunError` if the file is truncated or damaged, is not a file of records, or is from a later version of budgetnas.

        The records themselves are checked when they are read.
        """
        with self._open() as connection:
            self._check(connection)

    def statuses(self) -> dict[str, str]:
        """Return the status of every record, 'ok' or 'failed', by identity."""
        found: dict[str, str] = {}
        with self._open() as connection:
            last = ""
            while rows := connection.execute(
                "SELECT identity, status FROM records WHERE identity > ? ORDER BY identity LIMIT ?", (last, 100 * CHUNK)
            ).fetchall():
                found.update(rows)
                last = rows[-1][0]
        if not set(found.values()) <= STATUSES:
            raise self._damaged("a status is neither ok nor failed")
        return found

    def rows(self, chunk: int = CHUNK) -> Iterator[Row]:
        """Yield all rows, sorted by identity. Each chunk of rows is read in a separate transaction, so that a writer never waits long."""
        with self._open() as connection:
            last = ""
            while True:
                found = connection.execute(
                    f"SELECT {', '.join(COLUMNS)} FROM records WHERE identity > ? ORDER BY identity LIMIT ?", (last, chunk)
                ).fetchall()
                if not found:
                    return
                for values in found:
                    yield self._row(values)
                last = found[-1][0]

    def row(self, identity: str) -> Row | None:
        """Return the row with an identity, or None if there is none."""
        with self._open() as connection:
            found = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM records WHERE identity = ?", (identity,)).fetchall()
        return self._row(found[0]) if found else None

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows in one transaction. When this returns, they survive a power failure.

        A row with the same identity is replaced, and its number of attempts is added to that of the new row.
        """
        values = [
            (row.identity, row.format, row.status, row.attempts, int(row.migrated), row.sha256, row.content, row.timing) for row in rows
        ]
        with self._open(writing=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(_INSERT, values)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    def discard(self, identities: Iterable[str]) -> None:
        """Delete the rows with these identities; unknown ones are ignored."""
        with self._open(writing=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("DELETE FROM records WHERE identity = ?", [(identity,) for identity in identities])
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    def _row(self, values: Sequence[Any]) -> Row:
        try:
            return row_of(values)
        except ValueError as error:
            raise self._damaged(str(error)) from None

    def _check(self, connection: Any) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise RunError(f"{self.path} is not a file of records of budgetnas; move it away, and run the study again")
        if layout > LAYOUT:
            raise RunError(f"{self.path} was written by a later version of budgetnas (layout {layout}, not {LAYOUT}); update budgetnas")
        # SQLite's quick check would not compare the table with its index, and records are found by the index.
        ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if found != "ok":
            raise self._damaged(found)

    @contextmanager
    def _open(self, writing: bool = False, place: Path | None = None) -> Iterator[Any]:
        try:
            with closing(self._connect(place or self.path)) as connection:
                if writing:
                    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                    connection.execute("PRAGMA journal_mode = DELETE")
                    connection.execute("PRAGMA synchronous = EXTRA")
                    connection.execute("PRAGMA secure_delete = ON")  # salvaging a damaged file must not restore a deleted record
                yield connection
        except (sqlite3.Error, UnicodeDecodeError) as error:  # UnicodeDecodeError: SQLite's message may contain a garbled name
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> RunError:
        text = str(error)
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith("SQLITE_FULL"):
            return RunError(f"cannot write {self.path}: No space left on device; make room, and run the study again")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return RunError(f"{self.path} has been in use by another process for over {PATIENCE_SECONDS:.0f} s; wait and try again")
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_PERM", "SQLITE_AUTH")):
            return RunError(f"cannot read or write {self.path}: {text}; check the folder, or choose another one with --out")
        return self._damaged(text)

    def _damaged(self, text: str) -> RunError:
        journal = f"delete {self.journal.name}, " if self.journal.exists() else ""
        return RunError(
            f"{self.path} is cut off or damaged ({' '.join(text.split()):.100}); save what is whole with `budgetnas export "
            f"{self.path.parent} --recover --format sqlite --out NEW.sqlite`, {journal}put that file in its place, and run the study again"
        )


def row_of(values: Sequence[Any]) -> Row:
    """Return a row from the values of `COLUMNS`. Raises ValueError if a value does not have the type of its column."""
    for name, kind, value in zip(COLUMNS, _KINDS, values, strict=True):
        if not isinstance(value, kind):
            raise ValueError(f"column {name} holds a value of another type")
    identity, number, status, attempts, migrated, digest, content, timing = values
    return Row(identity, status, digest, content, timing, attempts, bool(migrated), number)


def _roll_back(connection: Any) -> None:
    try:
        connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # there was nothing to roll back, or the file is gone; the original error explains more
