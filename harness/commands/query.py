"""`budgetnas query` prints everything known about one architecture; `budgetnas oracle` prints the exact best under limits."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

SpaceName = Annotated[str, typer.Argument(metavar="SPACE", help="A space, such as nasbench201.", show_default=False)]
Dataset = Annotated[str, typer.Option(help="A dataset: see `budgetnas list datasets`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class CycleModel(enum.Enum):
    """Which CPU cycles are counted: those of DEff-ARTS's fixed representations of cells, or those of the whole real network."""

    PAPER = "paper"
    NETWORK = "network"


def query_command(
    space: SpaceName,
    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH|INDEX",
            help="An architecture: its text in the published format, its published name, or its index.",
            show_default=False,
        ),
    ],
    dataset: Dataset = "cifar10",
    channels: Annotated[
        int | None, typer.Option(help="Number of channels, in spaces that have this parameter.", show_default=False)
    ] = None,
    cells: Annotated[int | None, typer.Option(help="Number of cells, in spaces that have this parameter.", show_default=False)] = None,
    cycles: Annotated[
        CycleModel | None,
        typer.Option(help="Add CPU cycles by DEff-ARTS's model: those of the paper's cells, or of the whole network.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print everything known about one architecture: complexity, accuracy, latency and energy on every device."""
    from budgetnas.harness.costs.query import architecture_of, known_of, network_cycles, paper_cycles, sized_space
    from budgetnas.spaces.task import task_of

    sized = sized_space(space, channels, cells)
    architecture = architecture_of(sized, arch)
    known = known_of(sized, architecture, dataset)
    if cycles is CycleModel.PAPER:
        known["cycles"] = paper_cycles(sized, architecture)
    elif cycles is CycleModel.NETWORK:
        known["cycles"] = network_cycles(sized, architecture, task_of(dataset))
    if as_json:
        typer.echo(json.dumps(known))
        return
    from rich.console import Console

    typer.echo(known["arch"])
    Console().print(_sheet(known))


_COUNTED = {
    "params": "parameters",
    "params_with_auxiliary": "parameters with auxiliary head",
    "macs": "multiply-adds",
    "cycles": "C64x+ cycles",
}
_NOT_COUNTED = ("index", "connected", "training_seconds")


def _sheet(known: Mapping[str, Any]) -> Any:
    """Return the table that the terminal shows for an architecture."""
    from rich.markup import escape
    from rich.table import Table

    from budgetnas.spaces.devices import DEVICES

    def shown(value: float | None, digits: int = 2, otherwise: str = "unknown") -> str:
        return otherwise if value is None else f"{value:,.{digits}f}"

    title = " ".join([known["space"], *([str(known["index"])] if "index" in known else []), "on", known["dataset"]])
    sheet = Table("what", "value", "unit", title=escape(title), title_justify="left")
    sheet.columns[1].justify = "right"
    sheet.add_row("connected", "yes" if known["connected"] else "no: its output does not depend on its input", "")
    for name, value in known.items():
        if isinstance(value, int | float) and name not in _NOT_COUNTED:
            sheet.add_row(_COUNTED.get(name, name.replace("_", " ")), f"{value:,}", "")
    if "accuracy" in known:
        sheet.add_row("validation accuracy", shown(known["accuracy"]["validation"]), "%")
        sheet.add_row("test accuracy", shown(known["accuracy"]["test"]), "%")
        sheet.add_row("training time", shown(known["training_seconds"], 0 if (known["training_seconds"] or 0) >= 100 else 2), "s")
    for resource, unit in (("latency_ms", "ms"), ("energy_mj", "mJ")):
        for device, value in known.get(resource, {}).items():
            origin = DEVICES[device].metrics[resource]
            sheet.add_row(f"{resource.split('_')[0]} on {device} ({origin})", shown(value, 3, "not supported"), unit)
    return sheet


def oracle_command(
    space: SpaceName,
    dataset: Dataset = "cifar10",
    device: Annotated[str | None, typer.Option(help="A device: see `budgetnas list devices`.", show_default=False)] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="A limit, such as 'latency_ms<=5', 'params>=300k' or 'energy_mj@q10'; may be given several times.", show_default=False
        ),
    ] = None,
    front: Annotated[
        str | None, typer.Option(help="Resource of the Pareto front; by default the first one with a limit.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the exact best architecture under limits, by validation and by test accuracy, and the exact Pareto front."""
    from budgetnas.harness.costs.query import solve, space_with_table

    answer = solve(space_with_table(space, dataset, device), limit or [], front)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for sheet in _answer_sheets(answer):
        console.print(sheet, soft_wrap=isinstance(sheet, str))


def _answer_sheets(answer: Mapping[str, Any]) -> list[Any]:
    """Return the lines and the table that the terminal shows for an oracle's answer."""
    from rich.table import Table

    where = f"{answer['space']} on {answer['dataset']}" + (f", {answer['device']}" if answer["device"] else "")
    heading = f"{where}: {answer['feasible']:,} architectures are feasible ({answer['share']:.1%} of those connected and supported)"
    if answer["feasible"] == 0:
        return [heading]
    # The resources of the limits and of the front only: --json has all of them.
    resources = list(dict.fromkeys([answer["front_resource"], *(limit["resource"] for limit in answer["limits"])]))
    found = [("best by validation", answer["best_by_validation"]), ("best by test", answer["best_by_test"])]
    best = [(name, entry) for name, entry in found if entry is not None]
    fronts = [(f"front {number}", entry) for number, entry in enumerate(answer["front"], start=1)]
    sheet = Table("", "index", "validation %", "test %", *resources, box=None, header_style="bold", title_justify="left")
    for name, entry in [*best, *fronts]:
        costs = [f"{value:,.6g}" if isinstance(value := entry["cost"][resource], float) else f"{value:,}" for resource in resources]
        percents = ["unknown" if entry[split] is None else f"{entry[split]:.2f}" for split in ("validation", "test")]
        sheet.add_row(name, str(entry["index"]), *percents, *costs)
    cells = [f"{name}: {entry['arch']}" for name, entry in best]
    return [heading, *cells, f"front: test accuracy against {answer['front_resource']}, exact", sheet]
