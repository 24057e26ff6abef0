"""`budgetnas lookup-graph STUDY`: makes the look-up graphs that a study's methods read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetnas.harness.commands.progress import Bars

if TYPE_CHECKING:
    from budgetnas.harness.records.trial import Trial
    from budgetnas.harness.studies.study import Study


def lookup_graph_command(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help='A study file in which a method has lookup = "FILE.json".', show_default=False)
    ],
    points: Annotated[int, typer.Option(min=2, help="Number of search limits per graph.")] = 16,
    seeds: Annotated[int, typer.Option(min=1, help="Number of searches under each limit, one per seed.")] = 3,
    lowest: Annotated[
        float | None,
        typer.Option(
            help="Lowest search limit, in the resource's unit; by default half the tightest limit of the study or, for parameters and"
            " MACs in a supernet, the least that the search network can have."
        ),
    ] = None,
    highest: Annotated[
        float | None,
        typer.Option(
            help="Highest search limit; by default twice the loosest limit of the study or, in a supernet, twice what a search begins with."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the searches; by default runs/NAME-lookup.", show_default=False)] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of searches that run at a time; by default one per core.", show_default=False)
    ] = None,
) -> None:
    """Run the searches of every look-up graph that a study's methods read, and write the graphs as JSON, CSV and PNG.

    Search limits are evenly spaced on a logarithmic scale.

    The command may be stopped at any moment and run again: finished searches are kept, also those of another grid.
    """
    from budgetnas.harness.lookup.files import read_graphs, write_graphs
    from budgetnas.harness.lookup.graphs import Grid, LookupGraphError, build, default_range, wanted
    from budgetnas.harness.records.store import Store
    from budgetnas.harness.studies.run import default_folder
    from budgetnas.harness.studies.study import read_study

    described, folder = read_study(study)
    store = Store(out or default_folder(f"{described.name}-lookup"))
    for file, trials in _named(described, folder, study):
        if file.exists():
            read_graphs(file)  # raises now, not after hours of searches, if the file is unusable
        graphs = []
        for trial, resource, uppers in wanted(trials):
            least, most = default_range(trial, resource, uppers)
            grid = Grid(least if lowest is None else lowest, most if highest is None else highest, points, seeds)
            graphs.append((trial, resource, grid))
        if not graphs:
            raise LookupGraphError(f"{study}: no problem has an upper limit, so there is nothing to look up; add one, such as params@q50")
        with Bars() as bars:
            bars.show("searches")
            made = build(graphs, store, workers or os.cpu_count() or 1, partial(bars.show, "searches"))
        write_graphs(made, file)
        for graph in made:
            lost = f" ({len(graph.left_out)} delivered no network)" if graph.left_out else ""
            effort = f"{graph.searches} searches{lost}, {graph.steps:,} steps, {graph.seconds:.0f} s"
            typer.echo(f"{graph.title}: covers limits {graph.covered}; {effort}")
        typer.echo(f"see {file}, {file.with_suffix('.csv').name} and {file.with_suffix('.png').name}")


def _named(study: Study, folder: Path, reference: str) -> Iterator[tuple[Path, list[Trial]]]:
    """Yield every file of look-up graphs that a study names, with the trials of the methods that read it, planned without the graphs."""
    from budgetnas.harness.catalogue.catalogue import find_method
    from budgetnas.harness.lookup.graphs import LookupGraphError, without_file
    from budgetnas.harness.problem.lookup import SETTING
    from budgetnas.harness.studies.plan import expand
    from budgetnas.harness.studies.study import MethodPart

    files: dict[str, list[Trial]] = {}
    for part in study.method:
        settings, file = without_file(part.settings, find_method(part.name, folder).cls)
        if file is None and SETTING in part.settings:
            raise LookupGraphError(f"{reference}: method '{part.name}' reads no look-up graphs; remove {SETTING}, or use dca_nas")
        if file is not None:
            alone = MethodPart.model_validate({"name": part.name, "label": part.label} | settings)
            trials = expand(study.model_copy(update={"method": [alone]}), folder, reference).trials
            files.setdefault(file, []).extend(trials)
    if not files:
        raise LookupGraphError(f'{reference} names no look-up graphs; write {SETTING} = "FILE.json" under a [[method]], such as dca_nas')
    yield from ((folder / file, trials) for file, trials in files.items())
