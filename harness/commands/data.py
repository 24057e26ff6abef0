"""`budgetnas data`: lists, downloads, imports and builds the benchmark tables."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetnas.harness.commands.build import build_command
from budgetnas.harness.commands.progress import Amount, Bars

if TYPE_CHECKING:
    from budgetnas.spaces.tables.listing import FileListing, TableListing
    from budgetnas.spaces.tables.upstream.download import Entry

app = typer.Typer(no_args_is_help=True, help="List, download, import and build the benchmark tables.")
app.command("build")(build_command)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False) -> None:
    """Show the tables that are on this machine, and the files that `fetch` downloads."""
    from budgetnas.spaces.tables.home import data_home
    from budgetnas.spaces.tables.listing import shipped_tables, tables_in, upstream_files

    home = data_home()
    shipped, tables, files = shipped_tables(), tables_in(home), upstream_files()
    if as_json:
        listing = {"home": str(home), "tables": [asdict(table) for table in tables], "files": [asdict(file) for file in files]}
        listing["shipped"] = [asdict(table) for table in shipped]
        typer.echo(json.dumps(listing, indent=1))
    else:
        _show(home, shipped, tables, files)


def _show(home: Path, shipped: list[TableListing], tables: list[TableListing], files: list[FileListing]) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table as Grid

    console = Console()
    console.print("Included with the project:")
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


def _quantities(columns: Sequence[str]) -> list[str]:
    """Return the number of columns of each quantity, such as `6 accuracy`."""
    kinds = [name.split("/")[0] for name in columns]
    return [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]


@app.command()
def fetch(
    base_url: Annotated[
        str | None, typer.Option(envvar="BUDGETNAS_BASE_URL", help="A mirror: files are downloaded from BASE_URL/OWNER/REPO/COMMIT/PATH.")
    ] = None,
) -> None:
    """Download the upstream files (18 MB), verify them, and write the table of NAS-Bench-201 and HW-NAS-Bench.

    Intact files are not downloaded again, an interrupted download continues, and imported columns are kept.
    """
    from budgetnas.spaces.tables.columnar import Table
    from budgetnas.spaces.tables.upstream.fetch import fetch, manifest

    with Bars(Amount.BYTES) as bars:

        def show(entry: Entry, done: int, total: int | None) -> None:
            bars.show(Path(entry.path).name, done, total)

        fetched = fetch(manifest(), base_url or None, show)
    typer.echo(f"{len(fetched.received)} files downloaded, {len(fetched.present)} already present; all checksums match")
    for path in fetched.tables.values():
        table = Table.open(path)
        typer.echo(f"{table.space}: {table.rows:,} rows, {len(list(table))} columns, in {path}")
    for note in fetched.notes:
        typer.echo(f"note: {note}", err=True)


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="A NATS-Bench archive, NAS-Bench-201 .pth file or HW-NAS-Bench pickle.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Continue even if memory may not suffice.")] = False,
) -> None:
    """Import original benchmark files that you have. Their figures, with one column per seed, replace downloaded ones."""
    from budgetnas.spaces.tables.columnar import TableError
    from budgetnas.spaces.tables.upstream.importing import import_upstream
    from budgetnas.spaces.tables.upstream.merge import add_imported

    for path in paths:
        if not path.exists():
            raise TableError(f"there is no {path}; name a file or folder that exists")
    for path in paths:
        with warnings.catch_warnings(record=True) as caught, Bars() as bars:
            warnings.simplefilter("always")
            found = import_upstream(path, force, partial(bars.show, path.name))
        notes = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
        for each in add_imported(found, notes):
            kinds = ", ".join(_quantities([*each.added, *each.replaced])) or "nothing new"
            changes = f"{len(each.added)} columns added, {len(each.replaced)} replaced in {each.path}"
            typer.echo(f"{path}: {each.space}, {changes} ({kinds})")
        for note in notes:
            typer.echo(f"note: {note}", err=True)
