"""Columns whose cells list several entries, such as a trial's recommendations: as Arrow lists, and flat, with a row an entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ROW = "row"  # of a flat table: the cell that the entry is of, counted from 0
_FIGURES = ("test", "validation", "params", "macs", "cycles", "latency_ms", "energy_mj")
_FRONT = pa.list_(pa.struct([("feasible", pa.bool_()), *((name, pa.float64()) for name in _FIGURES)]))


def nested(entries: Mapping[str, NDArray[Any]], rows: NDArray[np.int64], cells: int) -> pd.Series:
    """Return a column of so many cells. `rows` names the cell of each entry, in ascending order; `entries` has its values by name."""
    ends = np.cumsum(np.bincount(rows, minlength=cells))
    values = pa.StructArray.from_arrays([pa.array(each) for each in entries.values()], list(entries))
    return _series(pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]), pa.int32()), values))


def flat(column: pd.Series) -> pd.DataFrame:
    """Return the entries of all cells of a column of Arrow lists: a row each, with its values by name and its cell as `row`."""
    lists = pa.array(column.array)
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    entries = pc.list_flatten(lists)
    values = {field.name: pc.struct_field(entries, field.name).to_numpy(zero_copy_only=False) for field in entries.type}
    return pd.DataFrame({ROW: pc.list_parent_indices(lists).to_numpy().astype(np.int64), **values})


def front_points(fronts: pd.Series) -> pd.DataFrame:
    """Return the recommendations of a column `front`, a row each: `row`, `feasible`, accuracies [%] and costs, NaN where not known.

    Its cells are Arrow lists or Python lists of mappings; a cell that is missing is empty.
    """
    if not isinstance(fronts.dtype, pd.ArrowDtype):
        fronts = _series(pa.array([front if isinstance(front, list) else [] for front in fronts], _FRONT))
    return flat(fronts)


def reported_figures(reports: pd.Series) -> pd.DataFrame:
    """Return the numbers of a column `report`, a row each: `row`, `figure` (its name) and `value`; what is no number is left out.

    Its cells are Arrow lists of `figure` and `value`, or mappings; a cell that is missing is empty.
    """
    if isinstance(reports.dtype, pd.ArrowDtype):
        return flat(reports).dropna(subset="value").reset_index(drop=True)
    rows = [
        (row, str(name), float(value))
        for row, report in enumerate(reports)
        if isinstance(report, Mapping)
        for name, value in report.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value
    ]
    return pd.DataFrame(rows, columns=[ROW, "figure", "value"])


def _series(array: pa.Array) -> pd.Series:
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([array])))
