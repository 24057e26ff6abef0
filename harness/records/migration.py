"""Migrates runs of version 0.2, which had one file for each record, into the SQLite file at their first use.

Nothing is deleted. Every record is read, checked and written; then all records are read back and compared; only then are the old folders
renamed to `records.v02` and `timings.v02`. If the process is stopped before that, the old folders stay in place and the next process starts
again. Until then a run of version 0.2 is read from its old files.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from budgetnas.harness.records.database import CHUNK, Database, Row, RunError, is_record
from budgetnas.harness.records.identity import canonical_json
from budgetnas.spaces.files import sync_folder

RECORDS, TIMINGS = "records", "timings"
KEPT = ".v02"  # appended to the names of the migrated folders


def is_old(root: Path) -> bool:
    """Return whether a run folder has records of version 0.2 that are not migrated yet."""
    return (root / RECORDS).is_dir()


class Migrated(Exception):
    """Another process migrated the folder while this one was reading it: all records are in the database now."""


def old_rows(root: Path) -> Iterator[Row]:
    """Yield the rows of a folder of version 0.2, sorted by identity. Raises `RunError` for a damaged file, and `Migrated`."""
    for path in sorted((root / RECORDS).glob("*.json")):
        try:
            record = _read(path)
        except RunError:
            if is_old(root):
                raise
            raise Migrated from None  # another process has renamed the folder since
        if not is_record(record, path.stem):
            raise RunError(f"{path} is not the record of the trial in its name; delete it and run the study again")
        timing = _timing(root, path.name)
        try:
            yield Row.of(record, timing, migrated=True)
        except (ValueError, TypeError) as error:
            raise RunError(f"{path} is damaged ({error}); delete it and run the study again") from None


def _timing(root: Path, name: str) -> dict[str, Any]:
    # A process that was stopped while it renamed the folders may have renamed only one of the two.
    files = [root / folder / name for folder in (TIMINGS, TIMINGS + KEPT)]
    file = next((file for file in files if file.is_file()), None)
    timing = _read(file) if file else {}
    try:
        canonical_json(timing).encode()
    except ValueError:  # NaN, or a lone surrogate
        timing = None
    if not isinstance(timing, dict):
        raise RunError(f"{file} is not the timing of a trial; delete it and run the study again")
    return timing


def with_old_rows(root: Path, kept: Iterator[Row]) -> Iterator[Row]:
    """Yield the rows of a folder of version 0.2 and of the database beside it (`kept`), each trial once, sorted by identity."""
    last = ""
    for row in heapq.merge(kept, old_rows(root), key=lambda row: row.identity):
        if row.identity != last:
            yield row
        last = row.identity


def migrate(root: Path, database: Database) -> int:
    """Migrate a folder of version 0.2 and return its number of records; 0 if there is nothing to do. The caller must hold the lock.

    Raises:
        RunError: A record is damaged, or a file cannot be written. The old folders are then unchanged.
    """
    if not is_old(root):
        return 0
    database.create()
    there, count, chunk = database.statuses(), 0, list[Row]()
    for row in old_rows(root):
        count += 1
        if row.identity not in there:
            chunk.append(row)
        if len(chunk) == CHUNK:
            database.write(chunk)
            chunk.clear()
    if chunk:
        database.write(chunk)
    _compare(root, database)
    _set_aside(root)
    return count


def _compare(root: Path, database: Database) -> None:
    """Read every record back and compare it with its file. Raises `RunError` if one differs."""
    kept = database.rows()
    for expected in old_rows(root):
        found = next((row for row in kept if row.identity >= expected.identity), None)
        try:
            same = found is not None and found.json() == expected.json()
        except ValueError:
            same = False
        if not same:
            raise RunError(
                f"{root / RECORDS / expected.identity}.json and the record of that trial in {database.path} differ; "
                "move one of the two away and try again"
            )


def _set_aside(root: Path) -> None:
    """Rename the old folders. Timings without a record (of a selection, the versions of packages) stay where they are."""
    records, timings = root / RECORDS, root / TIMINGS
    try:
        if timings.is_dir() and not (root / (TIMINGS + KEPT)).exists():
            timings.rename(root / (TIMINGS + KEPT))
        timings.mkdir(exist_ok=True)
        # Also those of an earlier migration: version 0.2 may have been used again in a migrated folder.
        identities = {path.name for folder in (records, *root.glob(f"{RECORDS}{KEPT}*")) for path in folder.glob("*.json")}
        for path in sorted((root / (TIMINGS + KEPT)).glob("*.json")):
            if path.name not in identities and not (timings / path.name).exists():
                path.rename(timings / path.name)
        records.rename(_free(root / (RECORDS + KEPT)))  # the last step: it marks the migration as complete
        sync_folder(root)
    except OSError as error:
        raise RunError(f"cannot rename the old records in {root}: {error.strerror}; make room or fix the permissions") from None


def _free(path: Path) -> Path:
    """Return the path, with a number appended if it is taken: version 0.2 may have been used again in a migrated folder."""
    number = 1
    while path.with_name(path.name + (f"-{number}" if number > 1 else "")).exists():
        number += 1
    return path.with_name(path.name + (f"-{number}" if number > 1 else ""))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise RunError(f"{path} is damaged ({error}); delete it and run the study again") from None
