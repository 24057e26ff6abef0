"""`budgetnas query`: everything known of one architecture. `budgetnas oracle`: the exact best under limits."""

from __future__ import annotations

import enum
import json
import math
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from budgetnas.harness.costs.tabulated_space import Landscape
    from budgetnas.spaces.space import Architecture, Space
    from budgetnas.spaces.task import Task

SpaceName = Annotated[str, typer.Argument(metavar="SPACE", help="A space, such as nasbench201.", show_default=False)]
Dataset = Annotated[str, typer.Option(help="A dataset: see `budgetnas list datasets`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class NotCounted(ValueError):
    """CPU cycles that a space does not have; the message says why."""


class NoTable(ValueError):
    """A question about all architectures of a space on a dataset that no table of it knows; the message lists those there are."""


class CycleModel(enum.Enum):
    """Which CPU cycles are meant: of DEff-ARTS's fixed representations, or of the whole real network."""

    PAPER = "paper"
    NETWORK = "network"


def query_command(
    space: SpaceName,
    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH|INDEX", help="The published text of an architecture, its published name, or its index.", show_default=False
        ),
    ],
    dataset: Dataset = "cifar10",
    channels: Annotated[int | None, typer.Option(help="Channels of the network, where a space has a choice.", show_default=False)] = None,
    cells: Annotated[int | None, typer.Option(help="Cells of the network, where a space has a choice.", show_default=False)] = None,
    cycles: Annotated[
        CycleModel | None,
        typer.Option(help="CPU cycles by DEff-ARTS's model: as the paper counts cells, or of the whole network.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print everything known of one architecture: complexity, accuracy, latency and energy on every device."""
    from budgetnas.harness.costs.tabulated_space import landscape_of
    from budgetnas.spaces.registry import space_of
    from budgetnas.spaces.task import task_of

    sized = space_of(_sized(space_of(space).name, channels=channels, cells=cells))
    architecture = architecture_of(sized, arch)
    task = task_of(dataset)
    known = describe(landscape_of(sized.name, dataset), architecture) if has_table(sized, dataset) else computed(sized, architecture, task)
    if cycles is not None:
        known["cycles"] = _cycles(sized, architecture, task, cycles)
    if as_json:
        typer.echo(json.dumps(known))
        return
    from rich.console import Console

    typer.echo(known["arch"])
    Console().print(_sheet(known))


def _sized(name: str, **sizes: int | None) -> str:
    """Return a space's name with the sizes among its parameters, in place of those that it had."""
    base, _, given = name.rstrip("]").partition("[")
    parameters = [each for each in given.split(",") if each] + [f"{key}={size}" for key, size in sizes.items() if size is not None]
    return f"{base}[{','.join(parameters)}]" if parameters else base


def has_table(space: Space, dataset: str) -> bool:
    """Return whether a table of the space's accuracies on a dataset exists, on this machine or elsewhere."""
    from budgetnas.spaces.space import Tabled

    return isinstance(space, Tabled) and dataset in space.tabled


def architecture_of(space: Space, text: str) -> Architecture:
    """Return the architecture that a published text or name or an index says; `InvalidArchitecture` says what is wrong.

    Names are read in either case and with any marks: `PC-DARTS (CIFAR-10)` is `pcdarts_cifar10`.
    """
    from budgetnas.spaces.space import Enumerable, InvalidArchitecture, Published

    if isinstance(space, Published) and len(text) < 100:
        for name, architecture in space.published.items():
            if _letters(name) == _letters(text):
                return architecture
    if isinstance(space, Enumerable) and re.fullmatch(r"[+-]?[0-9]{1,4000}", text.strip()):
        return space.at(int(text))
    try:
        return space.decode(text)
    except InvalidArchitecture as refusal:
        if isinstance(space, Published) and re.fullmatch(r"[\w .()-]{1,60}", text.strip()):
            raise InvalidArchitecture(f"{refusal}; names of published ones are {', '.join(space.published)}") from None
        raise


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def computed(space: Space, arch: Architecture, task: Task) -> dict[str, Any]:
    """Return what is computed of an architecture where there is no table, as JSON values; None is 'not supported'."""
    from budgetnas.spaces.devices import DEVICE_RESOURCES
    from budgetnas.spaces.space import CostedOnDevices, Described, Enumerable

    complexity = space.complexity(arch, task)
    figures = dict(space.figures(arch, task)) if isinstance(space, Described) else {}
    counted = {name: int(value) if float(value).is_integer() else float(value) for name, value in figures.items()}
    cycles = {"cycles": counted.pop("cycles")} if "cycles" in counted else {}
    costs: dict[str, dict[str, float | None]] = {}
    if isinstance(space, CostedOnDevices):
        on_devices = {device: space.device_cost(arch, task, device) for device in space.devices(task)}
        for resource in DEVICE_RESOURCES:
            costs[resource] = {device: _number(cost[resource]) for device, cost in on_devices.items() if resource in cost}
    return {
        "space": space.name,
        "dataset": task.dataset,
        "arch": space.encode(arch),
        **({"index": space.index(arch)} if isinstance(space, Enumerable) else {}),
        "connected": space.connected(arch),
        "params": complexity.params,
        **counted,
        "macs": complexity.macs,
        **cycles,
        **costs,
    }


def _cycles(space: Space, arch: Architecture, task: Task, model: CycleModel) -> int:
    """Return an architecture's CPU cycles. `NotCounted` for a space that does not have them."""
    from budgetnas.spaces.space import CountedInPaper, Described

    if model is CycleModel.PAPER:
        if isinstance(space, CountedInPaper):
            return space.paper_cycles(arch)
        raise NotCounted(f"DEff-ARTS's paper counts no cells of '{space.name}'; `--cycles network` is of whole networks")
    figures = space.figures(arch, task) if isinstance(space, Described) else {}
    if "cycles" not in figures:
        raise NotCounted(f"CPU cycles of networks of '{space.name}' are not known; leave --cycles out")
    return int(figures["cycles"])


def describe(landscape: Landscape, arch: Architecture) -> dict[str, Any]:
    """Return all that is known of an architecture as JSON values; None is 'not supported' or 'not known'."""
    from budgetnas.spaces.devices import DEVICE_RESOURCES, DEVICES
    from budgetnas.spaces.tables import accuracy, hardware

    space, table, dataset = landscape.space, landscape.table, landscape.task.dataset
    index = space.index(arch)
    complexity = space.complexity(arch, landscape.task)
    costs: dict[str, dict[str, float | None]] = {}
    for resource in DEVICE_RESOURCES:
        devices = [device for device in DEVICES if resource in hardware.metrics(table, dataset, device)]
        table.load([hardware.cost_column(resource, dataset, device) for device in devices])
        costs[resource] = {device: _number(hardware.device_cost(table, resource, dataset, device)[index]) for device in devices}
    return {
        "space": space.name,
        "dataset": dataset,
        "arch": space.encode(arch),
        "index": index,
        "connected": space.connected(arch),
        "params": complexity.params,
        "macs": complexity.macs,
        "accuracy": {"validation": _number(landscape.validation[index]), "test": _number(landscape.test[index])},
        **costs,
        "cycles": int(landscape.resource("cycles")[index]) if "cycles" in landscape.resources else None,
        "training_seconds": _number(landscape.training_seconds[index]),
        "accuracy_by_seed": {
            split: {
                str(seed): _number(accuracy.accuracy(table, dataset, split, seed=seed)[index])
                for seed in accuracy.seeds(table, dataset, split)
            }
            for split in ("validation", "test")
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


_COUNTED = {
    "params": "parameters",
    "params_with_auxiliary": "parameters with auxiliary head",
    "macs": "multiply-adds",
    "cycles": "C64x+ cycles",
}
_NOT_COUNTED = ("index", "connected", "training_seconds")


def _sheet(known: dict[str, Any]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from budgetnas.spaces.devices import DEVICES

    def shown(value: float | None, digits: int = 2, otherwise: str = "unknown") -> str:
        return otherwise if value is None else f"{value:,.{digits}f}"

    title = " ".join([known["space"], *([str(known["index"])] if "index" in known else []), "on", known["dataset"]])
    sheet = Table("what", "value", "unit", title=escape(title), title_justify="left")
    sheet.columns[1].justify = "right"
    sheet.add_row("connected", "yes" if known["connected"] else "no: it cannot know anything", "")
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
        str | None, typer.Option(help="The resource of the Pareto front; by default the first limited one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the exact best architecture under limits, by validation and by test accuracy, and the exact Pareto front."""
    from budgetnas.harness.costs.tabulated_space import landscape_of

    _require_table(space, dataset)
    answer = solve(landscape_of(space, dataset, device), limit or [], front)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for sheet in _answer_sheets(answer):
        console.print(sheet, soft_wrap=isinstance(sheet, str))


def _require_table(space: str, dataset: str) -> None:
    """Raise `NoTable` where no table of a space that has some knows a dataset; what is unknown altogether is refused as that."""
    from budgetnas.spaces.registry import space_of
    from budgetnas.spaces.space import Tabled
    from budgetnas.spaces.task import task_of

    found = space_of(space)
    task_of(dataset)
    if isinstance(found, Tabled) and dataset not in found.tabled:
        raise NoTable(f"no table knows the accuracies of {space} on {dataset}; choose one of {', '.join(found.tabled)}")


def solve(landscape: Landscape, limits: list[str], front: str | None) -> dict[str, Any]:
    """Return the oracle's answer as JSON values. The front is of test accuracy against `front`, within the limits."""
    from budgetnas.harness.costs.limits import axis, resolve
    from budgetnas.harness.costs.oracle import oracle, pareto_front
    from budgetnas.harness.costs.tabulated_space import finite

    bounds = resolve(landscape, limits)
    best = oracle(landscape, bounds.limits)
    resource = front or axis(bounds.limits, landscape)
    landscape.resource(resource)  # an unknown one is refused before anything is printed

    def entry(index: int | None) -> dict[str, Any] | None:
        if index is None:
            return None
        return {
            "arch": landscape.space.encode(landscape.architecture(index)),
            "index": index,
            "validation": _number(landscape.validation[index]),
            "test": _number(landscape.test[index]),
            "cost": finite(landscape.cost_at(index)),
        }

    return {
        "space": landscape.space.name,
        "dataset": landscape.task.dataset,
        "device": landscape.device,
        "limits": [{"resource": x.resource, "upper": None if x.upper == math.inf else x.upper, "lower": x.lower} for x in bounds.limits],
        "feasible": best.feasible,
        "share": bounds.share,
        "best_by_validation": entry(best.best_by_validation),
        "best_by_test": entry(best.best_by_test),
        "front_resource": resource,
        "front": [entry(int(index)) for index in pareto_front(landscape, resource, bounds.limits)],
    }


def _answer_sheets(answer: dict[str, Any]) -> list[Any]:
    from rich.table import Table

    where = f"{answer['space']} on {answer['dataset']}" + (f", {answer['device']}" if answer["device"] else "")
    heading = f"{where}: {answer['feasible']:,} architectures are feasible ({answer['share']:.1%} of those connected and supported)"
    if answer["feasible"] == 0:
        return [heading]
    # What the limits are on, and what the front is drawn against: the rest is in --json.
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
