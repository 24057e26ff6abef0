"""`budgetnas export RUN`: writes the records of a run in another format."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetnas.harness.records.export import Format

if TYPE_CHECKING:
    from budgetnas.harness.records.store import Row, Store


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/default.", show_default=False)],
    format: Annotated[
        Format, typer.Option(help="JSON lines, a table as CSV or Parquet, or a new SQLite file like records.sqlite.")
    ] = Format.JSONL,
    out: Annotated[Path | None, typer.Option(help="File to write; by default standard output.", show_default=False)] = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Save every intact record of a damaged file, and leave out the others.")
    ] = False,
) -> None:
    """Write all records of a run, sorted by identity.

    JSON lines hold the records unchanged: two runs are the same if their JSON lines are.
    """
    from budgetnas.harness.records.export import export, export_to
    from budgetnas.harness.records.store import RunError, Store

    if out is None and format in (Format.PARQUET, Format.SQLITE):
        raise typer.BadParameter(f"{format.value} goes into a file: name it with --out")
    store = Store(run)
    if out is not None and out.resolve() == store.database.path.resolve():
        raise typer.BadParameter(f"{out} is the file of the run, which a run may be writing; choose another file with --out")
    rows = _recovered(store) if recover else _checked(store)
    try:
        if out is None:
            count = export(rows, format, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            count = export_to(rows, format, out)
    except BrokenPipeError:  # the reader has gone: see `main`
        raise
    except OSError as error:
        raise RunError(f"cannot write to standard output: {error.strerror}; name a file with --out") from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"a record of {store.database.path} cannot be used: {error}; save the others with --recover") from None
    typer.echo(f"{count} records" + (f" in {out}" if out else ""), err=out is None)


def _checked(store: Store) -> Iterator[Row]:
    """Yield the rows of a run, each checked.

    Raises:
        RunError: the folder holds no records, or the file or a record is damaged.
    """
    from budgetnas.harness.records.store import RunError

    store.take_over()
    if not store.holds_records():
        raise RunError(f"{store.root} holds no records; make some with `budgetnas run STUDY.toml --out {store.root}`")
    store.check()
    for row in store.rows():
        store.checked(row)
        yield row


def _recovered(store: Store) -> Iterator[Row]:
    """Yield the intact rows, and report each damaged record on standard error. Raises RunError if there is no intact row."""
    from budgetnas.harness.records.salvage import salvage
    from budgetnas.harness.records.store import RunError

    store.take_over()
    found = salvage(store.database.path)
    if not found.rows:
        raise RunError(f"{store.database.path} has no intact record, so nothing can be recovered; delete it and run the study again")
    for identity in sorted(found.damaged):
        typer.echo(f"left out: the record of trial {identity} is damaged", err=True)
    for identity in sorted(found.rows):
        yield found.rows[identity]
