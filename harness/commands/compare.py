"""`budgetnas compare RUN`: what a run recommended, retrained."""

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
        typer.Option(
            help="How to train: the name of a recipe, or a TOML file. Left out: the trainer of the dataset's table.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Evaluation seeds that each network is trained with. Left out: 3 by a recipe, all of its table's by the table's trainer.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the comparison goes; by default RUN/leaderboards.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Networks are trained in this many processes.")] = os.cpu_count() or 1,
) -> None:
    """Retrain what a run recommended, and compare queried with retrained accuracy.

    Of a run on a table, the best network that each method found under each limit; of a run that trained, what every search recommended.
    Stopped at any moment, it goes on when the same command is given again: what was trained is kept.
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
    """Return the networks that searches and selections recommended."""
    from budgetnas.harness.comparison.candidates import networks_of_searches
    from budgetnas.harness.comparison.searches import history_of, last_figures
    from budgetnas.harness.studies.selection import with_selections

    return networks_of_searches(with_selections(store, plan, records), lambda identity: last_figures(history_of(store, identity)))


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many are done of how many, with the time left, where standard error is a terminal."""
    with Bars() as bars:
        bars.show("retraining")
        yield partial(bars.show, "retraining")
