"""`budgetnas list methods|spaces|datasets|devices`: what is available and, for what is not, why."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(help="Say what is available here and, for what is not, why.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*[escape(str(value)) for value in row.values()])
    Console().print(table)


@app.command("methods")
def methods_command(as_json: AsJson = False) -> None:
    """List the searches: the project's own, and those that installed packages announce."""
    from budgetnas.harness.catalogue import MethodError, announced_methods, find_method, own_methods
    from budgetnas.harness.evaluators.table import TableEvaluator

    rows = []
    for name in [*own_methods(), *announced_methods()]:
        try:
            found = find_method(name)
            lacking = found.needs - TableEvaluator.offers
            state = "yes" if not lacking else f"no: a table does not offer {', '.join(need.value for need in lacking)}"
            settings = ", ".join(f"{key}={value}" for key, value in found.settings({}).items())
            about = (found.cls.__doc__ or "").strip().split("\n")[0]
        except MethodError as error:
            state, settings, about = f"no: {error}", "", ""
        rows.append({"method": name, "available": state, "settings": settings or "none", "what it is": about})
    _show(rows, as_json)


@app.command("spaces")
def spaces_command(as_json: AsJson = False) -> None:
    """List the spaces."""
    from budgetnas.spaces.registry import SPACES, space_of
    from budgetnas.spaces.space import Enumerable

    rows = []
    for name in SPACES:
        space = space_of(name)
        size = f"{space.size:,}" if isinstance(space, Enumerable) else "too many to list"
        rows.append(
            {"space": name, "architectures": size, "genes": len(space.arity), "what it is": (type(space).__doc__ or "").split("\n")[0]}
        )
    _show(rows, as_json)


@app.command("datasets")
def datasets_command(as_json: AsJson = False) -> None:
    """List the datasets of tables, and how to get those that are not on this machine."""
    from budgetnas.spaces.tables.home import SHIPPED, available, table_path
    from budgetnas.spaces.task import TASKS

    here = available("nasbench201")
    missing = f"no: not in {table_path('nasbench201')}; run `budgetnas data fetch`"
    lost = "no: its table, which comes with the project, is missing; install budgetnas again"
    rows = [
        {
            "dataset": name,
            "space": "nasbench201",
            "available": "yes" if name in here else lost if name in SHIPPED else missing,
            "images": f"{task.image_size}x{task.image_size}x{task.image_channels}",
            "classes": task.classes,
        }
        for name, task in TASKS.items()
    ]
    _show(rows, as_json)


@app.command("devices")
def devices_command(as_json: AsJson = False) -> None:
    """List the devices: their metrics, units, whether measured or estimated, and for which datasets they can be queried here."""
    from budgetnas.spaces.devices import DEVICES
    from budgetnas.spaces.tables.hardware import metrics
    from budgetnas.spaces.tables.home import available, open_table

    tables = {dataset: open_table("nasbench201", dataset) for dataset in available("nasbench201")}
    rows = []
    for device in DEVICES.values():
        known = [dataset for dataset, table in tables.items() if metrics(table, dataset, device.name)]
        rows.append(
            {
                "device": device.name,
                "what it is": device.title,
                "metrics": ", ".join(f"{resource} ({origin})" for resource, origin in device.metrics.items()),
                "queried here for": ", ".join(known) or "nothing: run `budgetnas data fetch`",
                "source": device.source,
            }
        )
    _show(rows, as_json)
