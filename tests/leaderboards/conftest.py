"""A toy space of forty cells with accuracies and costs by formula, so that the front and the optima are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

CELLS = 40
CHANCE = 10.0
LIMITS = {"latency_ms@q25": 10.5, "latency_ms@q50": 20.5}


def cost_of(cell: int) -> float:
    return cell + 1.0


def test_of(cell: int) -> float:
    """Even cells are on the front (50, 51, ...); odd cells are 5 below it."""
    return 50.0 + cell / 2 - (5.0 if cell % 2 else 0.0)


def validation_of(cell: int) -> float:
    return test_of(cell) - 2.0


def cell_entry(cell: int) -> dict[str, Any]:
    return {"arch": f"|cell~{cell}|", "index": cell, "test": test_of(cell), "validation": validation_of(cell), "cost": cost_of(cell)}


def board_entry(dataset: str = "cifar10", device: str = "edgegpu", limits: Mapping[str, float] = LIMITS) -> dict[str, Any]:
    problems = []
    for label, upper in limits.items():
        feasible = [cell for cell in range(CELLS) if cost_of(cell) <= upper]
        best = max(feasible, key=test_of)
        problems.append(
            {
                "problem": label,
                "limits_text": f"latency_ms<={upper:g}",
                "limits": [{"resource": "latency_ms", "lower": 0, "upper": upper}],
                "feasible": len(feasible),
                "share": len(feasible) / CELLS,
                "best_by_test": cell_entry(best),
                "best_by_validation": cell_entry(best),
            }
        )
    return {
        "space": "toy",
        "dataset": dataset,
        "device": device,
        "device_title": f"A {device}",
        "resource": "latency_ms",
        "unit": "ms",
        "origin": "measured",
        "chance": CHANCE,
        "table_checksum": "sha256:0123",
        "seeds_note": "Means over the table's seeds.",
        "cloud": {"cost": [cost_of(cell) for cell in range(CELLS)], "test": [test_of(cell) for cell in range(CELLS)]},
        "front": [cell_entry(cell) for cell in range(0, CELLS, 2)],
        "problems": problems,
        "quoted": [{"method": "GDAS", "test": 93.61, "deviation": 0.09, "source": "a paper | table 1", "note": ""}],
    }


def trial(method: str, seed: int, cell: int | None, problem: str = "latency_ms@q25", **changes: Any) -> dict[str, Any]:
    """Return one record, in which `cell` is recommended (None: no recommendation)."""
    upper = LIMITS.get(problem, math.inf)
    feasible = cell is not None and cost_of(cell) <= upper
    best = max((other for other in range(CELLS) if cost_of(other) <= upper), key=test_of)
    test = test_of(cell) if cell is not None else math.nan
    point = {
        "params": math.nan,
        "macs": math.nan,
        "cycles": math.nan,
        "energy_mj": math.nan,
        "latency_ms": cost_of(cell) if cell is not None else math.nan,
    }
    front = [] if cell is None else [{"test": test, "validation": validation_of(cell), "feasible": feasible, **point}]
    row = {
        "identity": f"{method}-{seed}-{problem}",
        "space": "toy",
        "dataset": "cifar10",
        "device": "edgegpu",
        "problem": problem,
        "resource": "latency_ms",
        "method": method,
        "settings": "{}",
        "ranking_class": "queries",
        "deterministic": False,
        "seed": seed,
        "status": "ok",
        "failure": "",
        "feasible": feasible,
        "violation": 0.0 if feasible else (math.inf if cell is None else cost_of(cell) / upper - 1.0),
        "test": test,
        "validation": validation_of(cell) if cell is not None else math.nan,
        "regret": test_of(best) - test if feasible else math.nan,
        "queries": 200,
        "repeats": 0,
        "cost_questions": 200,
        "simulated_seconds": 7200.0,
        "graph_seconds": math.nan,
        "recommendation": "" if cell is None else f"|cell~{cell}|",
        "front": front,
        "report": {},
        **point,
    }
    return {**row, **changes}


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def world(
    methods: Mapping[str, Sequence[int]], boards: Sequence[tuple[str, str]] = (("cifar10", "edgegpu"),), **changes: Any
) -> list[dict[str, Any]]:
    """Return trials of all methods under both limits on all boards. Seed i recommends the i-th cell; both limits admit cells 0 to 9."""
    return [
        trial(method, seed, cell, problem, dataset=dataset, device=device, **changes)
        for dataset, device in boards
        for problem in LIMITS
        for method, cells in methods.items()
        for seed, cell in enumerate(cells)
    ]


@dataclass(frozen=True)
class Toy:
    """Functions that tests need to create boards and trials of the toy space."""

    board_entry: Callable[..., dict[str, Any]]
    trial: Callable[..., dict[str, Any]]
    frame: Callable[..., pd.DataFrame]
    world: Callable[..., list[dict[str, Any]]]
    test_of: Callable[[int], float]
    cost_of: Callable[[int], float]
    folder: Path

    def write(self, *entries: dict[str, Any]) -> list[Path]:
        """Write context files, one per board, and return their paths."""
        paths = []
        for index, entry in enumerate(entries or (self.board_entry(),)):
            path = self.folder / f"board{index}.json"
            path.write_text(json.dumps(entry), encoding="utf-8")
            paths.append(path)
        return paths


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(board_entry, trial, frame, world, test_of, cost_of, tmp_path)
