"""The upstream files that the packaged manifest lists, downloaded, checked and made into the tables."""

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

# The source that a downloaded column names, OWNER/REPO/COMMIT/PATH, whichever version of the manifest it came with.
_DOWNLOADED = re.compile(r"[^/]+/[^/]+/[0-9a-f]{40}/.+")


@dataclass(slots=True)
class Fetched:
    """What `fetch` did: the tables written, the entries' paths received and already there, and what the user should be told."""

    tables: dict[str, Path] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def manifest() -> tuple[Entry, ...]:
    """Return the files that the project's tables are made of, with address, size, checksums and licence."""
    text = resources.files("budgetnas.spaces.tables").joinpath("manifest.json").read_text(encoding="utf-8")
    return tuple(Entry(**entry) for entry in json.loads(text))


def upstream_file(entry: Entry) -> Path:
    """Return where the downloaded file of an entry is kept."""
    return data_home() / "upstream" / entry.path


def fetch(entries: Sequence[Entry], base_url: str | None, progress: Progress, patience: Patience | None = None) -> Fetched:
    """Download what is missing, check everything, and write the tables made of it; return what was done.

    Optional entries that the server lacks become notes. Their columns never take the place of the other files', so that everybody has the
    same figures. Columns that were imported stay (`with_imported`). `TableError`, mostly a `FetchError`, names the file and the remedy; no
    table is touched before all the files that are needed are here and right.
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
    """Return what an optional file holds, by space: one in the layout of an original, which the importer knows."""
    from budgetnas.spaces.tables.upstream.importing import import_upstream

    found = import_upstream(upstream_file(entry), False, lambda _done, _total: None)
    return {
        space: Table.from_columns(space, {name: table.column(name) for name in table}, dict.fromkeys(table, entry.path))
        for space, table in found.items()
    }


def with_imported(new: Table, path: Path, notes: list[str]) -> Table:
    """Return a downloaded table with what the table at `path` has and a download cannot give, such as figures seed by seed.

    A column there is kept unless `new` has it and it was downloaded too, which its source (OWNER/REPO/COMMIT/PATH) shows: so imported
    figures win over downloaded ones of the same name (but see `joined`), and nothing is lost. What is damaged there cannot be kept; a note
    says so. `TableError` if the file there is of no known kind, for then it may be somebody's.
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
    """Return a table with the columns of both. Where both have one it is `preferred`'s, unless that one knows fewer architectures.

    So an archive of a few cells takes no complete column's place; a note says where that was so. `TableError` if the two do not fit.
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
    """Hold the data folder, made if need be, against other processes that would write to it. `TableError` if one holds it already."""
    home = data_home()
    with ExitStack() as stack:
        try:
            home.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(home, wait=False))
        except Busy:
            raise TableError(f"another budgetnas process is writing to {home}; wait until it has finished") from None
        except OSError as error:
            # Some network file systems have no locks; there the user sees to it.
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise TableError(
                    f"cannot use the data folder {home}: {error.strerror}; set BUDGETNAS_DATA to a folder that can be written"
                ) from None
        yield
