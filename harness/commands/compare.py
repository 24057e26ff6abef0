"""`budgetnas compare RUN`: retrains the networks that a run recommended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetnas.harness.commands.progress import Bars

if TYPE_CHECKING:
    import pandas as pd

    from budgetnas.harness.comparison.candidates import Candidate
    from budgetnas.harness.records.store import Store


def compare_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/default.", show_default=False)],
    recipe: Annotated[
        str | None,
        typer.Option(help="Training recipe: a name or a TOML file; by default the trainer of the dataset's table.", show_default=False),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Evaluation seeds per network; by default 3 with a recipe, and all seeds of the table with the table's trainer.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the comparison; by default RUN/leaderboards.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that train networks.")] = os.cpu_count() or 1,
) -> None:
    """Retrain the networks that a run recommended, and compare their queried and retrained accuracies.

    For a run on a table, the best network of each method under each limit is retrained.
    For a run that trained, the network of every search is retrained.

    The command may be stopped at any moment; give it again to continue. Finished trainings are kept.
    """
    from budgetnas.harness.comparison.candidates import winners
    from budgetnas.harness.comparison.retrain_all import recipes_of, retrain_all
    from budgetnas.harness.comparison.rows import comparison_rows
    from budgetnas.harness.comparison.searches import write_comparison
    from budgetnas.harness.evaluators.registry import entry_of
    from budgetnas.harness.records.store import Store
    from budgetnas.harness.records.table import read_records
    from budgetnas.leaderboards.comparison.page import PAGE, write_comparison_pages

    store = Store(run)
    records, _, plan = read_records(store)
    pairs = list(zip(records["space"], records["dataset"], strict=True))
    recipes, left_out = recipes_of(pairs, recipe)
    for line in left_out:
        typer.echo(line, err=True)
    on_table = entry_of(plan["evaluator"]).reads_table
    known = records[[pair in recipes for pair in pairs]]
    candidates = winners(known) if on_table else _of_searches(store, plan, known)
    with _bar() as show:
        retrained = retrain_all(candidates, recipes, seeds, workers, show)
    options = (f" --recipe {recipe}" if recipe else "") + (f" --seeds {seeds}" if seeds else "")
    command = f"budgetnas compare {run}{options}"
    write_comparison(store, retrained, command)
    target = out or run / "leaderboards"
    table = comparison_rows(retrained, won=on_table)
    for line in write_comparison_pages(table, target, command, left_out):
        typer.echo(line)
    typer.echo(f"see {target / PAGE}")


def _of_searches(store: Store, plan: dict[str, Any], records: pd.DataFrame) -> list[Candidate]:
    """Return the networks that the searches and selections of a run recommended."""
    from budgetnas.harness.comparison.candidates import networks_of_searches
    from budgetnas.harness.comparison.searches import history_of, last_figures
    from budgetnas.harness.studies.selection import with_selections

    return networks_of_searches(with_selections(store, plan, records), lambda identity: last_figures(history_of(store, identity)))


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that draws a bar with the time left, if standard error is a terminal."""
    with Bars() as bars:
        bars.show("retraining")
        yield partial(bars.show, "retraining")
