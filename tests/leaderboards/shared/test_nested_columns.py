"""Columns of lists: what is flat comes back from the same cells, whatever was done to the table meanwhile."""

import math

import numpy as np
import pandas as pd

from budgetnas.leaderboards.shared.nested_columns import flat, front_points, nested, reported_figures


def column() -> pd.Series:
    """Three cells: of two entries, of none, of one."""
    return nested({"cost": np.array([1.0, 2.0, 3.0]), "kept": np.array([True, False, True])}, np.array([0, 0, 2]), 3)


def test_a_cell_is_a_list_of_its_entries() -> None:
    assert column().tolist() == [[{"cost": 1.0, "kept": True}, {"cost": 2.0, "kept": False}], [], [{"cost": 3.0, "kept": True}]]


def test_flat_entries_keep_their_cell_when_rows_are_sorted_chosen_or_joined() -> None:
    table = pd.DataFrame({"order": [3, 1, 2], "cell": column()})
    expected = {"": [(0, 1.0), (0, 2.0), (2, 3.0)], "sorted": [(1, 3.0), (2, 1.0), (2, 2.0)], "chosen": [(1, 3.0)], "none": []}
    found = {
        "": table, "sorted": table.sort_values("order"), "chosen": table[table["order"] < 3], "none": table[table["order"] > 9],
    }  # fmt: skip
    for name, rows in found.items():
        assert list(flat(rows["cell"])[["row", "cost"]].itertuples(index=False, name=None)) == expected[name]
    twice = flat(pd.concat([table, table])["cell"])
    assert twice["row"].tolist() == [0, 0, 2, 3, 3, 5] and twice["cost"].tolist() == [1.0, 2.0, 3.0] * 2


def test_recommendations_may_be_python_lists_of_mappings() -> None:
    point = {"test": 90.0, "validation": None, "feasible": True, "latency_ms": 2}
    points = front_points(pd.Series([None, [point], math.nan, [point, point | {"feasible": False}]], dtype=object))
    assert points["row"].tolist() == [1, 3, 3] and points["feasible"].tolist() == [True, True, False]
    assert points["latency_ms"].tolist() == [2.0] * 3 and points[["validation", "params"]].isna().all(axis=None)
    assert list(front_points(pd.Series([[], []]))["feasible"]) == []


def test_figures_are_numbers() -> None:
    reports = pd.Series([{"steps": 3, "note": "text", "odd": None}, None, {"flag": True, "steps": 4.5, "lost": math.nan}], dtype=object)
    assert list(reported_figures(reports).itertuples(index=False, name=None)) == [(0, "steps", 3.0), (2, "steps", 4.5)]
    arrow = nested({"figure": np.array(["steps", "lost"], dtype=object), "value": np.array([3.0, math.nan])}, np.array([1, 1]), 2)
    assert list(reported_figures(arrow).itertuples(index=False, name=None)) == [(1, "steps", 3.0)]
    assert list(reported_figures(pd.Series([{}]))["figure"].str.startswith("expected_")) == []
