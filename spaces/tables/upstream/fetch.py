"""Downloads the upstream files in the packaged manifest, checks them, and builds the tables from them."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from budgetnas.spaces.files import Busy, exclusive
from budgetnas.spaces.tables.columnar import Column, DamagedTable, Table, TableError
from budgetnas.spaces.tables.home import data_home, table_path
from budgetnas.spaces.tables.upstream.convert import convert
from budgetnas.spaces.tables.upstream.download import Entry, Patience, Progress, Unavailable, download

# The source of a downloaded column, OWNER/REPO/COMMIT/PATH, with any commit.
_DOWNLOADED = re.compile(r"[^/]+/[^/]+/[0-9a-f]{40}/.+")


@dataclass(slots=True)
class Fetched:
    """The result of `fetch`: tables written, paths of entries downloaded and already present, and notes for the user."""

    tables: dict[str, Path] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def manifest() -> tuple[Entry, ...]:
    """Return the files from which the tables are built, with URL, size, checksums and licence."""
    text = resources.files("budgetnas.spaces.tables").joinpath("manifest.json").read_text(encoding="utf-8")
    return tuple(Entry(**entry) for entry in json.loads(text))


def upstream_file(entry: Entry) -> Path:
    """Return the path of the downloaded file of an entry."""
    return data_home() / "upstream" / entry.path


def fetch(entries: Sequence[Entry], base_url: str | None, progress: Progress, patience: Patience | None = None) -> Fetched:
    """Download missing files, check all files, and write the tables built from them. Return what was done.

    An optional entry that the server does not have becomes a note. Columns of optional files never replace those of other files, so that
    all users have the same figures. Imported columns are kept (`with_imported`). No table is changed before all required files are present
    and checked.

    Args:
        entries: The files to download.
        base_url: The address of a mirror; None for the addresses in the entries.
        progress: Called as bytes arrive.
        patience: How long to wait, and how often to try.

    Raises:
        TableError: Mostly a FetchError; the message names the file and the remedy.
    """
    fetched = Fetched()
    with alone():
        needed = [entry for entry in entries if not entry.optional]
        for entry in needed:
            _obtain(entry, base_url, progress, patience, fetched)
        made = convert({entry.path: upstream_file(entry) for entry in needed})
        tables, failure = {made.space: made}, None
        for entry in entries:
            if entry.optional:
                try:
                    _obtain(entry, base_url, progress, patience, fetched)
                    for space, found in _read_optional(entry).items():
                        tables[space] = found.merged(tables[space]) if space in tables else found
                except Unavailable as missing:
                    fetched.notes.append(f"left out, since optional: {missing}")
                except TableError as error:
                    failure = error
        for space, table in tables.items():
            with_imported(table, table_path(space), fetched.notes).write(table_path(space))
            fetched.tables[space] = table_path(space)
        if failure is not None:
            raise failure
    return fetched


def _obtain(entry: Entry, base_url: str | None, progress: Progress, patience: Patience | None, fetched: Fetched) -> None:
    new = download(entry, upstream_file(entry), base_url, progress, patience)
    (fetched.received if new else fetched.present).append(entry.path)


def _read_optional(entry: Entry) -> dict[str, Table]:
    """Return the tables in an optional file, by space. It has the layout of an original file, so the importer reads it."""
    from budgetnas.spaces.tables.upstream.importing import import_upstream

    found = import_upstream(upstream_file(entry), False, lambda _done, _total: None)
    return {
        space: Table.from_columns(space, {name: table.column(name) for name in table}, dict.fromkeys(table, entry.path))
        for space, table in found.items()
    }


def with_imported(new: Table, path: Path, notes: list[str]) -> Table:
    """Return a downloaded table plus the imported columns of the old table at `path`, such as accuracies of single seeds.

    A column of the old table is kept unless it was downloaded and `new` has it too. Its source (OWNER/REPO/COMMIT/PATH) shows that it was
    downloaded. So an imported column has priority over a downloaded one of the same name (but see `joined`), and no figures are lost. A
    damaged column cannot be kept; a note says so.

    Args:
        new: The downloaded table.
        path: The file of the old table, which may not exist.
        notes: Notes for the user; this function appends to them.

    Raises:
        TableError: The file at `path` is not a table of this project, so it is not overwritten.
    """
    if not path.exists():
        return new
    kept: dict[str, Column] = {}
    try:
        old = Table.open(path)
        if (old.space, old.rows) != (new.space, new.rows):
            raise TableError(f"{path} holds {old.rows} rows of '{old.space}' instead of {new.rows} of '{new.space}'; move it away")
        for name in old:
            if name in new and _DOWNLOADED.fullmatch(old.sources[name]):
                continue
            try:
                kept[name] = old.column(name)
            except DamagedTable:
                notes.append(f"column '{name}' of {path} was damaged and is lost; import it again (it came from {old.sources[name]})")
    except DamagedTable:
        notes.append(f"the table at {path} was damaged and is replaced; what had been imported into it must be imported again")
    return joined(new, Table.from_columns(new.space, kept, old.sources), notes) if kept else new


def joined(table: Table, preferred: Table, notes: list[str]) -> Table:
    """Return a table with the columns of both. A column in both comes from `preferred`, unless it has fewer known architectures there.

    So an archive of a few cells does not replace a complete column; a note says so.

    Raises:
        TableError: The tables differ in space or number of rows.
    """
    taken: dict[str, Column] = {}
    for name in preferred:
        column = preferred.column(name)
        unknown = int(np.isnan(column).sum())
        if name in table and unknown > int(np.isnan(table.column(name)).sum()):
            known = f"{len(column) - unknown} of {len(column)} rows"
            notes.append(f"'{name}' from {preferred.sources[name]} knows {known}, so that from {table.sources[name]} is kept")
        else:
            taken[name] = column
    return table.merged(Table.from_columns(preferred.space, taken, preferred.sources)) if taken else table


@contextmanager
def alone() -> Iterator[None]:
    """Lock the data folder against other processes that write to it. The folder is created if it does not exist.

    Raises:
        TableError: Another process has the lock, or the folder cannot be used.
    """
    home = data_home()
    with ExitStack() as stack:
        try:
            home.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(home, wait=False))
        except Busy:
            raise TableError(f"another budgetnas process is writing to {home}; wait until it has finished") from None
        except OSError as error:
            # Some network file systems have no locks; then the user must take care of it.
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise TableError(
                    f"cannot use the data folder {home}: {error.strerror}; set BUDGETNAS_DATA to a folder that can be written"
                ) from None
        yield
