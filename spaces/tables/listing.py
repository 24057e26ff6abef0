"""Lists the tables on this machine, with every column verified, and the upstream files that can be downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from budgetnas.spaces.tables.columnar import Table, TableError
from budgetnas.spaces.tables.home import SHIPPED, shipped_path, shipped_table
from budgetnas.spaces.tables.upstream import fetch
from budgetnas.spaces.tables.upstream.download import Entry, mismatch


@dataclass(frozen=True, slots=True)
class TableListing:
    """A table. `problem` is None for an intact file; else it describes the defect, and only `path` and `size_bytes` are filled in."""

    path: str
    space: str
    rows: int
    datasets: list[str]
    columns: list[str]
    checksum: str
    size_bytes: int
    sources: list[str]
    problem: str | None


@dataclass(frozen=True, slots=True)
class FileListing:
    """A file of the manifest. `state` is present, damaged, partial (the download can continue) or missing."""

    what: str
    path: str
    state: str
    size_bytes: int | None
    licence: str
    optional: bool


def shipped_tables() -> list[TableListing]:
    """Return the tables that come with the project."""
    return [_table_listing(shipped_path(dataset), partial(shipped_table, dataset)) for dataset in SHIPPED]


def tables_in(home: Path) -> list[TableListing]:
    """Return the tables of a data folder, sorted by file name."""
    return [_table_listing(path, partial(Table.open, path)) for path in sorted(home.glob("*.parquet"))]


def upstream_files() -> list[FileListing]:
    """Return the upstream files, in the order of the manifest."""
    return [_file_listing(entry) for entry in fetch.manifest()]


def _table_listing(path: Path, open_: Callable[[], Table]) -> TableListing:
    """Return the content of a table, after verifying every column."""
    size_bytes = path.stat().st_size if path.exists() else 0
    try:
        table = open_()
        table.load(list(table))
    except TableError as error:
        return TableListing(str(path), "", 0, [], [], "", size_bytes, [], str(error))
    # A column is named QUANTITY/DATASET/...; the cost of a single operator, QUANTITY/DEVICE, has no dataset.
    datasets = sorted({name.split("/")[1] for name in table if name.count("/") > 1})
    sources = sorted(set(table.sources.values()))
    return TableListing(str(path), table.space, table.rows, datasets, sorted(table), table.checksum, size_bytes, sources, None)


def _file_listing(entry: Entry) -> FileListing:
    file = fetch.upstream_file(entry)
    if file.is_file():
        state = "damaged" if mismatch(entry, file) else "present"
    else:
        state = "partial" if file.with_name(file.name + ".part").is_file() else "missing"
    return FileListing(entry.what, entry.path, state, entry.bytes, entry.licence, entry.optional)
