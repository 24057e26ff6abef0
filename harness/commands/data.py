"""`budgetnas data`: list, fetch and import the benchmark tables."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetnas.harness.commands.build import build_command

if TYPE_CHECKING:
    from budgetnas.spaces.tables.columnar import Table
    from budgetnas.spaces.tables.upstream.download import Entry

app = typer.Typer(
    no_args_is_help=True, help="The benchmark tables: what is here, download them, add originals that you have, build our own."
)
app.command("build")(build_command)


@dataclass(frozen=True, slots=True)
class TableListing:
    """A table in the data folder. `problem` is None, or says what is wrong with it; then the rest is empty."""

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
    """A file of the manifest. `state` is present, damaged, partial (to be continued) or missing."""

    what: str
    path: str
    state: str
    size_bytes: int | None
    licence: str
    optional: bool


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False) -> None:
    """Show the tables that are on this machine, and the files that `fetch` downloads."""
    from budgetnas.spaces.tables.columnar import Table
    from budgetnas.spaces.tables.home import SHIPPED, data_home, shipped_path, shipped_table
    from budgetnas.spaces.tables.upstream.fetch import manifest

    home = data_home()
    shipped = [_table_listing(shipped_path(dataset), partial(shipped_table, dataset)) for dataset in SHIPPED]
    tables = [_table_listing(path, partial(Table.open, path)) for path in sorted(home.glob("*.parquet"))]
    files = [_file_listing(entry) for entry in manifest()]
    if as_json:
        listing = {"home": str(home), "tables": [asdict(table) for table in tables], "files": [asdict(file) for file in files]}
        listing["shipped"] = [asdict(table) for table in shipped]
        typer.echo(json.dumps(listing, indent=1))
    else:
        _show(home, shipped, tables, files)


def _table_listing(path: Path, open_: Callable[[], Table]) -> TableListing:
    """Return what a table holds, every column checked."""
    from budgetnas.spaces.tables.columnar import TableError

    size_bytes = path.stat().st_size if path.exists() else 0
    try:
        table = open_()
        table.load(list(table))
    except TableError as error:
        return TableListing(str(path), "", 0, [], [], "", size_bytes, [], str(error))
    # A column is named QUANTITY/DATASET/...; that of a single operator's cost, QUANTITY/DEVICE, is of no dataset.
    datasets = sorted({name.split("/")[1] for name in table if name.count("/") > 1})
    sources = sorted(set(table.sources.values()))
    return TableListing(str(path), table.space, table.rows, datasets, sorted(table), table.checksum, size_bytes, sources, None)


def _file_listing(entry: Entry) -> FileListing:
    from budgetnas.spaces.tables.upstream.download import mismatch
    from budgetnas.spaces.tables.upstream.fetch import upstream_file

    file = upstream_file(entry)
    if file.is_file():
        state = "damaged" if mismatch(entry, file) else "present"
    else:
        state = "partial" if file.with_name(file.name + ".part").is_file() else "missing"
    return FileListing(entry.what, entry.path, state, entry.bytes, entry.licence, entry.optional)


def _show(home: Path, shipped: list[TableListing], tables: list[TableListing], files: list[FileListing]) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table as Grid

    console = Console()
    console.print("Comes with the project:")
    for table in shipped:
        console.print(_grid(table))
    console.print(f"Data folder: {escape(str(home))}", soft_wrap=True)
    if not tables:
        console.print("No table is here yet: run `budgetnas data fetch`.", soft_wrap=True)
    for table in tables:
        console.print(_grid(table))
    grid = Grid(title="What `budgetnas data fetch` downloads", title_justify="left")
    for heading in ("what", "state", "size", "licence"):
        grid.add_column(heading, justify="right" if heading == "size" else "left")
    for file in files:
        state = f"{file.state} (optional)" if file.optional else file.state
        grid.add_row(escape(file.what), state, decimal(file.size_bytes) if file.size_bytes else "", escape(file.licence))
    console.print(grid)


def _grid(table: TableListing) -> Any:
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table as Grid

    grid = Grid(title=escape(Path(table.path).name), title_justify="left", show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    shown = {"path": table.path, "size": decimal(table.size_bytes)}
    if table.problem:
        shown["problem"] = table.problem
    else:
        shown |= {"space": f"{table.space}, {table.rows:,} rows", "datasets": ", ".join(table.datasets) or "none"}
        shown |= {"columns": f"{len(table.columns)}: " + ", ".join(_quantities(table.columns))}
        shown |= {"checksum": table.checksum, "sources": "\n".join(table.sources)}
    for name, value in shown.items():
        grid.add_row(name, escape(value))
    return grid


def _quantities(columns: list[str]) -> list[str]:
    """Return how many columns there are of each quantity, such as `6 accuracy`."""
    kinds = [name.split("/")[0] for name in columns]
    return [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]


@app.command()
def fetch(
    base_url: Annotated[
        str | None, typer.Option(envvar="BUDGETNAS_BASE_URL", help="A mirror: files are taken from BASE_URL/OWNER/REPO/COMMIT/PATH.")
    ] = None,
) -> None:
    """Download the upstream files (18 MB), check them, and make the table of NAS-Bench-201 and HW-NAS-Bench.

    What is there and right is not downloaded again, a download that was cut off is continued, and columns that were imported are kept.
    """
    from budgetnas.spaces.tables.columnar import Table
    from budgetnas.spaces.tables.upstream.fetch import fetch, manifest

    with _progress() as bar:

        def show(entry: Entry, done: int, total: int | None) -> None:
            bar(Path(entry.path).name, done, total)

        fetched = fetch(manifest(), base_url or None, show)
    typer.echo(f"{len(fetched.received)} files downloaded, {len(fetched.present)} were here already; all checksums are right")
    for path in fetched.tables.values():
        table = Table.open(path)
        typer.echo(f"{table.space}: {table.rows:,} rows, {len(list(table))} columns, in {path}")
    for note in fetched.notes:
        typer.echo(f"note: {note}", err=True)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="NATS-Bench archive, NAS-Bench-201 .pth, or HW-NAS-Bench pickle.")],
    force: Annotated[bool, typer.Option("--force", help="Go on where memory may not suffice.")] = False,
) -> None:
    """Add original benchmark files that you have: their figures, seed by seed, win over downloaded ones."""
    from budgetnas.spaces.tables.columnar import Table, TableError
    from budgetnas.spaces.tables.home import table_path
    from budgetnas.spaces.tables.upstream.fetch import alone, joined
    from budgetnas.spaces.tables.upstream.importing import import_upstream

    for path in paths:
        if not path.exists():
            raise TableError(f"there is no {path}; name a file or folder that exists")
    for path in paths:
        with warnings.catch_warnings(record=True) as caught, _progress(counts_bytes=False) as bar:
            warnings.simplefilter("always")
            found = import_upstream(path, force, partial(bar, path.name))
        notes = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
        with alone():
            merged = {}
            # All is read and joined before the first table is replaced.
            for space, new in found.items():
                old = Table.open(table_path(space)) if table_path(space).exists() else None
                merged[space] = (old, new, new if old is None else joined(old, new, notes))
            for space, (old, new, table) in merged.items():
                table.write(table_path(space))
                typer.echo(_what_was_added(path, old, new, table))
        for note in notes:
            typer.echo(f"note: {note}", err=True)


def _what_was_added(source: Path, old: Table | None, new: Table, table: Table) -> str:
    from budgetnas.spaces.tables.home import table_path

    added = [name for name in new if old is None or name not in old]
    replaced = [name for name in new if name not in added and table.sources[name] == new.sources[name]]
    kinds = ", ".join(_quantities(added + replaced)) or "nothing new"
    return f"{source}: {new.space}, {len(added)} columns added, {len(replaced)} replaced in {table_path(new.space)} ({kinds})"


@contextmanager
def _progress(counts_bytes: bool = True) -> Iterator[Callable[[str, int, int | None], None]]:
    """Give a function (name, done, total) that draws bars on the terminal, on stderr; it draws nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    amount = (DownloadColumn(), TransferSpeedColumn()) if counts_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *amount, TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield show
