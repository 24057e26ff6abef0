"""Makes rows of a comparison from figures that a test chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pytest

Rows = Callable[..., list[dict[str, Any]]]


def rows_of_network(cell: int, queried: Sequence[float], retrained: Sequence[float], **changes: Any) -> list[dict[str, Any]]:
    """Return a row per seed for a network retrained by its table's trainer. Validation accuracies are a point lower and equal."""
    return [
        {
            "space": "toy", "dataset": "digits201", "index": cell, "arch": f"|cell~{cell}|", "found_by": "rcas on latency_ms@q10, seed 0",
            "methods": ("rcas",), "won": 1, "evaluation_seed": seed, "recipe": "digits201", "protocol": "The table's own trainer.",
            "test_queried": sum(queried) / len(queried), "validation_queried": sum(queried) / len(queried) - 1.0,
            "test_queried_same_seed": before, "validation_queried_same_seed": before - 1.0,
            "test_difference": 0.0 if abs(after - before) < 1e-4 else after - before, "validation_difference": 0.0,
            "test_queried_by_seed": tuple(queried), "validation_early_stopped": math.nan,
            "search_loss": math.nan, "search_accuracy": math.nan,
            "test_retrained": after, "validation_retrained": before - 1.0, "diverged": False, "training_seconds": 0.5,
        } | changes
        for seed, (before, after) in enumerate(zip(queried, retrained, strict=True))
    ]  # fmt: skip


def rows_by_recipe(cell: int, queried: Sequence[float], retrained: Sequence[float], **changes: Any) -> list[dict[str, Any]]:
    """Return a row per seed for a network of a search, retrained with a recipe and evaluation seeds that no table has."""
    unknown = {f"{split}_{name}": math.nan for split in ("test", "validation") for name in ("queried_same_seed", "difference")}
    mean = sum(queried) / len(queried) if queried else math.nan
    of_recipe = {"won": None, "recipe": "smoke", "protocol": "Trained here: epochs 3, not 6.", "test_queried": mean}
    of_recipe |= {"validation_queried": mean - 1.0, "test_queried_by_seed": tuple(queried)}
    rows = rows_of_network(cell, retrained, retrained, **(of_recipe | unknown | changes))
    return [row | {"evaluation_seed": 1_000_000 + row["evaluation_seed"]} for row in rows]


@pytest.fixture
def own_rows() -> Rows:
    return rows_of_network


@pytest.fixture
def recipe_rows() -> Rows:
    return rows_by_recipe


@pytest.fixture
def table_of() -> Callable[..., pd.DataFrame]:
    """Return a function that joins the rows of several networks into one table."""
    return lambda *networks: pd.DataFrame([row for rows in networks for row in rows])
