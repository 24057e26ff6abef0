"""`budgetnas retrain`: trains one network from scratch, and shows its accuracy beside the one in a table."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetnas.harness.commands.query import AsJson, SpaceName

if TYPE_CHECKING:
    from budgetnas.harness.training.job import Job
    from budgetnas.harness.training.result import Trained
    from budgetnas.spaces.space import Architecture


def retrain_command(
    space: SpaceName,
    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH|INDEX",
            help="An architecture: its text in the published format, its published name, or its index.",
            show_default=False,
        ),
    ],
    dataset: Annotated[str, typer.Option(help="Dataset to train on.")] = "digits201",
    recipe: Annotated[
        str | None, typer.Option(help="Training recipe: a name or a TOML file; by default the recipe of the dataset's table.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of the order of the images.")] = 0,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; by default $BUDGETNAS_IMAGES, else `images` in the data folder.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the result and the weights; by default only the result is kept, in the data folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train one network, and print its accuracy beside the queried one, if a table has it.

    The command may be stopped at any moment; run it again to continue from the last complete epoch.
    """
    from budgetnas.harness.costs.query import architecture_of
    from budgetnas.harness.training.job import can_retrain, default_recipe
    from budgetnas.spaces.registry import space_of

    architecture = architecture_of(space_of(space), arch)
    chosen = recipe or default_recipe(space, dataset)
    if can_retrain(space, dataset) and chosen == default_recipe(space, dataset):
        if out is not None or images is not None:
            raise typer.BadParameter(f"--out and --images do not apply to the training behind the table of {dataset}; remove them")
        _beside_its_own_table(space, architecture, dataset, seed, as_json)
    else:
        _by_recipe(space, architecture, dataset, chosen, seed, images, out, as_json)


def _beside_its_own_table(space: str, architecture: Architecture, dataset: str, seed: int, as_json: bool) -> None:
    from budgetnas.harness.comparison.queried import retrained_beside_queried

    found = retrained_beside_queried(space, architecture, dataset, seed)
    if as_json:
        typer.echo(json.dumps(found))
        return
    from rich.console import Console

    typer.echo(found["arch"])
    console = Console(highlight=False)
    console.print(_own_table_sheet(found))
    console.print(
        f"Trained in {found['seconds']:.2f} s on one core. The difference is to the table's seed {seed}; it is zero on the kind of machine "
        "that made the table.",
        soft_wrap=True,
    )


def _own_table_sheet(found: dict[str, Any]) -> Any:
    from rich.table import Table

    title = f"{found['space']} {found['index']} on {found['dataset']}, seed {found['seed']}"
    seeds = ", ".join(map(str, found["seeds"]))
    sheet = Table("accuracy %", "trained", "queried", "difference", f"queried, mean of seeds {seeds}", title=title, title_justify="left")
    for column in sheet.columns[1:]:
        column.justify = "right"
    for split in ("validation", "test"):
        values = [found[kind][split] for kind in ("trained", "queried", "difference", "queried_mean")]
        sheet.add_row(split, *[f"{value:+.2f}" if position == 2 else f"{value:.2f}" for position, value in enumerate(values)])
    return sheet


def _by_recipe(
    space: str, architecture: Architecture, dataset: str, recipe: str, seed: int, images: Path | None, out: Path | None, as_json: bool
) -> None:
    from budgetnas.harness.commands.training_view import TrainingView
    from budgetnas.harness.training.job import job_of, kept_in
    from budgetnas.harness.training.result import to_json
    from budgetnas.harness.training.retrain import run_job

    job = job_of(space, architecture, dataset, recipe, seed, images)
    folder = out or kept_in(job)
    queried = _queried(job)  # first: a damaged table is reported now, not after hours of training
    view: AbstractContextManager[TrainingView | None] = nullcontext() if as_json else TrainingView(job)
    with view as shown:
        if shown is None:
            trained = run_job(job, folder, keep=out is not None)
        else:
            trained = run_job(job, folder, shown.show, shown.announce, keep=out is not None)
    if as_json:
        given = job.space.encode(architecture)
        typer.echo(json.dumps({"arch": given, **to_json(trained), "kept": trained.kept, "queried": queried, "folder": str(folder)}))
        return
    _print(job, architecture, trained, queried, folder)


def _queried(job: Job) -> dict[str, float] | None:
    """Return the network's accuracies [%] in a table on this machine, means over the table's seeds; None if no table has them."""
    from budgetnas.harness.costs.tabulated_space import NotEnumerable, tabulated_space_of
    from budgetnas.spaces.tables.columnar import DamagedTable, TableError

    try:
        found = tabulated_space_of(job.space.name, job.task.dataset).accuracy_of(job.arch)
    except DamagedTable:
        raise
    except (NotEnumerable, TableError):
        return None
    return None if any(math.isnan(value) for value in found.values()) else found


def _print(job: Job, architecture: Architecture, trained: Trained, queried: dict[str, float] | None, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from budgetnas.harness.training.recipes.table_recipes import difference_line

    typer.echo(job.space.encode(architecture))
    console = Console(highlight=False)
    if architecture != job.arch:
        console.print(f"trained as {trained.identity['arch']}, which is the same network", soft_wrap=True, markup=False)
    console.print(
        f"{job.space.name} on {job.task.dataset}, recipe {trained.identity['recipe']}, seed {job.seed}", soft_wrap=True, markup=False
    )
    sheet = Table("accuracy %", "trained", *(["queried"] if queried else []))
    for column in sheet.columns[1:]:
        column.justify = "right"
    for split, reached in (("validation", trained.validation), ("test", trained.test)):
        sheet.add_row(split, "none" if reached is None else f"{reached:.2f}", *([f"{queried[split]:.2f}"] if queried else []))
    console.print(sheet)
    if trained.diverged:
        console.print("The training diverged: its loss became infinite or NaN. Its accuracy is that of guessing.", soft_wrap=True)
    took = f"{trained.seconds:.1f} s for {len(trained.epochs)} epochs on {trained.device} with {trained.threads} thread(s)"
    memory = f"{trained.peak_memory_bytes / 2**20:,.0f} MiB of memory at the peak"
    console.print(f"{'Trained before, in' if trained.kept else 'Trained in'} {took}, {memory}; kept in {folder}", soft_wrap=True)
    if queried and job.recipe is not None:
        console.print(difference_line(job.space.name, job.task.dataset, job.recipe), soft_wrap=True)
