"""The records of a run as a table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from budgetnas.harness.records.store import Row, RunError, Store
from budgetnas.harness.records.table import _lookup_grid, read_records
from budgetnas.harness.studies.plan import expand
from budgetnas.harness.studies.run import run
from budgetnas.harness.studies.study import read_study

pytestmark = pytest.mark.slow

STUDY = f"""
name = "mine"
title = "Mine"
seeds = 2
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms@q50", "params<=600k", "latency_ms<=0.5"]
allowance = {{ queries = 20 }}
[[method]]
name = "random_search"
label = "random"
patience = 500
[[method]]
name = "rcas"
[[method]]
name = "{Path(__file__).parent.parent}/plugins/misbehaving.py:Raises"
label = "raises"
"""


def run_in(folder: Path, text: str = STUDY) -> Store:
    (folder / "study.toml").write_text(text)
    study, where = read_study(str(folder / "study.toml"))
    store = Store(folder / "out")
    run(expand(study, where, "study.toml"), store, 2, False, lambda *state: None)
    return store


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return run_in(tmp_path_factory.mktemp("frame"))


def row_of(table: pd.DataFrame, **wanted: Any) -> dict[str, Any]:
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return dict(table.iloc[0])


def test_table_has_one_row_for_each_trial(finished: Store) -> None:
    table, contexts, plan = read_records(finished)
    assert len(table) == 3 * (2 + 1 + 2) == len(plan["trials"])
    assert [path.name for path in contexts] == ["nasbench201-closed-form-closed-form.json"]
    assert set(table["problem"]) == {"latency_ms@q50", "params<=600k", "latency_ms<=0.5"}
    assert set(table["resource"]) == {"latency_ms"}
    assert table.groupby("method")["deterministic"].first().to_dict() == {"random": False, "raises": False, "rcas": True}
    assert len(set(table["identity"])) == len(table)


def test_row_has_the_values_of_its_record(finished: Store) -> None:
    table, _, _ = read_records(finished)
    row = row_of(table, method="random", seed=1, problem="latency_ms@q50")
    record = finished.get(row["identity"])
    final = record["final"]
    for name in ("status", "failure", "queries", "repeats", "simulated_seconds", "regret"):
        assert row[name] == record[name]
    for name in ("test", "validation", "feasible", "violation"):
        assert row[name] == final[name]
    assert {name: row[name] for name in ("latency_ms", "energy_mj", "params", "macs")} == final["cost"]
    assert row["recommendation"] == final["text"]
    assert row["settings"] == '{"patience": 500}'
    assert row["cost_questions"] == sum(len(keys) for kind, keys in record["questions"] if kind == "cost") > 0
    assert math.isnan(row["cycles"])  # the closed form has no cycles
    (entry,) = row["front"]
    assert math.isnan(entry.pop("cycles"))
    assert entry == {"test": final["test"], "validation": final["validation"], "feasible": True, **final["cost"]}


def test_empty_and_failed_searches_are_rows_too(finished: Store) -> None:
    table, _, _ = read_records(finished)
    nothing = row_of(table, method="random", seed=0, problem="latency_ms<=0.5")
    assert (nothing["status"], nothing["feasible"], nothing["violation"], nothing["recommendation"]) == ("ok", False, math.inf, "")
    assert math.isnan(nothing["regret"]) and math.isnan(nothing["test"]) and math.isnan(nothing["latency_ms"])
    failed = row_of(table, method="raises", seed=0, problem="params<=600k")
    assert (failed["status"], failed["failure"], failed["feasible"]) == (
        "failed",
        "RuntimeError: no <object object> (misbehaving.py:41)",
        False,
    )


def test_how_many_records_are_read_at_a_time_changes_nothing(finished: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = read_records(finished)
    monkeypatch.setattr("budgetnas.harness.records.table.BATCH", 4)
    parts, _, _ = read_records(finished)
    pd.testing.assert_frame_equal(whole, parts)
    assert whole["identity"].is_monotonic_increasing


def test_a_method_reports_its_figures_as_a_list(finished: Store) -> None:
    records, _, _ = read_records(finished)
    row = row_of(records, method="rcas", seed=0, problem="params<=600k")
    report = finished.get(row["identity"])["report"]
    assert report and {each["figure"]: each["value"] for each in row["report"]} == report


def test_a_record_with_text_in_the_place_of_a_number_is_named(tmp_path: Path) -> None:
    store = run_in(tmp_path, STUDY.split('[[method]]\nname = "rcas"')[0].replace("seeds = 2", "seeds = 1"))
    identity = sorted(store.done())[1]
    store.put(store.get(identity) | {"queries": "three"})
    with pytest.raises(RunError, match=f"the record of trial {identity} in .* is damaged .*; run the study again"):
        read_records(store)


def test_only_trials_of_the_present_plan_that_have_ended_count(tmp_path: Path) -> None:
    store = run_in(tmp_path, STUDY.split('[[method]]\nname = "rcas"')[0])
    assert len(read_records(store)[0]) == 6
    store.discard([min(store.done())])
    assert len(read_records(store)[0]) == 5
    run_in(tmp_path, STUDY.split('[[method]]\nname = "rcas"')[0].replace("seeds = 2", "seeds = 1"))
    assert len(store.done()) >= 5  # records outside the smaller plan stay
    assert len(read_records(store)[0]) == 3
    store.discard(store.done())
    with pytest.raises(RunError, match=r"no trial of .* has ended yet; run the study first"):
        read_records(store)


def test_error_for_a_folder_without_a_run_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run; make one with `budgetnas run STUDY\.toml --out"):
        read_records(Store(tmp_path))


def damage(store: Store, part: str, change: Any) -> None:
    if part == "record":
        row = min(store.rows(), key=lambda row: row.identity)
        store.discard([row.identity])
        store.write_rows([replace(row, content=b"") if isinstance(change, str) else Row.of(change(row.record()))])
        return
    path = {"plan": store.root / "plan.json", "context": next(store.context.iterdir())}[part]
    value = json.loads(path.read_text())
    path.write_text(change if isinstance(change, str) else json.dumps(change(value)))


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("plan", "{", r"plan\.json is damaged"),
        ("plan", "[]", r"plan\.json is not the plan of a run; run the study again"),
        ("plan", lambda plan: plan | {"trials": []}, r"plan\.json is not the plan"),
        ("plan", lambda plan: {name: plan[name] for name in plan if name != "title"}, r"plan\.json is not the plan"),
        ("context", "", "is damaged"),
        ("context", "[]", "is not the context of a board; run the study again"),
        ("context", lambda context: context | {"problems": [3]}, "is not the context of a board"),
        ("context", lambda context: context | {"problems": []}, "the context of trial .* is missing; run the study again"),
        ("record", "", "cannot be used: it was changed or damaged"),
        ("record", lambda record: record | {"status": "x"}, "cannot be used: it is not the record of the trial"),
        ("record", lambda record: record | {"final": {"test": 3}}, r"the record of trial \w+ in .* is damaged .*; run the study again"),
        ("record", lambda record: record | {"questions": 3}, r"the record of trial \w+ in .* is damaged .*; run the study again"),
        (
            "record",
            lambda record: {name: record[name] for name in record if name != "front"},
            r"the record of trial \w+ in .* is damaged .*; run the study again",
        ),
    ],
)
def test_damaged_part_is_named_in_one_line(tmp_path: Path, part: str, change: Any, message: str) -> None:
    store = run_in(tmp_path, STUDY.split('[[method]]\nname = "rcas"')[0].replace("seeds = 2", "seeds = 1"))
    damage(store, part, change)
    with pytest.raises(RunError, match=message) as error:
        read_records(store)
    assert "\n" not in str(error.value)


def test_lookup_grid_is_found_from_the_rows() -> None:
    rows = [["params", 1.0, 5.0], ["params", 1.0], ["params", 2.0, 6.0], ["macs", 1.0, 9.0]]
    assert _lookup_grid(rows) == (2, 2)
    assert [_lookup_grid(other) for other in (None, [], "graphs", {"a": 1}, [["params"], [[1], 2], 3])] == [None] * 5
