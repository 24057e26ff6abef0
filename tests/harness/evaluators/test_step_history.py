"""Histories have evenly spaced steps and always the last one, hold plain values, and can be resumed."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest

from budgetnas.harness.evaluators.step_history import MOST_ROWS, History


def steps_of(history: History) -> list[float | None]:
    return [row["step"] for row in history.rows()]


@pytest.mark.parametrize("total", [1, 2, 199, 200, 201, 1000, 12_345])
def test_rows_are_limited_evenly_spaced_and_include_the_last_step(total: int) -> None:
    history = History(total)
    for step in range(total):
        history.add(step, {"loss": float(step)})
    kept = steps_of(history)
    assert kept[0] == 0 and kept[-1] == total - 1
    assert len(kept) <= MOST_ROWS + 1 and len(kept) >= min(total, MOST_ROWS // 2)
    assert kept == [step for step in range(total) if history.keeps(step)]
    assert len({b - a for a, b in pairwise(kept[:-1])}) <= 1  # type: ignore[operator]


def test_rows_are_plain_values() -> None:
    history = History(3)
    history.add(0, {"loss": math.nan, "expected_params": math.inf, "entropy": 1.5})
    assert history.rows() == [{"step": 0, "loss": None, "expected_params": None, "entropy": 1.5}]
    assert json.loads(json.dumps(history.rows(), allow_nan=False)) == history.rows()


def test_resumed_history_continues_its_rows() -> None:
    whole, first = History(10), History(10)
    for step in range(10):
        whole.add(step, {"loss": float(step)})
    for step in range(4):
        first.add(step, {"loss": float(step)})
    second = History(10, first.rows())
    for step in range(4, 10):
        second.add(step, {"loss": float(step)})
    assert second.rows() == whole.rows()


def test_returned_rows_are_copies() -> None:
    history = History(1)
    history.add(0, {"loss": 1.0})
    history.rows()[0]["loss"] = 2.0
    assert history.rows() == [{"step": 0, "loss": 1.0}]
