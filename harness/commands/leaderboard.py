"""`budgetnas leaderboard RUN`: writes the pages of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetnas.harness.records.store import RunError

GRAPH_PICTURE = "lookup-graphs.png"

if TYPE_CHECKING:
    import pandas as pd

    from budgetnas.harness.records.store import Store


def leaderboard_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/default.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder for the pages; by default RUN/leaderboards.", show_default=False)] = None,
    curve: Annotated[
        list[str] | None,
        typer.Option(
            help="A method whose curve over the limits is drawn, for a run on a table; may be given several times; by default the methods"
            " with full information.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the pages of a run.

    A run on a table gets a board for every dataset and device, and an index with the ranking over all of them.
    A run that trained gets one page with what its searches found and how they progressed.
    """
    from rich.console import Console

    from budgetnas.harness.evaluators.registry import entry_of
    from budgetnas.harness.records.store import Store
    from budgetnas.harness.records.table import read_records
    from budgetnas.harness.studies.run import default_folder

    store = Store(run)
    records, contexts, plan = read_records(store)
    target = out or run / "leaderboards"
    missing = len(plan["trials"]) - len(records)
    if missing:
        typer.echo(f"{missing} of {len(plan['trials'])} trials have no record yet; the pages show the rest", err=True)
    named, elsewhere = plan.get("reference", plan["study"]), f" --out {run}" if run != default_folder(plan["study"]) else ""
    made_by = [f"budgetnas run {named}{elsewhere}", f"budgetnas leaderboard {run}" + (f" --out {out}" if out else "")]
    made_by[-1] += "".join(f" --curve '{name}'" for name in curve or [])
    points, seeds = max(zip(records["lookup_points"], records["lookup_seeds"], strict=True))
    if points:
        made_by.insert(0, f"budgetnas lookup-graph {named} --points {points} --seeds {seeds}")
    with Console(stderr=True).status(f"writing {len(contexts)} pages"):
        graphs = _draw_graphs(store, target)
        if entry_of(plan["evaluator"]).reads_table:
            from budgetnas.leaderboards.boards.pages import write_pages

            pages = write_pages(records, contexts, target, plan["title"], " && ".join(made_by), curve or [], graphs)
        else:
            pages = _of_searches(store, records, contexts, plan, target, made_by, graphs)
    typer.echo(f"{len(pages)} pages; begin with {target / 'README.md'}")


def _draw_graphs(store: Store, target: Path) -> str:
    """Draw the look-up graphs that the run's trials read. Returns the picture's file name, or '' if they read none."""
    from budgetnas.harness.lookup.files import draw, read_graphs
    from budgetnas.harness.lookup.graphs import LookupGraphError
    from budgetnas.harness.studies.run import GRAPHS

    path = store.root / GRAPHS
    if not path.is_file():
        return ""
    try:
        graphs = read_graphs(path)
    except LookupGraphError:
        raise RunError(f"{path} is damaged; run the study again: finished trials are kept") from None
    try:
        target.mkdir(parents=True, exist_ok=True)
        draw(graphs, target / GRAPH_PICTURE)
    except OSError as error:
        raise RunError(f"cannot write the pages into {target}: {error.strerror or error}; choose another folder with --out") from None
    return GRAPH_PICTURE


def _of_searches(
    store: Store, records: pd.DataFrame, contexts: list[Path], plan: dict[str, Any], target: Path, made_by: list[str], graphs: str
) -> list[Path]:
    from budgetnas.harness.comparison.searches import searched
    from budgetnas.harness.studies.selection import with_selections
    from budgetnas.leaderboards.searches.pages import write_search_pages

    table, comparison = searched(store, with_selections(store, plan, records))
    compare = f"budgetnas compare {store.root} --recipe RECIPE"
    commands = [*made_by[:-1], *([command] if (command := comparison.get("command")) else []), made_by[-1]]
    return write_search_pages(table, contexts, comparison, target, plan["title"], " && ".join(commands), compare, graphs)
