"""The data of pages that is not in records: the cloud of all architectures, the exact front, the problems, and quoted results."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from budgetnas.harness.costs.costed_space import CostedSpace
from budgetnas.harness.costs.limits import Bounds, axis
from budgetnas.harness.costs.oracle import oracle, pareto_front
from budgetnas.harness.costs.tabulated_space import TabulatedSpace
from budgetnas.harness.evaluators.registry import entry_of, figures_of
from budgetnas.spaces.devices import device_of
from budgetnas.spaces.space import Space
from budgetnas.spaces.tables import accuracy

if TYPE_CHECKING:
    from budgetnas.harness.records.trial import TrainingSpec
    from budgetnas.harness.studies.board_plan import BoardPlan

_UNITS = {"latency_ms": "ms", "energy_mj": "mJ", "params": "parameters", "macs": "MACs", "cycles": "cycles"}
_CLOUD_DIGITS = 6  # a picture needs no more; the front and the problems are exact


def board(plan: BoardPlan) -> dict[str, Any]:
    """Return the context of a board (one space, dataset and device) as JSON values. `leaderboards/boards/pages.py` lists its readers.

    Without a table, there is no cloud, no front and no exact best: only the problems, and the number of architectures listed for shares.
    """
    if not entry_of(plan.evaluator).reads_table:
        return _without_table(plan)
    tabulated = cast(TabulatedSpace, plan.costed)
    resource = axis(plan.bounds[0].limits, tabulated)
    device = device_of(tabulated.device) if tabulated.device else None
    shown = np.flatnonzero(tabulated.eligible)
    front = pareto_front(tabulated, resource)
    return {
        **_place(tabulated, resource),
        "origin": device.metrics.get(resource, "exact") if device else "exact",
        "table_checksum": tabulated.table.checksum,
        "seeds_note": _seeds_note(tabulated),
        "cloud": {"cost": _rounded(tabulated.resource(resource)[shown]), "test": _rounded(tabulated.test[shown])},
        "front": [_entry(tabulated, resource, int(index)) for index in front],
        "problems": [_problem(tabulated, resource, bounds) for bounds in plan.bounds],
    }


def _place(costed: CostedSpace, resource: str) -> dict[str, Any]:
    """Return the part that every context has: space, dataset and device, the resource of the axis, and quoted results."""
    return {
        "space": costed.space.name,
        "dataset": costed.task.dataset,
        "device": costed.device or "",
        "device_title": device_of(costed.device).title if costed.device else "no device",
        "resource": resource,
        "unit": _UNITS[resource],
        "chance": costed.task.chance,
        "quoted": _quoted(costed.space, costed.task.dataset),
    }


def _without_table(plan: BoardPlan) -> dict[str, Any]:
    costed = plan.costed
    return {
        **_place(costed, axis(plan.bounds[0].limits, costed)),
        "evaluator": plan.evaluator,
        "counted_over": len(costed.eligible),
        "problems": [_limits_of(bounds) for bounds in plan.bounds],
        **({"training": _training_of(plan, plan.training)} if plan.training else {}),
    }


def _training_of(plan: BoardPlan, training: TrainingSpec) -> dict[str, Any]:
    """Return the facts about the training: the evaluator, the figures of its recipe, and the sizes of the training and test sets."""
    from budgetnas.harness.training.images.load import load

    dataset = load(plan.costed.task)
    return {
        "evaluator": plan.evaluator,
        "shares_weights": entry_of(plan.evaluator).shares_weights,
        **figures_of(plan.evaluator, training, dataset),
        "images_of_training_set": len(dataset.train),
        "images_of_test_set": len(dataset.test),
        "selection_recipe": Path(plan.selection.recipe).name if plan.selection else "",
    }


def _rounded(values: np.ndarray[Any, Any]) -> list[float]:
    return [float(f"{value:.{_CLOUD_DIGITS}g}") for value in values.tolist()]


def _entry(tabulated: TabulatedSpace, resource: str, index: int) -> dict[str, Any]:
    return {
        "index": index,
        "arch": tabulated.space.encode(tabulated.architecture(index)),
        "cost": float(tabulated.resource(resource)[index]),
        "test": float(tabulated.test[index]),
        "validation": float(tabulated.validation[index]),
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


def _problem(tabulated: TabulatedSpace, resource: str, bounds: Bounds) -> dict[str, Any]:
    best = oracle(tabulated, bounds.limits)
    bests = {"best_by_test": best.best_by_test, "best_by_validation": best.best_by_validation}
    return _limits_of(bounds) | {name: None if index is None else _entry(tabulated, resource, index) for name, index in bests.items()}


def _seeds_note(tabulated: TabulatedSpace) -> str:
    known = accuracy.seeds(tabulated.table, tabulated.task.dataset, "validation")
    which = f" ({', '.join(map(str, known))})" if known else ""
    return f"Accuracies are the table's means over its training seeds{which}."


def _quoted(space: Space, dataset: str) -> list[dict[str, Any]]:
    """Return the published results for this dataset from the module `published` of the space; empty if there are none."""
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
