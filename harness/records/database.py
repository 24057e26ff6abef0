"""The SQLite file that holds the records of a run: one row a record, checked whenever it is read.

The file has a rollback journal and `synchronous=FULL`: what was committed is there after a power failure. It never has a write-ahead log,
which is not safe on network file systems. One process writes, the one that holds the run's lock; others read in short transactions.
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

LAYOUT = 1  # of the file: its tables and columns
FORMAT = 1  # of a record: what its JSON holds
APPLICATION = 0x62756467  # 'budg', in the file's header
PAGE_BYTES = 16_384  # records of a few kilobytes fill such a page well
PATIENCE_SECONDS = 60.0  # how long a process waits for another one that reads or writes
CHUNK = 500  # rows read in one transaction
LARGEST_RECORD = 2**28  # bytes of JSON
COLUMNS = ("identity", "format", "status", "attempts", "migrated", "sha256", "content", "timing")
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
Connect = Callable[[Path], Any]  # a connection of sqlite3, or of a library with the same calls


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message names the fault and the remedy."""


@dataclass(frozen=True, slots=True)
class Row:
    """A finished trial as the file keeps it. `content` is the canonical JSON of its record, compressed."""

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
        """Return the row of a record and its timing. Raises ValueError or TypeError for values that JSON does not have."""
        text = canonical_json(record).encode()
        digest = hashlib.sha256(text).hexdigest()
        kept = canonical_json(timing or {})
        return cls(str(record["identity"]), str(record["status"]), digest, zlib.compress(text, 6), kept, attempts, migrated)

    def json(self) -> bytes:
        """Return the canonical JSON. Raises ValueError unless it is, to the byte, what was written, and of the trial that the row names."""
        if self.format != FORMAT:
            raise ValueError(f"its format is {self.format}, and this version of budgetnas reads {FORMAT}: update budgetnas")
        inflate = zlib.decompressobj()
        try:
            text = inflate.decompress(self.content, LARGEST_RECORD)
        except zlib.error:
            raise ValueError("it was changed or damaged") from None
        if inflate.unconsumed_tail or hashlib.sha256(text).hexdigest() != self.sha256:
            raise ValueError("it was changed or damaged")
        return text

    def record(self) -> Record:
        """Return the record. Raises ValueError as `json` does, and if the record is of another trial than its row."""
        record = from_json(self.json())  # in half the time of json's
        if not is_record(record, self.identity) or record["status"] != self.status:
            raise ValueError("it is not the record of the trial that it is kept for")
        return dict(record)


def is_record(record: Any, identity: str) -> bool:
    """Return whether a JSON value is a record of the trial with this identity."""
    if not isinstance(record, dict) or record.get("identity") != identity or record.get("status") not in ("ok", "failed"):
        return False
    try:
        return identity_of(record.get("trial")) == identity
    except (ValueError, RecursionError):  # NaN and the like, which only an edited record has
        return False


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to the file, made if it is missing; transactions are begun and ended by hand."""
    return sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None)


class Database:
    """The records of a run in one SQLite file. Methods raise `RunError` with a line that names the file and the remedy."""

    def __init__(self, path: Path, connect: Connect = connect):
        self.path = path
        self._connect = connect

    def exists(self) -> bool:
        """Return whether the file is there."""
        return self.path.is_file()

    def create(self) -> None:
        """Make the file with an empty table unless it is there; if it is, check that it is whole."""
        with self._open(writing=True) as connection:
            (layout,) = connection.execute("PRAGMA user_version").fetchone()
            if layout == 0 and not connection.execute("SELECT name FROM sqlite_master").fetchall():
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {LAYOUT}")
                connection.execute("COMMIT")
            self._check(connection)

    def check(self) -> None:
        """Raise `RunError` if the file is cut off, garbled, no file of records, or of a later version of budgetnas."""
        with self._open() as connection:
            self._check(connection)

    def statuses(self) -> dict[str, str]:
        """Return the status of every record by identity: 'ok' or 'failed'."""
        found: dict[str, str] = {}
        with self._open() as connection:
            last = ""
            while rows := connection.execute(
                "SELECT identity, status FROM records WHERE identity > ? ORDER BY identity LIMIT ?", (last, 100 * CHUNK)
            ).fetchall():
                found.update(rows)
                last = rows[-1][0]
        return found

    def rows(self, chunk: int = CHUNK) -> Iterator[Row]:
        """Yield every row in the order of identities. Each chunk is a transaction of its own, so that a writer never waits for long."""
        with self._open() as connection:
            last = ""
            while True:
                found = connection.execute(
                    f"SELECT {', '.join(COLUMNS)} FROM records WHERE identity > ? ORDER BY identity LIMIT ?", (last, chunk)
                ).fetchall()
                if not found:
                    return
                for values in found:
                    yield row_of(values)
                last = found[-1][0]

    def row(self, identity: str) -> Row | None:
        """Return the row with an identity, or None."""
        with self._open() as connection:
            found = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM records WHERE identity = ?", (identity,)).fetchall()
        return row_of(found[0]) if found else None

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows in one transaction: after the return they outlast a power failure. A row with the same identity is replaced.

        Its attempts are counted on.
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
        """Delete the rows with these identities, if they are there."""
        with self._open(writing=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("DELETE FROM records WHERE identity = ?", [(identity,) for identity in identities])
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    def _check(self, connection: Any) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise RunError(f"{self.path} is not a file of records of budgetnas; move it away, and run the study again")
        if layout > LAYOUT:
            raise RunError(f"{self.path} was written by a later version of budgetnas (layout {layout}, not {LAYOUT}); update budgetnas")
        ((found,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise self._damaged(found)

    @contextmanager
    def _open(self, writing: bool = False) -> Iterator[Any]:
        try:
            with closing(self._connect(self.path)) as connection:
                if writing:
                    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                    connection.execute("PRAGMA journal_mode = DELETE")
                    connection.execute("PRAGMA synchronous = FULL")
                    connection.execute("PRAGMA secure_delete = ON")  # a deleted record must not come back when a damaged file is salvaged
                yield connection
        except sqlite3.Error as error:
            raise self._explained(error) from None

    def _explained(self, error: sqlite3.Error) -> RunError:
        text = str(error)
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith("SQLITE_FULL"):
            return RunError(f"cannot write {self.path}: No space left on device; make room, and run the study again")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return RunError(f"{self.path} is in use by another process for over {PATIENCE_SECONDS:.0f} s; wait for it and try again")
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_PERM", "SQLITE_AUTH")):
            return RunError(f"cannot read or write {self.path}: {text}; check the folder, or choose another one with --out")
        return self._damaged(text)

    def _damaged(self, text: str) -> RunError:
        return RunError(
            f"{self.path} is cut off or damaged ({' '.join(text.split()):.100}); save what is whole with `budgetnas export "
            f"{self.path.parent} --recover --format sqlite --out NEW.sqlite`, put that file in its place, and run the study again"
        )


def row_of(values: Sequence[Any]) -> Row:
    """Return a row from the values of `COLUMNS`."""
    identity, number, status, attempts, migrated, digest, content, timing = values
    return Row(str(identity), str(status), str(digest), bytes(content), str(timing), int(attempts), bool(migrated), int(number))


def _roll_back(connection: Any) -> None:
    try:
        connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # there was nothing to roll back, or the file is gone: the first error says more
