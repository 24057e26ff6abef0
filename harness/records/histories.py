"""What happened in a search step by step: alphas, losses, entropies, expected costs, kept beside the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetnas.harness.records.store import Store


def history_path(root: Path, identity: str) -> Path:
    """Return where a run keeps the history of a trial."""
    return root / "histories" / f"{identity}.json"


def write_history(root: Path, identity: str, relaxations: Sequence[Any]) -> None:
    """Write the steps of a trial's last relaxation. `RunError` if the disk refuses."""
    path = history_path(root, identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    last = relaxations[-1]
    cells = [{"name": cell.name, "edges": cell.edges, "operations": cell.operations} for cell in last.cells]
    Store(root).write(path, {"cells": cells, "steps": last.history.rows(), "stages": last.history.stages()})
