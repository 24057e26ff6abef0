"""The history of a search, step by step: losses, entropies, expected costs and alphas, in a Parquet file beside the records.

Each row is a recorded step, and each column a figure, empty if the step does not have it. The column `alphas` has the shape
[cell][edge][operation]; the column `figures` is true if the figures of the step were recorded. A method's figure with one of these names
gets an underscore before its name. The metadata of the schema holds the cells with their edges and operations, as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from budgetnas.harness.records.database import RunError
from budgetnas.harness.records.identity import canonical_json
from budgetnas.spaces.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "histories"
_OWN_COLUMNS = ("step", "figures", "alphas")
Figures = Mapping[str, float | None]


def history_path(root: Path, identity: str) -> Path:
    """Return the path of a trial's history in a run folder."""
    return root / FOLDER / f"{identity}.parquet"


def write_history(root: Path, identity: str, relaxations: Sequence[Any]) -> None:
    """Write the history of a trial's last relaxation. Raises `RunError` if the file cannot be written."""
    import pyarrow.parquet as pq

    last, path = relaxations[-1], history_path(root, identity)
    cells = [{"name": cell.name, "edges": cell.edges, "operations": cell.operations} for cell in last.cells]
    try:
        with replacing(path, sync=True) as partial:  # its record, written next, survives a power failure, so the history must too
            table = _table(cells, last.history.rows(), last.history.stages())
            pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; make room or choose another folder, and run the study again") from None


def _table(cells: Sequence[Mapping[str, Any]], rows: Sequence[Figures], stages: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    figures = {row["step"]: row for row in rows}
    alphas = {stage["step"]: stage["alphas"] for stage in stages}
    steps = sorted({*figures, *alphas})
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "step"]
    columns = {"step": pa.array(steps, pa.int64()), "figures": pa.array([step in figures for step in steps], pa.bool_())}
    for name in names:
        columns[_column(name)] = pa.array([figures.get(step, {}).get(name) for step in steps], pa.float64())
    columns["alphas"] = pa.array([alphas.get(step) for step in steps], pa.list_(pa.list_(pa.list_(pa.float64()))))
    return pa.table(columns).replace_schema_metadata({"cells": canonical_json(cells)})


def _column(figure: str) -> str:
    return f"_{figure}" if figure.lstrip("_") in _OWN_COLUMNS else figure


def _figure(column: str) -> str:
    return column.removeprefix("_") if column.lstrip("_") in _OWN_COLUMNS else column


def read_history(root: Path, identity: str) -> dict[str, Any] | None:
    """Return the history of a trial, or None if nothing was relaxed. Histories of version 0.2, in JSON, are read too.

    Returns:
        A mapping with `cells`, `steps` (for each recorded step a mapping from the name of a figure to its value or None) and `stages` (the
        recorded alphas).

    Raises:
        RunError: The file is damaged.
    """
    path, old = history_path(root, identity), root / FOLDER / f"{identity}.json"
    if path.is_file():
        return _read(path)
    if not old.is_file():
        return None
    try:
        content = json.loads(old.read_text(encoding="utf-8"))
        return {"cells": list(content["cells"]), "steps": list(content["steps"]), "stages": list(content["stages"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise RunError(f"{old} is not a history, or is damaged; delete it") from None


def _read(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, page_checksum_verification=True)
        cells = json.loads(table.schema.metadata[b"cells"])
        rows = table.to_pylist()
        stages = [{"step": row["step"], "alphas": row["alphas"]} for row in rows if row["alphas"] is not None]
        figures = [_figure(name) for name in table.column_names if name not in _OWN_COLUMNS]
        steps = [{"step": row["step"]} | {name: row[_column(name)] for name in figures} for row in rows if row["figures"]]
        sound = all(value is None or math.isfinite(value) for step in steps for value in step.values())
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException):
        sound = False
    if not sound:
        raise RunError(f"{path} is not a history, or is damaged; delete it")
    return {"cells": cells, "steps": steps, "stages": stages}
