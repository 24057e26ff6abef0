"""Winners, agreement and the page, on figures that a test chooses."""

from __future__ import annotations

import csv
import math
from typing import Any

import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from budgetnas.harness.comparison.compare import Compared, Winner, agreement, comparison_csv, comparison_page, summary, winners
from budgetnas.harness.training.job import CannotRetrain, Retrained
from budgetnas.spaces.nasbench201.identity import canonical_indices
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.tables.accuracy import accuracy
from budgetnas.spaces.tables.home import open_table

pytestmark = pytest.mark.slow

SPACE = NASBench201()
TABLE = open_table("nasbench201", "digits201")


def row(index: int, validation: float, **changes: Any) -> dict[str, Any]:
    text = SPACE.encode(SPACE.at(index))
    return {
        "space": "nasbench201", "dataset": "digits201", "device": "amd-epyc", "problem": "latency_ms@q10", "method": "rcas",
        "feasible": True, "validation": validation, "recommendation": text,
    } | changes  # fmt: skip


def retrained(index: int, shift: float = 0.0) -> Compared:
    """A network whose retraining gave the table's figures and `shift` points of test accuracy."""
    figures = [
        Retrained(
            index,
            seed,
            float(accuracy(TABLE, "digits201", "validation", seed=seed)[index]),
            float(accuracy(TABLE, "digits201", "test", seed=seed)[index]) + shift,
            0.5,
        )
        for seed in (0, 1, 2)
    ]
    return Compared(Winner("nasbench201", "digits201", index, SPACE.encode(SPACE.at(index)), (("p", "m"),)), tuple(figures))


def test_a_winner_is_the_feasible_recommendation_best_by_validation_of_a_problem_and_method() -> None:
    records = pd.DataFrame(
        [
            row(10, 90.0), row(11, 95.0), row(12, 99.0, feasible=False), row(13, 80.0, method="tpe"), row(11, 95.0, problem="cycles@q10"),
        ]
    )  # fmt: skip
    found = winners(records)
    eleven, thirteen = (int(canonical_indices()[index]) for index in (11, 13))
    assert {winner.index: winner.problems for winner in found} == {
        eleven: (("cycles@q10, amd-epyc", "rcas"), ("latency_ms@q10, amd-epyc", "rcas")),
        thirteen: (("latency_ms@q10, amd-epyc", "tpe"),),
    }
    assert all(SPACE.encode(SPACE.at(winner.index)) == winner.arch for winner in found)


def test_identical_networks_are_retrained_once() -> None:
    canonical = canonical_indices()
    other = next(index for index in range(len(canonical)) if canonical[index] != index)
    found = winners(pd.DataFrame([row(other, 90.0), row(int(canonical[other]), 90.0, method="tpe")]))
    assert [winner.index for winner in found] == [int(canonical[other])]
    assert len(found[0].problems) == 2


def test_datasets_that_cannot_be_retrained_are_left_out_and_refused_if_there_is_no_other() -> None:
    mixed = pd.DataFrame([row(10, 90.0, dataset="cifar10"), row(11, 80.0)])
    assert [winner.dataset for winner in winners(mixed)] == ["digits201"]
    with pytest.raises(CannotRetrain, match="cannot be retrained on cifar10 yet"):
        winners(mixed[mixed["dataset"] == "cifar10"])
    with pytest.raises(CannotRetrain, match="no method of this run recommended a feasible network"):
        winners(pd.DataFrame([row(10, 90.0, feasible=False)]))


def test_equal_figures_agree_completely() -> None:
    found = agreement([retrained(index) for index in (10, 200, 3_000)])
    assert (found.networks, found.figures, found.equal) == (3, 18, 18)
    assert found.difference == found.low == found.high == 0.0
    assert found.kendall == found.spearman == pytest.approx(1.0)
    assert "18 of 18 accuracies equal" in summary(found) and "+0.000 points" in summary(found)


def test_the_interval_is_student_s_over_networks() -> None:
    shifts = {10: 0.5, 200: -0.25, 3_000: 1.0, 4_000: 0.1}
    found = agreement([retrained(index, shift) for index, shift in shifts.items()])
    expected = ttest_1samp(list(shifts.values()), 0).confidence_interval(0.95)
    assert found.difference == pytest.approx(sum(shifts.values()) / 4)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.equal == 12  # the validation figures


def test_one_network_has_no_interval_and_no_ranks() -> None:
    found = agreement([retrained(10, 1.0)])
    assert found.difference == pytest.approx(1.0)
    assert all(math.isnan(value) for value in (found.low, found.high, found.kendall, found.spearman))
    assert "no interval" in summary(found) and "ranks cannot be compared" in summary(found)


def test_the_page_and_the_csv_hold_every_network() -> None:
    compared = [retrained(10), retrained(200, 1.0)]
    page = comparison_page(compared, "budgetnas compare runs/x")
    assert "Made by `budgetnas compare runs/x`" in page and "## nasbench201 on digits201" in page
    assert page.count("\n| ") == 3 and "| +1.00 |" in page and "Another kind of processor" in page
    assert "Another kind of processor" not in comparison_page(compared[:1], "x")
    rows = list(csv.DictReader(comparison_csv(compared).splitlines()))
    assert [(row["index"], row["seed"]) for row in rows] == [(str(index), str(seed)) for index in (10, 200) for seed in range(3)]
    assert all(float(row["validation_queried"]) == float(row["validation_retrained"]) for row in rows)
    assert [float(row["test_retrained"]) - float(row["test_queried"]) for row in rows] == pytest.approx([0, 0, 0, 1, 1, 1], abs=1e-3)
