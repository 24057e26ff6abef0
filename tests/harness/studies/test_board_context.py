"""The data of pages that is not in records."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from budgetnas.harness.costs.limits import resolve_all
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.studies.board_context import board
from budgetnas.harness.studies.board_plan import BoardPlan


def context_of(tabulated: TabulatedSpace, *limits: str) -> dict[str, Any]:
    context = board(BoardPlan(tabulated, tuple(resolve_all(tabulated, [[text] for text in limits]))))
    assert json.loads(canonical_json(context)) == context
    return context


def closed_form(device: str | None = "closed-form") -> TabulatedSpace:
    return tabulated_space_of("nasbench201", "closed-form", device)


def test_context_of_a_board_with_a_device() -> None:
    context = context_of(closed_form(), "latency_ms@q10", "params<=600k", "latency_ms<=0.5")
    assert {name: context[name] for name in ("space", "dataset", "device", "resource", "unit", "origin", "chance")} == {
        "space": "nasbench201", "dataset": "closed-form", "device": "closed-form", "resource": "latency_ms", "unit": "ms",
        "origin": "estimated", "chance": 10.0,
    }  # fmt: skip
    assert context["table_checksum"] == closed_form().table.checksum
    assert [problem["problem"] for problem in context["problems"]] == ["latency_ms@q10", "params<=600k", "latency_ms<=0.5"]
    assert context["quoted"] == []


def test_context_of_a_board_without_a_device_is_about_params() -> None:
    context = context_of(closed_form(None), "params<=600k")
    assert (context["device"], context["resource"], context["unit"], context["origin"]) == ("", "params", "parameters", "exact")
    assert (context["problems"][0]["limits"], context["problems"][0]["limits_text"]) == (
        [{"resource": "params", "lower": 0.0, "upper": 600_000.0}], "params<=600000",
    )  # fmt: skip


def test_cloud_has_every_eligible_architecture_to_six_digits() -> None:
    tabulated = closed_form()
    cloud = context_of(tabulated, "latency_ms@q10")["cloud"]
    assert len(cloud["cost"]) == len(cloud["test"]) == int(tabulated.eligible.sum())
    np.testing.assert_allclose(cloud["test"], tabulated.test[tabulated.eligible], rtol=5e-6)
    np.testing.assert_allclose(cloud["cost"], tabulated.resource("latency_ms")[tabulated.eligible], rtol=5e-6)


def test_front_is_exact_and_not_dominated() -> None:
    tabulated = closed_form()
    front = context_of(tabulated, "latency_ms@q10")["front"]
    cost, test = tabulated.resource("latency_ms"), tabulated.test
    assert [entry["cost"] for entry in front] == sorted({entry["cost"] for entry in front})
    for entry in front:
        index = entry["index"]
        assert (entry["cost"], entry["test"], entry["validation"]) == (
            float(cost[index]),
            float(test[index]),
            float(tabulated.validation[index]),
        )
        assert entry["arch"] == tabulated.space.encode(tabulated.space.at(index))
        cheaper = tabulated.eligible & (cost <= cost[index])
        assert test[cheaper].max() == test[index]


def test_problems_have_their_exact_bests() -> None:
    tabulated = closed_form()
    tight, impossible = context_of(tabulated, "latency_ms@q10", "latency_ms<=0.5")["problems"]
    upper = tight["limits"][0]["upper"]
    admitted = np.flatnonzero(tabulated.eligible & (tabulated.resource("latency_ms") <= upper))
    assert (tight["feasible"], tight["share"]) == (len(admitted), len(admitted) / int(tabulated.eligible.sum()))
    assert tight["best_by_test"]["index"] == int(admitted[np.argmax(tabulated.test[admitted])])
    assert tight["best_by_validation"]["index"] == int(admitted[np.argmax(tabulated.validation[admitted])])
    assert (impossible["feasible"], impossible["best_by_test"], impossible["best_by_validation"]) == (0, None, None)


def test_real_board_has_quoted_results_and_a_note_on_seeds(real_tables: object) -> None:
    context = context_of(tabulated_space_of("nasbench201", "cifar10", "edgegpu"), "latency_ms@q10")
    assert context["origin"] == "measured" and context["device_title"] == "NVIDIA Jetson TX2 (edge GPU)"
    assert context["quoted"] and all(set(row) == {"method", "test", "deviation", "source", "note"} for row in context["quoted"])
    assert all(row["source"] for row in context["quoted"])
    assert "seeds" in context["seeds_note"]
    # The optimum of the whole table, from the notes beside the upstream files.
    assert context["front"][-1]["test"] == pytest.approx(94.37, abs=0.005)
