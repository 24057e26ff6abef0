"""What pages need and no record holds: the cloud of all architectures, the exact front, the problems of a board, quoted results."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from budgetnas.harness.landscape import Landscape
from budgetnas.harness.limits import Bounds, axis
from budgetnas.harness.oracle import oracle, pareto_front
from budgetnas.spaces.devices import device_of
from budgetnas.spaces.tables import accuracy

if TYPE_CHECKING:
    from budgetnas.harness.plan import Cell

_UNITS = {"latency_ms": "ms", "energy_mj": "mJ", "params": "parameters", "macs": "MACs", "cycles": "cycles"}
_CLOUD_DIGITS = 6  # a picture needs no more; the front and the problems are exact


def board(cell: Cell) -> dict[str, Any]:
    """Return the context of a board, one dataset and device, as JSON values: see `leaderboards/pages.py` for who reads what.

    What is trained has no cloud, no front and no exact best: only its problems, and what their shares were counted over.
    """
    landscape = cell.terrain
    if cell.training is not None or not isinstance(landscape, Landscape):
        return _of_training(cell)
    resource = axis(cell.bounds[0].limits, landscape)
    device = device_of(landscape.device) if landscape.device else None
    shown = np.flatnonzero(landscape.eligible)
    front = pareto_front(landscape, resource)
    return {
        "space": landscape.space.name,
        "dataset": landscape.task.dataset,
        "device": landscape.device or "",
        "device_title": device.title if device else "no device",
        "resource": resource,
        "unit": _UNITS[resource],
        "origin": device.metrics.get(resource, "exact") if device else "exact",
        "chance": landscape.task.chance,
        "table_checksum": landscape.table.checksum,
        "seeds_note": _seeds_note(landscape),
        "cloud": {"cost": _rounded(landscape.resource(resource)[shown]), "test": _rounded(landscape.test[shown])},
        "front": [_entry(landscape, resource, int(index)) for index in front],
        "problems": [_problem(landscape, resource, bounds) for bounds in cell.bounds],
        "quoted": _quoted(landscape),
    }


def _of_training(cell: Cell) -> dict[str, Any]:
    terrain = cell.terrain
    resource = axis(cell.bounds[0].limits, terrain)
    return {
        "space": terrain.space.name,
        "dataset": terrain.task.dataset,
        "device": terrain.device or "",
        "device_title": device_of(terrain.device).title if terrain.device else "no device",
        "resource": resource,
        "unit": _UNITS[resource],
        "chance": terrain.task.chance,
        "counted_over": len(terrain.eligible),
        "problems": [_limits_of(bounds) for bounds in cell.bounds],
    }


def _rounded(values: np.ndarray[Any, Any]) -> list[float]:
    return [float(f"{value:.{_CLOUD_DIGITS}g}") for value in values.tolist()]


def _entry(landscape: Landscape, resource: str, index: int) -> dict[str, Any]:
    return {
        "index": index,
        "arch": landscape.space.encode(landscape.architecture(index)),
        "cost": float(landscape.resource(resource)[index]),
        "test": float(landscape.test[index]),
        "validation": float(landscape.validation[index]),
    }


def _limits_of(bounds: Bounds) -> dict[str, Any]:
    return {
        "problem": bounds.label,
        "limits_text": bounds.text,
        "limits": [
            {"resource": x.resource, "lower": x.lower, "upper": None if x.upper == float("inf") else x.upper} for x in bounds.limits
        ],
        "feasible": bounds.feasible,
        "share": bounds.share,
    }


def _problem(landscape: Landscape, resource: str, bounds: Bounds) -> dict[str, Any]:
    best = oracle(landscape, bounds.limits)
    bests = {"best_by_test": best.best_by_test, "best_by_validation": best.best_by_validation}
    return _limits_of(bounds) | {name: None if index is None else _entry(landscape, resource, index) for name, index in bests.items()}


def _seeds_note(landscape: Landscape) -> str:
    known = accuracy.seeds(landscape.table, landscape.task.dataset, "validation")
    which = f" ({', '.join(map(str, known))})" if known else ""
    return f"Accuracies are the table's means over its training seeds{which}."


def _quoted(landscape: Landscape) -> list[dict[str, Any]]:
    """Return the published results that the space quotes for this dataset, if it has a module `published` with any."""
    package = type(landscape.space).__module__.rpartition(".")[0]
    try:
        rows = importlib.import_module(f"{package}.published").QUOTED
    except ModuleNotFoundError:
        return []
    return [
        {"method": row.method, "test": row.test, "deviation": row.deviation, "source": row.source, "note": row.note}
        for row in rows
        if row.dataset == landscape.task.dataset
    ]
