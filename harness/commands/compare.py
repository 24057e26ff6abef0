"""`budgetnas compare RUN`: the winners of a run, retrained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def compare_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/default.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where the comparison goes; by default RUN/leaderboards.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Networks are trained in this many processes.")] = os.cpu_count() or 1,
) -> None:
    """Retrain the best network that each method found under each limit, and compare queried with retrained accuracy."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from budgetnas.harness.compare import agreement, compare, comparison_csv, comparison_page, summary, winners
    from budgetnas.harness.frame import read_records
    from budgetnas.harness.store import RunError, Store

    records, _, _ = read_records(Store(run))
    chosen = winners(records)
    console = Console(stderr=True)
    bars = (TextColumn("retraining"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("retraining", total=len(chosen))
        compared = compare(chosen, workers, lambda done, total: progress.update(bar, completed=done, total=total))
    target = out or run / "leaderboards"
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / "compare.csv").write_text(comparison_csv(compared), encoding="utf-8", newline="\n")
        (target / "compare.md").write_text(comparison_page(compared, f"budgetnas compare {run}"), encoding="utf-8", newline="\n")
    except OSError as error:
        raise RunError(f"cannot write the comparison into {target}: {error.strerror}; choose another folder with --out") from None
    for dataset in dict.fromkeys(one.winner.dataset for one in compared):
        typer.echo(f"{dataset}: {summary(agreement([one for one in compared if one.winner.dataset == dataset]))}")
    typer.echo(f"see {target / 'compare.md'}")
