"""The run folder: records in one SQLite file, and beside it the files for the pages and the checkpoints of searches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from budgetnas.harness.records import inbox, migration
from budgetnas.harness.records.database import Connect, Database, Record, Row, RunError, connect
from budgetnas.harness.records.identity import canonical_json
from budgetnas.spaces.files import Busy, exclusive, make_folder, remove_leftovers, write_text

__all__ = ["Record", "Row", "RunError", "Store", "checkpoint_folder"]

DATABASE = "records.sqlite"


class Unwritable(RunError):
    """Raised if this process cannot write a run folder now: it has no permission, or another process is using the folder."""


def checkpoint_folder(root: Path, identity: str) -> Path:
    """Return the folder of a trial's checkpoints in a run folder."""
    return root / "checkpoints" / identity


class Store:
    """A run folder. Every file is written atomically, and a record is safe on disk when the call that wrote it returns.

    Only one process at a time can write: the one inside `locked()`. A folder of version 0.2, with one file for each record, is migrated at
    its first use: see `migration.py`.
    """

    def __init__(self, root: Path, connect: Connect = connect):
        self.root = root
        self.timings = root / "timings"  # of selections, and the versions of packages; the timing of a record is in the row of the record
        self.context = root / "context"
        self.logs = root / "logs"
        self.inbox = root / inbox.FOLDER
        self.database = Database(root / DATABASE, connect)

    def create(self) -> None:
        """Create the folders and the file of records. Raises `RunError` if they cannot be created or the file is damaged."""
        try:
            self._make_folders()
        except OSError as error:
            raise self._unwritable(error) from None
        self.database.create()

    def _make_folders(self) -> None:
        for folder in (self.root, self.timings, self.context):
            make_folder(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process, migrate it if needed, and remove the half-written files of a killed process.

        Raises:
            Unwritable: Another process holds the lock, or the folder cannot be written.
            RunError: The file of records is damaged.
        """
        try:
            self._make_folders()
            lock = exclusive(self.root / ".lock", wait=False)
            lock.__enter__()
        except Busy:
            raise Unwritable(f"another process is using {self.root}; wait for it, or choose another folder with --out") from None
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            try:
                for folder in (self.root, self.timings, self.context):
                    remove_leftovers(folder)
            except OSError as error:
                raise self._unwritable(error) from None
            shutil.rmtree(self.inbox, ignore_errors=True)
            migration.migrate(self.root, self.database)
            self.create()
            yield
        finally:
            lock.__exit__(None, None, None)

    def take_over(self) -> None:
        """Migrate a folder of version 0.2 before it is read. If it cannot be written or another process uses it, nothing is changed."""
        if migration.is_old(self.root):
            try:
                with self.locked():
                    pass
            except Unwritable:
                pass

    def drop_checkpoints(self, identity: str) -> None:
        """Delete the checkpoints of a trial that has its record."""
        shutil.rmtree(checkpoint_folder(self.root, identity), ignore_errors=True)

    def statuses(self) -> dict[str, str]:
        """Return the status of every record, 'ok' or 'failed', by identity."""
        old: dict[str, str] = {}
        if migration.is_old(self.root):  # not migrated: see `take_over`
            with suppress(migration.Migrated):
                old = {row.identity: row.status for row in migration.old_rows(self.root)}
        return old | (self.database.statuses() if self.database.exists() else {})

    def holds_records(self) -> bool:
        """Return whether the folder has a file of records, or records of version 0.2."""
        return self.database.exists() or migration.is_old(self.root)

    def check(self) -> None:
        """Raise `RunError` if the file of records is truncated, damaged, or from a later version of budgetnas."""
        if self.database.exists():
            self.database.check()

    def done(self) -> set[str]:
        """Return the identities of all trials that have a record."""
        return set(self.statuses())

    def rows(self) -> Iterator[Row]:
        """Yield all rows, sorted by identity, read in short transactions."""
        last = ""
        if migration.is_old(self.root):
            with suppress(migration.Migrated):
                kept = self.database.rows() if self.database.exists() else iter(())
                for row in migration.with_old_rows(self.root, kept):
                    yield row
                    last = row.identity
                return
        if self.database.exists():
            yield from (row for row in self.database.rows() if row.identity > last)

    def row(self, identity: str) -> Row:
        """Return the row of a trial. Raises `RunError` if there is none."""
        found = self._row(identity)
        if found is None:
            raise RunError(
                f"the record of trial {identity} is missing in {self.database.path}; run the study again: other records are kept"
            )
        return found

    def get(self, identity: str) -> Record:
        """Return the record of a trial. Raises `RunError` if it is missing, was changed, or has an unknown format."""
        return self.checked(self.row(identity))

    def checked(self, row: Row) -> Record:
        """Return the record of a row. Raises `RunError` if it was changed or has an unknown format."""
        try:
            return row.record()
        except ValueError as error:
            raise RunError(
                f"the record of trial {row.identity} in {self.database.path} cannot be used: {error}; "
                f"save the others with `budgetnas export {self.root} --recover`"
            ) from None

    def timing(self, identity: str) -> dict[str, Any]:
        """Return the timing of a trial; empty if the trial has no record. Raises `RunError` if it is damaged."""
        found = self._row(identity)
        try:
            return dict(json.loads(found.timing)) if found else {}
        except (ValueError, TypeError, RecursionError):
            raise RunError(f"the timing of trial {identity} in {self.database.path} is damaged; run the study in another folder") from None

    def _row(self, identity: str) -> Row | None:
        if migration.is_old(self.root):
            with suppress(migration.Migrated):
                found = next((row for row in migration.old_rows(self.root) if row.identity == identity), None)
                if found is not None:
                    return found
        return self.database.row(identity) if self.database.exists() else None

    def put(self, record: Record, timing: dict[str, Any] | None = None) -> None:
        """Write one record and its timing."""
        self.write_rows([Row.of(record, timing)])

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Write finished trials in one transaction. An existing record is replaced, and the numbers of attempts are added."""
        self.database.write(rows)

    def discard(self, identities: Iterable[str]) -> None:
        """Delete records, so that their trials run again."""
        self.database.discard(identities)

    def write(self, path: Path, value: Any) -> None:
        """Write a value as canonical JSON to `path`, atomically. Raises `RunError` if the file cannot be written."""
        text = canonical_json(value) + "\n"
        text.encode()  # raises for a lone surrogate, outside the block below, because the disk is not to blame
        try:
            write_text(path, text)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}; make room or choose another folder, and run the study again") from None

    def delete(self, path: Path) -> None:
        """Delete a file of the run if it exists. Raises `RunError` if that fails."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"cannot delete {path}: {error.strerror}; delete it yourself, and run the study again") from None

    def read(self, path: Path) -> Any:
        """Return the JSON value in a file of the run. Raises `RunError` if it is missing or damaged."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} is missing; run the study again: existing records are kept") from None
        except (ValueError, RecursionError, OSError) as error:
            raise RunError(f"{path} is damaged ({error}); delete it and run the study again") from None

    def _unwritable(self, error: OSError) -> Unwritable:
        return Unwritable(f"cannot write the run into {self.root}: {error.strerror}; choose another folder with --out")
