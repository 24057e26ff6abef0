"""`budgetnas list methods|spaces|datasets|devices`: lists what is available here, and why the rest is not."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from budgetnas.harness.catalogue.catalogue import FoundMethod

app = typer.Typer(help="List what is available here, and why the rest is not.", no_args_is_help=True)
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
def methods_command(
    method: Annotated[
        str, typer.Argument(metavar="[METHOD]", help="A method's name or `file.py:Class`: show what it does and its settings.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the methods of the project and those of installed packages. With METHOD: describe that one."""
    from budgetnas.harness.catalogue.catalogue import MethodError, announced_methods, find_method, own_methods

    if method:
        _show_method(find_method(method), as_json)
        return
    rows = []
    for name in [*own_methods(), *announced_methods()]:
        try:
            rows.append(_method_row(find_method(name)))
        except MethodError as error:
            rows.append({"method": name, "evaluators": f"no: {error}", "settings": "", "what it is": ""})
    if as_json:
        _show(rows, as_json)
        return
    _show([{heading: text for heading, text in row.items() if heading != "settings"} for row in rows], as_json)
    typer.echo("For the settings of a method: `budgetnas list methods METHOD`.")


def _method_row(found: FoundMethod) -> dict[str, Any]:
    from budgetnas.harness.catalogue.settings_help import as_written
    from budgetnas.harness.evaluators.registry import EVALUATORS, offers
    from budgetnas.spaces.registry import space_of

    space = space_of("nasbench201")  # every evaluator works in it
    answered = ", ".join(kind for kind in EVALUATORS if found.needs <= offers(kind, space))
    return {
        "method": found.reference,
        "evaluators": answered or "no: it needs PyTorch; run `pip install budgetnas[train]`",
        "settings": ", ".join(f"{key}={as_written(value)}" for key, value in found.settings({}).items()) or "none",
        "what it is": (found.cls.__doc__ or "").strip().split("\n")[0],
    }


def _show_method(found: FoundMethod, as_json: bool) -> None:
    from budgetnas.harness.catalogue.settings_help import as_written, meanings

    row = _method_row(found)
    about = inspect.cleandoc(found.cls.__doc__ or "")
    if as_json:
        _show([row | {"settings": found.settings({}), "what it is": about}], as_json)
        return
    typer.echo(f"{found.reference}: {row['evaluators']}\n\n{about}\n")
    known = meanings(found.cls)
    settings = [{"setting": key, "default": as_written(value), "meaning": known.get(key, "")} for key, value in found.settings({}).items()]
    if settings:
        _show(settings, as_json)
    else:
        typer.echo("It has no settings.")


@app.command("spaces")
def spaces_command(as_json: AsJson = False) -> None:
    """List the search spaces, with their parameters and sizes."""
    from budgetnas.spaces.registry import SPACES, space_of
    from budgetnas.spaces.space import Enumerable

    rows = []
    for name in SPACES:
        space = space_of(name)
        size = f"{space.size:,}" if isinstance(space, Enumerable) else "too many to list"
        kind: Any = type(space)
        parameters = [field.name for field in fields(kind) if field.init] if is_dataclass(kind) else []
        rows.append(
            {
                "space": name,
                "parameters": ", ".join(parameters) or "none",
                "architectures": size,
                "genes": len(space.arity),
                "what it is": (kind.__doc__ or "").split("\n")[0],
            }
        )
    _show(rows, as_json)


_NO_TABLE = "no table: complexity can be queried in every space, accuracy needs training"


def _table_state(space: str, dataset: str) -> str:
    """Return `yes` if a space's table of a dataset is on this machine, else the reason and the remedy."""
    from budgetnas.spaces.tables.home import SHIPPED, available, table_path

    if dataset in available(space):
        return "yes"
    if dataset in SHIPPED:
        return "no: its table, which comes with the project, is missing; install budgetnas again"
    return f"no: not in {table_path(space)}; run `budgetnas data fetch`"


@app.command("datasets")
def datasets_command(as_json: AsJson = False) -> None:
    """List the datasets: which have a table of accuracies here, how to get a missing table, and which need training."""
    from budgetnas.spaces.registry import SPACES, space_of
    from budgetnas.spaces.space import Tabled
    from budgetnas.spaces.task import TASKS

    with_tables = [space for name in SPACES if isinstance(space := space_of(name), Tabled)]
    rows = []
    for name, task in TASKS.items():
        of_spaces = [space.name for space in with_tables if name in space.tabled]
        rows.append(
            {
                "dataset": name,
                "space": ", ".join(of_spaces) or "-",
                "available": ", ".join(_table_state(space, name) for space in of_spaces) or _NO_TABLE,
                "images": f"{task.image_size}x{task.image_size}x{task.image_channels}",
                "classes": task.classes,
            }
        )
    _show(rows, as_json)


@app.command("devices")
def devices_command(as_json: AsJson = False) -> None:
    """List the devices: their metrics and units, measured or estimated, and the datasets for which they can be queried here."""
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
