"""Where tables live, and which of them are there."""

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

SHIPPED = ("digits201",)  # datasets whose table comes with the project


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


def shipped_path(dataset: str) -> Path:
    """Return where the table of a dataset is that comes with the project; its card lies beside it, under the same name."""
    return Path(__file__).with_name(f"{dataset}.parquet")


@lru_cache(maxsize=8)
def _open_shipped(path: Path, stamp: tuple[int, int]) -> Table:
    """Return a shipped table, all of it read and checked: `fetch`, the remedy for others, does not bring it."""
    remedy = "install budgetnas again"
    try:
        table = Table.open(path)
        table.load(list(table))
        card = path.with_suffix(".md").read_text(encoding="utf-8")
    except DamagedTable:
        raise DamagedTable(f"{path} does not match its checksums: it was edited or damaged; {remedy}") from None
    except (OSError, UnicodeDecodeError):
        raise TableError(f"{path.with_suffix('.md')}, the card of the table, cannot be read; {remedy}") from None
    # An edited file may carry new checksums of its columns; the card says which table was published.
    if f"`{table.checksum}`" not in card:
        raise DamagedTable(f"{path} is not the table whose checksum its card gives: it was edited or replaced; {remedy}")
    return table


def shipped_table(dataset: str) -> Table:
    """Return the table of a dataset that comes with the project. `TableError` if it is missing, `DamagedTable` if it was edited."""
    path = shipped_path(dataset)
    try:
        stat = path.stat()
    except OSError:
        raise TableError(f"the table of {dataset} that comes with budgetnas is missing ({path}); install budgetnas again") from None
    return _open_shipped(path, (stat.st_mtime_ns, stat.st_size))


def open_table(space: str, dataset: str) -> Table:
    """Return the table that knows a dataset of a space. `TableError` says how to get it; `UnknownDataset` if no space has the dataset."""
    task_of(dataset)
    if dataset == CLOSED_FORM:
        return closed_form_table()
    if dataset in SHIPPED:
        return shipped_table(dataset)
    path = table_path(space)
    if not path.exists():
        raise TableError(f"no table of {space} is on this machine ({path}); run `budgetnas data fetch`")
    stat = path.stat()
    table = _open(path, (stat.st_mtime_ns, stat.st_size))
    if dataset not in datasets(table):
        raise TableError(f"the table {path} has no accuracies of {dataset}; run `budgetnas data fetch` or `budgetnas data import`")
    return table


def open_operators() -> Table:
    """Return the costs of FBNet's operators on devices (`operators.py`). `TableError` says how to get them."""
    path = table_path(OPERATORS)
    try:
        stat = path.stat()
    except OSError:
        raise TableError(
            f"no costs of FBNet's operators are on this machine ({path}); get HW-NAS-Bench-v1_0.pickle and run"
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
