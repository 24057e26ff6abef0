"""`budgetnas compare RUN`: what a run recommended, retrained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetnas.harness.evaluators.registry import entry_of

if TYPE_CHECKING:
    import pandas as pd

    from budgetnas.harness.comparison.retrain_all import Compared
    from budgetnas.harness.records.store import Store

SEEDS = 3


def compare_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/default.", show_default=False)],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="How to train: the name of a recipe, or a TOML file. Left out: the recipe of the dataset's table.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help=f"Evaluation seeds that each network is trained with; by default {SEEDS}.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the comparison goes; by default RUN/leaderboards.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Networks are trained in this many processes.")] = os.cpu_count() or 1,
) -> None:
    """Retrain what a run recommended, and compare queried with retrained accuracy.

    Of a run on a table, the best network that each method found under each limit; of a run that trained, what every search recommended.
    Stopped at any moment, it goes on when the same command is given again: what was trained is kept.
    """
    from budgetnas.harness.records.store import Store
    from budgetnas.harness.records.table import read_records
    from budgetnas.harness.training.job import can_retrain

    store = Store(run)
    records, _, plan = read_records(store)
    target = out or run / "leaderboards"
    own_trainer = any(can_retrain(*pair) for pair in zip(records["space"], records["dataset"], strict=True))
    if entry_of(plan["evaluator"]).reads_table and recipe is None and (own_trainer or not _can_be_built(records)):
        if seeds is not None:
            raise typer.BadParameter("--seeds goes with --recipe: the table's own training has the table's own seeds")
        _by_the_tables_trainer(records, run, target, workers)
    else:
        _by_recipe(store, records, plan, recipe, seeds or SEEDS, target, workers)
    typer.echo(f"see {target / 'compare.md'}")


def _can_be_built(records: pd.DataFrame) -> bool:
    """Return whether a recipe could train what a run found: its images may be missing, which is another matter, but there are some."""
    from budgetnas.harness.training.images.load import LOADERS

    return any(dataset in LOADERS for dataset in set(records["dataset"]))


def _by_the_tables_trainer(records: pd.DataFrame, run: Path, target: Path, workers: int) -> None:
    from budgetnas.harness.comparison.compare import agreement, compare, comparison_csv, comparison_page, summary, winners

    chosen = winners(records)
    with _bar() as show:
        show(0, len(chosen))
        compared = compare(chosen, workers, show)
    _write(target, {"compare.csv": comparison_csv(compared), "compare.md": comparison_page(compared, f"budgetnas compare {run}")})
    for dataset in dict.fromkeys(one.winner.dataset for one in compared):
        typer.echo(f"{dataset}: {summary(agreement([one for one in compared if one.winner.dataset == dataset]))}")


def _by_recipe(
    store: Store, records: pd.DataFrame, plan: dict[str, Any], recipe: str | None, seeds: int, target: Path, workers: int
) -> None:
    from budgetnas.harness.comparison.candidates import of_searches, of_table
    from budgetnas.harness.comparison.comparison_page import PICTURE, csv_of, page_of, sentence
    from budgetnas.harness.comparison.retrain_all import agreements, compare_by_recipe, recipe_for
    from budgetnas.harness.comparison.searches import history_of, last_figures, write_comparison
    from budgetnas.harness.studies.selection import with_selections

    for pair in sorted({(str(row.space), str(row.dataset)) for row in records.itertuples()}):
        recipe_for(*pair, recipe)  # what is wrong with a recipe is said before anything else
    every, left_out = not entry_of(plan["evaluator"]).reads_table, list[str]()
    if every:
        candidates = of_searches(with_selections(store, plan, records), lambda identity: last_figures(history_of(store, identity)))
    else:
        candidates, left_out = of_table(records)
    for line in left_out:
        typer.echo(line, err=True)
    with _bar() as show:
        compared = compare_by_recipe(candidates, recipe, seeds, workers, show)
    name = str(compared[0].trainings[0].identity["recipe"])
    command = (
        f"budgetnas compare {store.root}" + (f" --recipe {recipe}" if recipe else "") + (f" --seeds {seeds}" if seeds != SEEDS else "")
    )
    write_comparison(store, compared, name, command)
    _write(target, {"compare.csv": csv_of(compared), "compare.md": page_of(compared, recipe, every, command, left_out)})
    _draw(compared, target / PICTURE)
    for dataset in dict.fromkeys(one.candidate.dataset for one in compared):
        of_dataset = [one for one in compared if one.candidate.dataset == dataset]
        typer.echo(f"{dataset}: {len(of_dataset)} networks retrained by {name}")
        for found in agreements(of_dataset):
            typer.echo(f"  {sentence(found, len(of_dataset))}")


def _draw(compared: Sequence[Compared], path: Path) -> None:
    """Draw a panel for every dataset and figure known before; where none is, the networks by method."""
    from budgetnas.harness.comparison.candidates import methods_of
    from budgetnas.harness.comparison.retrain_all import agreements, known_figure, retrained_figure
    from budgetnas.leaderboards.comparison.picture import Dot, ScatterPanel, scatter_picture

    words = {"queried": "queried test accuracy [%]", "early_stopped": "early-stopped validation accuracy [%]"}
    panels = []
    for key in dict.fromkeys((one.candidate.space, one.candidate.dataset) for one in compared):
        of_key = [one for one in compared if (one.candidate.space, one.candidate.dataset) == key]
        title = " on ".join(key)
        for side in [found.side for found in agreements(of_key)]:
            figures = [(known_figure(one, side), one) for one in of_key if known_figure(one, side) == known_figure(one, side)]
            validated = side == "early_stopped" and all(one.validation.count for _, one in figures)
            dots = [
                Dot(next(methods_of(one.candidate)), before, retrained_figure(one, side), _deviation(one, validated))
                for before, one in figures
            ]
            panels.append(ScatterPanel(title, words[side], f"retrained {'validation' if validated else 'test'} accuracy [%]", tuple(dots)))
        if not agreements(of_key):
            dots = [Dot(name, None, one.test.value, _deviation(one, False)) for one in of_key for name in methods_of(one.candidate)]
            panels.append(ScatterPanel(title, "", "retrained test accuracy [%]", tuple(dots)))
    scatter_picture(panels, path)


def _deviation(one: Compared, validated: bool) -> float:
    """Return the standard deviation over evaluation seeds [points]; 0 with one."""
    import numpy as np

    figures = [training.validation if validated else training.test for training in one.trainings]
    return float(np.std(np.array(figures, np.float64), ddof=1)) if len(figures) > 1 else 0.0


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many are done of how many, with the time left, where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = (TextColumn("retraining"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("retraining", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _write(target: Path, files: Mapping[str, str]) -> None:
    from budgetnas.harness.records.store import RunError

    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (target / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RunError(f"cannot write the comparison into {target}: {error.strerror}; choose another folder with --out") from None
