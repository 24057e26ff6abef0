"""Joins imported tables into those of the data folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from budgetnas.spaces.tables.columnar import Table
from budgetnas.spaces.tables.home import table_path
from budgetnas.spaces.tables.upstream.fetch import alone, joined


@dataclass(frozen=True, slots=True)
class Addition:
    """What an import changed in the table of a space: the added columns, and the columns that replaced older ones."""

    space: str
    path: Path
    added: tuple[str, ...]
    replaced: tuple[str, ...]


def add_imported(found: Mapping[str, Table], notes: list[str]) -> list[Addition]:
    """Join imported tables into those of the data folder, and return what changed.

    All tables are joined before the first file is replaced, so an error leaves the folder unchanged.

    Args:
        found: the imported tables, by space. Their columns replace older ones, under the conditions that `joined` describes.
        notes: receives a line for each imported column that was not used.

    Raises:
        TableError: a table does not fit, or another process is writing to the folder.
    """
    with alone():
        joins = [(new, *_joined_into_home(new, notes)) for new in found.values()]
        additions = []
        for new, old, table in joins:
            table.write(table_path(new.space))
            additions.append(_addition(old, new, table))
    return additions


def _joined_into_home(new: Table, notes: list[str]) -> tuple[Table | None, Table]:
    """Return the space's table in the data folder (None if there is none), and that table with the new columns."""
    path = table_path(new.space)
    old = Table.open(path) if path.exists() else None
    return old, new if old is None else joined(old, new, notes)


def _addition(old: Table | None, new: Table, table: Table) -> Addition:
    added = tuple(name for name in new if old is None or name not in old)
    replaced = tuple(name for name in new if name not in added and table.sources[name] == new.sources[name])
    return Addition(new.space, table_path(new.space), added, replaced)
