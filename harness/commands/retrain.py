"""`budgetnas retrain`: one network trained again, beside what the table says of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from budgetnas.harness.commands.query import AsJson, SpaceName


def retrain_command(
    space: SpaceName,
    arch: Annotated[
        str, typer.Argument(metavar="ARCH|INDEX", help="The published text of an architecture, or its index.", show_default=False)
    ],
    dataset: Annotated[str, typer.Option(help="A dataset whose networks this project trains.")] = "digits201",
    seed: Annotated[int, typer.Option(help="The training seed: one of the table's.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train one network, and print its accuracy beside the one that is queried from the table."""
    from budgetnas.harness.commands.query import architecture_of
    from budgetnas.harness.compare import retrained_beside_queried
    from budgetnas.spaces.registry import space_of

    found = retrained_beside_queried(space, architecture_of(space_of(space), arch), dataset, seed)
    if as_json:
        typer.echo(json.dumps(found))
        return
    from rich.console import Console

    typer.echo(found["arch"])
    console = Console(highlight=False)
    console.print(_sheet(found))
    console.print(
        f"Trained in {found['seconds']:.2f} s of one core. The difference is that to the table's seed {seed}; on the kind of machine "
        "that made the table it is zero.",
        soft_wrap=True,
    )


def _sheet(found: dict[str, Any]) -> Any:
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
