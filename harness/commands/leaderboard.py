"""`budgetnas leaderboard RUN`: the pages of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def leaderboard_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/default.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where the pages go; by default RUN/leaderboards.", show_default=False)] = None,
) -> None:
    """Write a page for every dataset and device (Markdown, CSV, picture) and an index with the ranking over all of them."""
    from rich.console import Console

    from budgetnas.harness.frame import read_records
    from budgetnas.harness.store import Store
    from budgetnas.leaderboards.pages import write_pages

    records, contexts, plan = read_records(Store(run))
    target = out or run / "leaderboards"
    missing = len(plan["trials"]) - len(records)
    if missing:
        typer.echo(f"{missing} of {len(plan['trials'])} trials have no record yet; the pages show the rest", err=True)
    with Console(stderr=True).status(f"writing {len(contexts)} pages"):
        pages = write_pages(
            records,
            contexts,
            target,
            plan["title"],
            f"budgetnas run {plan['study']} && budgetnas leaderboard {run}" + (f" --out {out}" if out else ""),
        )
    typer.echo(f"{len(pages)} pages; begin with {target / 'README.md'}")
