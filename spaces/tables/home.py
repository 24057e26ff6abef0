"""The folder of tables, and which tables are on this machine."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from budgetnas.spaces.tables.accuracy import datasets
from budgetnas.spaces.tables.closed_form import DATASET as CLOSED_FORM
from budgetnas.spaces.tables.closed_form import closed_form_table
from budgetnas.spaces.tables.columnar import DamagedTable, Table, TableError
from budgetnas.spaces.tables.operators import OPERATORS
from budgetnas.spaces.task import task_of

SHIPPED = ("digits201",)  # datasets with a table that is part of the project


def data_home() -> Path:
    """Return the folder of the user's tables: `$BUDGETNAS_DATA`, by default a folder in the user's cache.

    Raises:
        TableError: `$BUDGETNAS_DATA` begins with the home folder of an unknown user.
    """
    if chosen := os.environ.get("BUDGETNAS_DATA"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise TableError(f"BUDGETNAS_DATA is {chosen}, but there is no such user; set it to a folder that can be written") from None
    import platformdirs

    return Path(platformdirs.user_cache_dir("budgetnas"))


def table_path(space: str) -> Path:
    """Return the path of a space's table, which exists once the table was fetched or imported."""
    return data_home() / f"{space}.parquet"


@lru_cache(maxsize=8)
def _open(path: Path, stamp: tuple[int, int]) -> Table:
    return Table.open(path)


def shipped_path(dataset: str) -> Path:
    """Return the path of a table that is part of the project. Its card is beside it, with the same name and the suffix `.md`."""
    return Path(__file__).with_name(f"{dataset}.parquet")


@lru_cache(maxsize=8)
def _open_shipped(path: Path, stamp: tuple[int, int]) -> Table:
    """Return a shipped table, with all columns read and checked. Its errors name their own remedy, since `fetch` does not download it."""
    remedy = "install budgetnas again"
    try:
        table = Table.open(path)
        table.load(list(table))
        card = path.with_suffix(".md").read_text(encoding="utf-8")
    except DamagedTable:
        raise DamagedTable(f"{path} does not match its checksums: it was edited or damaged; {remedy}") from None
    except (OSError, UnicodeDecodeError):
        raise TableError(f"{path.with_suffix('.md')}, the card of the table, cannot be read; {remedy}") from None
    # An edited file may have new checksums of its columns, but the card has the checksum of the published table.
    if f"`{table.checksum}`" not in card:
        raise DamagedTable(f"{path} does not match the checksum in its card: it was edited or replaced; {remedy}")
    return table


def shipped_table(dataset: str) -> Table:
    """Return the table of a dataset that is part of the project.

    Raises:
        TableError: The table or its card is missing.
        DamagedTable: The table was edited or damaged.
    """
    path = shipped_path(dataset)
    try:
        stat = path.stat()
    except OSError:
        raise TableError(f"the table of {dataset} that comes with budgetnas is missing ({path}); install budgetnas again") from None
    return _open_shipped(path, (stat.st_mtime_ns, stat.st_size))


def open_table(space: str, dataset: str) -> Table:
    """Return the table with a dataset of a space.

    Raises:
        TableError: No table on this machine has the dataset; the message says how to get one.
        UnknownDataset: The dataset is not known; the message lists the known ones.
    """
    task_of(dataset)
    if dataset == CLOSED_FORM:
        return closed_form_table()
    if dataset in SHIPPED:
        return shipped_table(dataset)
    path = table_path(space)
    if not path.exists():
        raise TableError(f"there is no table of {space} on this machine ({path}); run `budgetnas data fetch`")
    stat = path.stat()
    table = _open(path, (stat.st_mtime_ns, stat.st_size))
    if dataset not in datasets(table):
        raise TableError(f"the table {path} has no accuracies of {dataset}; run `budgetnas data fetch` or `budgetnas data import`")
    return table


def open_operators() -> Table:
    """Return the costs of FBNet's operators on devices (`operators.py`).

    Raises:
        TableError: The table is not on this machine, or its file holds another table; the message names the remedy.
    """
    path = table_path(OPERATORS)
    try:
        stat = path.stat()
    except OSError:
        raise TableError(
            f"the costs of FBNet's operators are not on this machine ({path}); get HW-NAS-Bench-v1_0.pickle and run"
            " `budgetnas data import HW-NAS-Bench-v1_0.pickle`"
        ) from None
    table = _open(path, (stat.st_mtime_ns, stat.st_size))
    if table.space != OPERATORS:
        raise TableError(f"{path} is a table of {table.space}; move it away and run `budgetnas data import HW-NAS-Bench-v1_0.pickle`")
    return table


def available(space: str) -> list[str]:
    """Return the datasets of a space that can be queried on this machine now."""
    here = datasets(Table.open(table_path(space))) if table_path(space).exists() else []
    shipped = [dataset for dataset in SHIPPED if shipped_path(dataset).exists() and shipped_table(dataset).space == space]
    return [*[name for name in here if name not in SHIPPED], *shipped, CLOSED_FORM]
