"""What pages need and no record holds: the cloud of all architectures, the exact front, the problems of a board, quoted results."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from budgetnas.harness.costs.limits import Bounds, axis
from budgetnas.harness.costs.oracle import oracle, pareto_front
from budgetnas.harness.costs.tabulated_space import Landscape
from budgetnas.spaces.devices import device_of
from budgetnas.spaces.space import Space
from budgetnas.spaces.tables import accuracy

if TYPE_CHECKING:
    from budgetnas.harness.records.trial import TrainingSpec
    from budgetnas.harness.studies.plan import Cell
    from budgetnas.harness.training.images.dataset import Dataset

_UNITS = {"latency_ms": "ms", "energy_mj": "mJ", "params": "parameters", "macs": "MACs", "cycles": "cycles"}
_CLOUD_DIGITS = 6  # a picture needs no more; the front and the problems are exact


def board(cell: Cell) -> dict[str, Any]:
    """Return the context of a board, one dataset and device, as JSON values: see `leaderboards/boards/pages.py` for who reads what.

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
        "quoted": _quoted(landscape.space, landscape.task.dataset),
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
        "quoted": _quoted(terrain.space, terrain.task.dataset),
        **({"training": _training_of(cell)} if cell.training else {}),
    }


def _training_of(cell: Cell) -> dict[str, Any]:
    """Return what was trained: the evaluator, its recipe in figures, and on how many images of those there are."""
    from budgetnas.harness.training.images.load import load

    training = cast("TrainingSpec", cell.training)
    dataset = load(cell.terrain.task)
    return {
        "evaluator": training.evaluator,
        **_in_figures(training, dataset),
        "images_of_training_set": len(dataset.train),
        "images_of_test_set": len(dataset.test),
        "selection_recipe": Path(cell.selection.recipe).name if cell.selection else "",
    }


def _in_figures(training: TrainingSpec, dataset: Dataset) -> dict[str, Any]:
    """Return a recipe's epochs and batch, and the images that weights are trained on and architectures, or candidates, are judged by."""
    from budgetnas.harness.training.images.parts import parts_of
    from budgetnas.harness.training.recipes.recipe import read_recipe
    from budgetnas.harness.training.recipes.search_recipe import read_search_recipe

    if training.evaluator == "supernet":
        search = read_search_recipe(training.recipe)
        used = min(search.images.train or len(dataset.train), len(dataset.train))
        return {
            "recipe": search.name,
            "epochs": search.epochs,
            "batch": search.batch,
            "images_trained": used - used // 2,
            "images_judged": used // 2,
        }
    recipe = read_recipe(training.recipe)
    parts = parts_of(dataset, recipe)
    judged = 0 if parts.validation is None else len(parts.validation)
    return {
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "images_trained": len(parts.train),
        "images_judged": judged,
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


def _quoted(space: Space, dataset: str) -> list[dict[str, Any]]:
    """Return the published results that the space quotes for this dataset, if it has a module `published` with any."""
    package = type(space).__module__.rpartition(".")[0]
    try:
        rows = getattr(importlib.import_module(f"{package}.published"), "QUOTED", ())
    except ModuleNotFoundError:
        return []
    return [
        {"method": row.method, "test": row.test, "deviation": row.deviation, "source": row.source, "note": row.note}
        for row in rows
        if row.dataset == dataset
    ]
