"""Where tables live, and which of them are there."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from budgetnas.spaces.tables.accuracy import datasets
from budgetnas.spaces.tables.closed_form import DATASET as CLOSED_FORM
from budgetnas.spaces.tables.closed_form import closed_form_table
from budgetnas.spaces.tables.columnar import Table, TableError
from budgetnas.spaces.task import task_of


def data_home() -> Path:
    """Return the folder of the user's tables: `$BUDGETNAS_DATA`, else the user's cache folder. `TableError` if that is `~nobody`."""
    if chosen := os.environ.get("BUDGETNAS_DATA"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise TableError(f"BUDGETNAS_DATA is {chosen}, the home folder of nobody here; name a folder that can be written") from None
    import platformdirs

    return Path(platformdirs.user_cache_dir("budgetnas"))


def table_path(space: str) -> Path:
    """Return where the table of a space lives once it was fetched or imported."""
    return data_home() / f"{space}.parquet"


@lru_cache(maxsize=8)
def _open(path: Path, stamp: tuple[int, int]) -> Table:
    return Table.open(path)


def open_table(space: str, dataset: str) -> Table:
    """Return the table that knows a dataset of a space. `TableError` says how to get it; `UnknownDataset` if no space has the dataset."""
    task_of(dataset)
    if dataset == CLOSED_FORM:
        return closed_form_table()
    path = table_path(space)
    if not path.exists():
        raise TableError(f"no table of {space} is on this machine ({path}); run `budgetnas data fetch`")
    stat = path.stat()
    table = _open(path, (stat.st_mtime_ns, stat.st_size))
    if dataset not in datasets(table):
        raise TableError(f"the table {path} has no accuracies of {dataset}; run `budgetnas data fetch` or `budgetnas data import`")
    return table


def available(space: str) -> list[str]:
    """Return the datasets of a space that can be queried on this machine now."""
    here = datasets(Table.open(table_path(space))) if table_path(space).exists() else []
    return [*here, CLOSED_FORM]
