"""The folder of a run: records in one SQLite file, and beside it what pages need and what a search goes on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from budgetnas.harness.records import inbox, migration
from budgetnas.harness.records.database import Connect, Database, Record, Row, RunError, connect
from budgetnas.harness.records.identity import canonical_json
from budgetnas.spaces.files import Busy, exclusive, make_folder, remove_leftovers, write_text

__all__ = ["Record", "Row", "RunError", "Store", "checkpoint_folder"]

DATABASE = "records.sqlite"


class Unwritable(RunError):
    """A run folder that this process may not write now: no permission, or another process is at work in it."""


def checkpoint_folder(root: Path, identity: str) -> Path:
    """Return where a trial of a run keeps its checkpoints."""
    return root / "checkpoints" / identity


class Store:
    """The folder of a run. Every file is written whole or not at all, and a record is there when the call that wrote it has returned.

    One process at a time may write, the one that is inside `locked()`. A folder of version 0.2, with a file a record, is taken over when it
    is first used: see `migration.py`.
    """

    def __init__(self, root: Path, connect: Connect = connect):
        self.root = root
        self.timings = root / "timings"  # of selections, and the versions of packages; a record's timing is beside it
        self.context = root / "context"
        self.logs = root / "logs"
        self.inbox = root / inbox.FOLDER
        self.database = Database(root / DATABASE, connect)

    def create(self) -> None:
        """Make the folders and the file of records. Raises `RunError` if they cannot be made or the file is damaged."""
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
        """Hold the run for this process. Raises `RunError` if another process holds it. Half-written files of a killed one are removed."""
        try:
            self._make_folders()
            lock = exclusive(self.root / ".lock", wait=False)
            lock.__enter__()
        except Busy:
            raise Unwritable(f"another process is at work in {self.root}; wait for it, or choose another folder with --out") from None
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            for folder in (self.root, self.timings, self.context):
                remove_leftovers(folder)
            shutil.rmtree(self.inbox, ignore_errors=True)
            migration.migrate(self.root, self.database)
            self.create()
            yield
        finally:
            lock.__exit__(None, None, None)

    def take_over(self) -> None:
        """Take over a folder of version 0.2 before it is read. Where it cannot be written, or a run is at work, it is read as it is."""
        if migration.is_old(self.root):
            try:
                with self.locked():
                    pass
            except Unwritable:
                pass

    def drop_checkpoints(self, identity: str) -> None:
        """Delete what a trial kept to go on from: it has its record."""
        shutil.rmtree(checkpoint_folder(self.root, identity), ignore_errors=True)

    def statuses(self) -> dict[str, str]:
        """Return the status of every record by identity: 'ok' or 'failed'."""
        kept = self.database.statuses() if self.database.exists() else {}
        if migration.is_old(self.root):  # it is read as it is: see `take_over`
            return {row.identity: row.status for row in migration.old_rows(self.root)} | kept
        return kept

    def holds_records(self) -> bool:
        """Return whether there is a file of records, or a folder of version 0.2."""
        return self.database.exists() or migration.is_old(self.root)

    def check(self) -> None:
        """Raise `RunError` if the file of records is cut off, garbled, or of a later version of budgetnas."""
        if self.database.exists():
            self.database.check()

    def done(self) -> set[str]:
        """Return the identities that have a record."""
        return set(self.statuses())

    def rows(self) -> Iterator[Row]:
        """Yield every row in the order of identities, read in short transactions."""
        kept = self.database.rows() if self.database.exists() else iter(())
        return migration.with_old_rows(self.root, kept) if migration.is_old(self.root) else kept

    def row(self, identity: str) -> Row:
        """Return the row of a trial. Raises `RunError` if there is none."""
        found = self._row(identity)
        if found is None:
            raise RunError(f"the record of trial {identity} is missing in {self.database.path}; run the study again: what is there is kept")
        return found

    def get(self, identity: str) -> Record:
        """Return a record. Raises `RunError` if it is missing, was changed, or has an unknown format."""
        return self.checked(self.row(identity))

    def checked(self, row: Row) -> Record:
        """Return the record of a row. Raises `RunError` with the trial's name if it was changed or has an unknown format."""
        try:
            return row.record()
        except ValueError as error:
            raise RunError(
                f"the record of trial {row.identity} in {self.database.path} cannot be used: {error}; "
                f"save the others with `budgetnas export {self.root} --recover`"
            ) from None

    def timing(self, identity: str) -> dict[str, Any]:
        """Return the timing of a trial that has a record; of another one nothing. Raises `RunError` if it is damaged."""
        found = self._row(identity)
        try:
            return dict(json.loads(found.timing)) if found else {}
        except (ValueError, TypeError, RecursionError):
            raise RunError(f"the timing of trial {identity} in {self.database.path} is damaged; run the study in another folder") from None

    def _row(self, identity: str) -> Row | None:
        found = self.database.row(identity) if self.database.exists() else None
        if found is None and migration.is_old(self.root):
            return next((row for row in migration.old_rows(self.root) if row.identity == identity), None)
        return found

    def put(self, record: Record, timing: dict[str, Any] | None = None) -> None:
        """Write one record and its timing."""
        self.write_rows([Row.of(record, timing)])

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Write finished trials in one transaction. A record that was there is replaced, and its attempts are counted on."""
        self.database.write(rows)

    def discard(self, identities: Iterable[str]) -> None:
        """Delete records, so that their trials are run again."""
        self.database.discard(identities)

    def write(self, path: Path, value: Any) -> None:
        """Write canonical JSON to `path`, whole or not at all. Raises `RunError` if the disk refuses."""
        text = canonical_json(value) + "\n"
        text.encode()  # a lone surrogate is the value's fault, not the disk's
        try:
            write_text(path, text)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}; make room or choose another folder, and run the study again") from None

    def read(self, path: Path) -> Any:
        """Return the JSON value of a file of the run. Raises `RunError` if it is missing or damaged."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} is missing; run the study again: what is there is kept") from None
        except (ValueError, RecursionError, OSError) as error:
            raise RunError(f"{path} is damaged ({error}); delete it and run the study again") from None

    def _unwritable(self, error: OSError) -> Unwritable:
        return Unwritable(f"cannot write the run into {self.root}: {error.strerror}; choose another folder with --out")
