"""A table's accuracies of a network, and the rows of a comparison, checked against the table's columns."""

from __future__ import annotations

import math
from typing import Any

import pytest

from budgetnas.harness.comparison.candidates import Candidate, Finding
from budgetnas.harness.comparison.queried import difference, queried_of
from budgetnas.harness.comparison.retrain_all import RetrainedCandidate
from budgetnas.harness.comparison.rows import comparison_rows
from budgetnas.harness.training.result import Trained
from budgetnas.leaderboards.comparison.agreement import agreements
from budgetnas.leaderboards.comparison.rows import COLUMNS, networks_of
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.tables.accuracy import accuracy
from budgetnas.spaces.tables.home import open_table

SPACE = NASBench201()
TABLE = open_table("nasbench201", "digits201")
SEEDS = (0, 1, 2)


def exact(split: Any, index: int, seed: int) -> float:
    """The exact accuracy behind a table's figure, a share of 497 test or 400 validation images; the table has single precision."""
    images = {"test": 497, "validation": 400}[split]
    return 100.0 * round(float(accuracy(TABLE, "digits201", split, seed=seed)[index]) * images / 100.0) / images


def training(seed: int, validation: float | None, test: float) -> Trained:
    return Trained({"seed": seed, "recipe": "digits201"}, validation, test, (), 0.5, 1, False, "cpu", 1, "2")


def retrained(index: int, shift: float = 0.0) -> RetrainedCandidate:
    """A network with retrained accuracies equal to the table's, plus `shift` points of test accuracy."""
    arch = SPACE.at(index)
    findings = (Finding("p, d", "rcas", 0), Finding("q, d", "tpe", 4))
    known = Candidate("nasbench201", "digits201", arch, SPACE.encode(arch), index, findings, queried_of("nasbench201", "digits201", arch))
    return RetrainedCandidate(
        known, None, tuple(training(seed, exact("validation", index, seed), exact("test", index, seed) + shift) for seed in SEEDS)
    )


def test_queried_accuracies_are_those_of_the_table_s_columns() -> None:
    found = queried_of("nasbench201", "digits201", SPACE.at(200))
    for split in ("validation", "test"):
        assert found.mean[split] == accuracy(TABLE, "digits201", split)[200]  # type: ignore[arg-type,index]
        assert found.by_seed[split] == {seed: accuracy(TABLE, "digits201", split, seed=seed)[200] for seed in SEEDS}  # type: ignore[arg-type,index]


def test_without_a_table_queried_accuracies_are_unknown() -> None:
    space = space_of("darts[cells=5,channels=8]")
    genes = space.decode(space.encode(next(iter(space.published.values()))))  # type: ignore[attr-defined]
    found = queried_of(space.name, "digits", genes)
    assert all(map(math.isnan, found.mean.values())) and found.by_seed == {"validation": {}, "test": {}}


def test_differences_within_the_table_s_precision_are_zero() -> None:
    assert difference(97.98792756539235, 97.9879275) == 0.0
    assert difference(97.0, 96.0) == 1.0 and difference(97.0, 97.2) == pytest.approx(-0.2)
    assert math.isnan(difference(97.0, math.nan))


def test_rows_have_every_column_and_agree_with_the_table() -> None:
    networks = [retrained(index) for index in (10, 200, 3_000)]
    table = comparison_rows(networks, won=True)
    assert set(table.columns) == set(COLUMNS) and len(table) == 9
    assert (table["test_difference"] == 0.0).all() and (table["validation_difference"] == 0.0).all()
    # The table has single precision, so the figures are not equal to the last bit.
    assert (table["test_retrained"] != table["test_queried_same_seed"]).any()
    assert list(table["evaluation_seed"]) == [*SEEDS] * 3 and set(table["won"]) == {2} and set(table["methods"]) == {("rcas", "tpe")}
    assert set(table["found_by"]) == {"rcas on p, d, seed 0; tpe on q, d, seed 4"}
    (found,) = agreements(networks_of(table))
    assert (found.networks, found.compared, found.equal, found.difference.value) == (3, 18, 18, 0.0)
    assert found.kendall == found.spearman == pytest.approx(1.0)


def test_a_shift_of_retrained_test_accuracies_is_measured() -> None:
    shifts = {10: 0.5, 200: -0.25, 3_000: 1.0, 4_000: 0.1}
    (found,) = agreements(networks_of(comparison_rows([retrained(*pair) for pair in shifts.items()], won=True)))
    assert found.difference.value == pytest.approx(sum(shifts.values()) / 4, abs=1e-4)
    assert (found.compared, found.equal) == (24, 12)  # only the validation figures are equal
