"""The contract of a method that needs a relaxation: a few steps on the table that ships with the project, and in a supernet."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

from budgetnas.harness.catalogue.catalogue import check_class, find_method, own_methods
from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.registry import offers, training_spec_of
from budgetnas.harness.problem import Allowance, Need
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.records.trial import Record, TrainingSpec, Trial
from budgetnas.harness.trials.conduct import run_trial
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.task import task_of

pytestmark = pytest.mark.slow

DIFFERENTIABLE = [name for name in own_methods() if Need.RELAXATION in find_method(name).needs]
ON_TABLES = [name for name in DIFFERENTIABLE if find_method(name).needs <= offers("table", space_of("nasbench201"))]
LIMITS = {
    "none": ("unlimited",),
    "tight": ("latency_ms@q10",),
    "several": ("latency_ms@q50", "cycles@q25", "params<=8k"),
    "from two sides": ("latency_ms@q50", "params>=2k"),
    "nothing": ("latency_ms<=0.0001",),
}
STEPS = 30
RECIPE = """
name = "contract"
version = 1
source = "these tests"
kind = "search"
epochs = 2
batch = 16
channels = 4
cells = 1
images = { train = 96 }
optimiser = { learning_rate = 0.05, clip = 5.0 }
"""


def trial_of(method: str, limits: str, seed: int = 0, training: TrainingSpec | None = None, **settings: Any) -> Trial:
    tabulated, found = tabulated_space_of("nasbench201", "digits201", "amd-epyc"), find_method(method)
    few = {"steps": STEPS} if training is None and "steps" in found.settings({}) else {}
    return Trial(
        space="nasbench201",
        dataset="digits201",
        device="amd-epyc",
        limits=resolve(tabulated, LIMITS[limits]).limits,
        allowance=Allowance(200),
        validation="mean",
        method=method,
        settings=tuple(sorted(found.settings(few | settings).items())),
        version=found.version,
        table=tabulated.checksum,
        seed=seed,
        training=training,
        evaluator="table" if training is None else "supernet",
    )


def test_the_differentiable_methods_are_found() -> None:
    assert {"darts", "pc_darts", "rc_darts", "dca_nas", "deff_arts"} == set(DIFFERENTIABLE)
    assert set(DIFFERENTIABLE) - set(ON_TABLES) == {"pc_darts"}


@pytest.mark.parametrize("method", DIFFERENTIABLE)
def test_it_has_the_shape_of_a_method(method: str) -> None:
    found = find_method(method)
    check_class(method, found.cls)
    assert found.cls.__dataclass_params__.frozen
    assert (found.cls.__doc__ or "").strip().split("\n")[0].endswith(".")
    assert canonical_json(found.settings({}))


def check_record(record: Record, tabulated: Any) -> None:
    """Assert what every record must satisfy, feasible or not."""
    assert record["status"] == "ok", record["failure"]
    final = record["final"]
    admitted = tabulated.admitted(resolve(tabulated, ()).limits)
    assert final is not None and final["test"] == tabulated.test[final["architecture"]]
    assert final["feasible"] <= admitted[final["architecture"]]
    assert (record["regret"] is not None) == final["feasible"]
    assert all(value is None or math.isfinite(value) for value in record["report"].values())


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("method", ON_TABLES)
def test_on_a_table_it_reads_the_whole_table_and_recommends_an_architecture_under_all_limits(method: str, limits: str) -> None:
    record, _ = run_trial(trial_of(method, limits))
    check_record(record, tabulated_space_of("nasbench201", "digits201", "amd-epyc"))
    assert record["ranking_class"] == "full information"
    assert record["queries"] >= 15_625


@pytest.mark.parametrize("method", ON_TABLES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_start(method: str, tmp_path: Path) -> None:
    records = [run_trial(trial_of(method, "tight", seed), tmp_path)[0] for seed in (0, 0, 1)]
    assert canonical_json(records[0]) == canonical_json(records[1])
    assert records[0]["report"] != records[2]["report"]
    assert len(list((tmp_path / "histories").iterdir())) == 2


@pytest.mark.parametrize("method", [name for name in ON_TABLES if "repair" in find_method(name).settings({})])
def test_with_repair_the_result_is_feasible_if_a_feasible_architecture_exists(method: str) -> None:
    for limits in LIMITS:
        record, _ = run_trial(trial_of(method, limits, repair=True))
        assert record["final"]["feasible"] == (record["oracle"]["feasible"] > 0)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> TrainingSpec:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "contract.toml").write_text(RECIPE)
    return training_spec_of("supernet", "contract.toml", task_of("digits201"), folder)


@pytest.mark.parametrize("method", DIFFERENTIABLE)
def test_in_a_supernet_it_recommends_an_architecture_and_repeats_itself(method: str, training: TrainingSpec, tmp_path: Path) -> None:
    records = [run_trial(trial_of(method, "several", training=training), tmp_path / str(again))[0] for again in range(2)]
    check_record(records[0], tabulated_space_of("nasbench201", "digits201", "amd-epyc"))
    assert records[0]["ranking_class"] == "supernet"
    assert records[0]["queries"] == 0
    assert canonical_json(records[0]) == canonical_json(records[1])
