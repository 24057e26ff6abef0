"""`budgetnas run STUDY.toml`: runs the trials of a study that have no record yet."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from budgetnas.harness.commands.progress import Bars


def run_command(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="A study file (TOML), or the name of a study that comes with the project.", show_default=False
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/NAME.", show_default=False)] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that run trials; by default one per core.", show_default=False)
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed trials again; by default a failure stays as the result.")
    ] = False,
) -> None:
    """Run every trial of a study that has no record yet.

    The command may be stopped at any moment and run again: finished trials are kept.
    """
    from rich.console import Console

    from budgetnas.harness.records.store import RunError, Store
    from budgetnas.harness.studies.plan import expand
    from budgetnas.harness.studies.run import default_folder, run
    from budgetnas.harness.studies.selection import select
    from budgetnas.harness.studies.study import read_study
    from budgetnas.harness.trials.deaths import summary

    described, folder = read_study(study)
    plan = expand(described, folder, study)
    store = Store(out or default_folder(described.name))
    console = Console(stderr=True)
    for line in plan.skipped:
        console.print(f"left out: {line}", highlight=False, markup=False, soft_wrap=True)
    workers = workers or os.cpu_count() or 1
    with Bars(everywhere=True) as bars:
        bars.show("trials", 0, len(plan.trials))

        def show(done: int, planned: int, failed: int) -> None:
            bars.show("trials", done, planned, f"{failed} failed" if failed else "")

        result = run(plan, store, workers, retry_failed, show)
        if result.unfinished:
            raise RunError(summary(list(result.unfinished)))
        if described.selection is not None:
            bars.show("brief trainings")
            choices = select(plan, store, workers, partial(bars.show, "brief trainings"))
            bars.hide("brief trainings")
    failures = f", {result.failed} of them failed: see `budgetnas leaderboard {store.root}`" if result.failed else ""
    if described.selection is not None:
        typer.echo(f"{choices} networks chosen, each from {described.selection.of} searches; see {store.root / 'selections'}")
    typer.echo(f"{result.planned} trials ({result.found} were there already){failures}; records in {store.database.path}")
