"""The contract of a method. It runs for every method in the project, including new ones."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from budgetnas.harness.catalogue.catalogue import check_class, find_method, own_methods
from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.problem import Allowance, Need
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.records.trial import Record, Trial
from budgetnas.harness.trials.conduct import conduct
from budgetnas.harness.trials.contract import check_method

pytestmark = pytest.mark.slow

LIMITS = {
    "none": ("unlimited",),
    "loose": ("latency_ms@q50",),
    "tight": ("latency_ms@q10",),
    "of the network": ("params<=600k", "macs<=90M"),
    "several": ("latency_ms@q50", "energy_mj<=15", "params<=800k"),
    "lower bound": ("latency_ms@q50", "params>=400k"),
    "from two sides": ("latency_ms>=2,latency_ms<=2.5",),
    "a handful": ("latency_ms<=1.15",),
    "a single one": ("energy_mj<=2.3",),
    "nothing": ("latency_ms<=0.5",),
}
ALLOWANCES = {"1 query": Allowance(1), "40 queries": Allowance(40), "3000 s": Allowance(None, 3000.0), "both": Allowance(40, 2000.0)}


def tabulated(device: str | None = "closed-form") -> TabulatedSpace:
    return tabulated_space_of("nasbench201", "closed-form", device)


def trial_of(
    method: str, limits: tuple[str, ...], allowance: Allowance = ALLOWANCES["40 queries"], seed: int = 0, device: str | None = "closed-form"
) -> Trial:
    found = find_method(method)
    return Trial(
        space="nasbench201",
        dataset="closed-form",
        device=device,
        limits=resolve(tabulated(device), limits).limits,
        allowance=allowance,
        validation="mean",
        method=method,
        settings=tuple(sorted(found.settings({}).items())),
        version=found.version,
        table=tabulated(device).table.checksum,
        seed=seed,
    )


@cache
def record_of(trial: Trial) -> Record:
    return conduct(find_method(trial.method), trial)


def asked_of(record: Record) -> list[int]:
    return [key for kind, keys in record["questions"] if kind == "accuracy" for key in keys]


# Methods that need a relaxation have their own contract in `test_differentiable_methods.py`: they pay for no query, so most tests here do
# not apply to them.
ASKING = [name for name in own_methods() if find_method(name).needs <= {Need.ACCURACY}]


@pytest.fixture(params=ASKING)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param(name, marks=[pytest.mark.long] if name == "tpe" else []) for name in ASKING])
def test_it_passes_the_check_for_methods_of_users(method: str) -> None:
    assert all(not clause.broken for clause in check_method(find_method(method).cls))


def test_it_has_the_shape_of_a_method(method: str) -> None:
    found = find_method(method)
    check_class(method, found.cls)
    assert found.cls.__dataclass_params__.frozen
    assert (found.cls.__doc__ or "").strip().split("\n")[0].endswith(".")
    assert canonical_json(found.settings({}))


@pytest.mark.parametrize("limits", LIMITS)
def test_under_all_limits_it_recommends_a_feasible_architecture_if_it_saw_one(method: str, limits: str) -> None:
    record = record_of(trial_of(method, LIMITS[limits]))
    assert record["failure"] == ""
    admitted = tabulated().admitted(resolve(tabulated(), LIMITS[limits]).limits)
    saw_feasible = any(admitted[index] for index in asked_of(record))
    if saw_feasible:
        assert record["final"]["feasible"] and admitted[record["final"]["architecture"]]
        assert all(entry["feasible"] for entry in record["front"])
    if limits == "nothing":
        assert record["oracle"]["feasible"] == 0 and not saw_feasible and record["regret"] is None
    elif limits not in ("a handful", "a single one"):
        assert saw_feasible and record["regret"] >= 0.0


@pytest.mark.parametrize("limits", ["loose", "tight", "nothing"])
def test_after_its_first_feasible_answer_it_recommends_only_feasible_architectures(method: str, limits: str) -> None:
    record = record_of(trial_of(method, LIMITS[limits]))
    admitted = tabulated().admitted(resolve(tabulated(), LIMITS[limits]).limits)
    new = list(dict.fromkeys(asked_of(record)))  # charged in this order
    for recommendation in record["recommendations"]:
        if any(admitted[index] for index in new[: recommendation["queries"]]):
            assert all(admitted[index] for index in recommendation["architectures"])


@pytest.mark.parametrize("allowance", ALLOWANCES)
def test_it_does_not_spend_more_than_its_allowance(method: str, allowance: str) -> None:
    limit = ALLOWANCES[allowance]
    record = record_of(trial_of(method, LIMITS["loose"], limit))
    assert record["failure"] == ""
    assert 1 <= record["queries"] <= (limit.queries or 15_625)
    assert 0.0 < record["simulated_seconds"] <= (limit.seconds or np.inf)
    new = set(asked_of(record))
    assert len(new) == record["queries"]
    assert record["simulated_seconds"] == pytest.approx(sum(float(tabulated().training_seconds[index]) for index in new))


SHIPPED_LIMITS = (
    ("unlimited",), ("latency_ms@q05",), ("cycles@q10",), ("latency_ms@q25", "cycles@q25"), ("latency_ms@q50", "params>=2k", "macs<=200k"),
)  # fmt: skip


@pytest.mark.parametrize("limits", SHIPPED_LIMITS, ids=",".join)
def test_it_works_on_the_benchmark_that_ships_with_the_project(method: str, limits: tuple[str, ...]) -> None:
    shipped = tabulated_space_of("nasbench201", "digits201", "amd-epyc")
    bounds = resolve(shipped, limits)
    changes = {"dataset": "digits201", "device": "amd-epyc", "limits": bounds.limits, "table": shipped.table.checksum}
    record = record_of(replace(trial_of(method, ("unlimited",)), **changes))
    admitted = shipped.admitted(bounds.limits)
    assert record["failure"] == "" and record["oracle"]["feasible"] == bounds.feasible
    if any(admitted[index] for index in asked_of(record)):
        assert record["final"]["feasible"] and admitted[record["final"]["architecture"]]
        assert record["final"]["test"] == shipped.test[record["final"]["architecture"]]
        assert record["regret"] >= 0.0


def test_it_works_without_a_device(method: str) -> None:
    record = record_of(trial_of(method, ("params<=600k",), device=None))
    assert record["failure"] == "" and record["final"]["feasible"]


def test_it_ends_if_the_allowance_is_larger_than_the_number_of_feasible_cells(method: str) -> None:
    record = record_of(trial_of(method, LIMITS["a handful"], Allowance(400)))
    assert record["failure"] == ""
    assert record["queries"] <= 400


def test_another_seed_gives_another_search_unless_the_method_is_deterministic(method: str) -> None:
    questions = [record_of(trial_of(method, LIMITS["loose"], seed=seed))["questions"] for seed in (0, 1)]
    assert (questions[0] == questions[1]) == find_method(method).deterministic


AGAIN = """
import hashlib, sys
sys.path.insert(0, {here!r})
from test_methods import ASKING, LIMITS, conduct, find_method, canonical_json, trial_of
for method in ASKING:
    for limits in ("tight", "several", "a handful"):
        trial = trial_of(method, LIMITS[limits])
        print(method, limits, hashlib.sha256(canonical_json(conduct(find_method(method), trial)).encode()).hexdigest())
"""


@pytest.mark.slow
def test_the_bytes_of_a_record_are_the_same_in_every_process() -> None:
    # The order of a set of texts differs between processes, and a library may seed itself from the time: neither may change a record.
    code = AGAIN.format(here=os.path.dirname(__file__))  # noqa: PTH120
    outputs: list[Any] = []
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        outputs.append(result.stdout.splitlines())
    assert len(outputs[0]) == 3 * len(ASKING)
    assert outputs[0] == outputs[1]
