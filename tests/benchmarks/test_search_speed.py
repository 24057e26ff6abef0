"""The speed of searches on a table, and the memory of a study. Run with `make benchmark`; no test here fails because it is slow."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from budgetnas.harness.catalogue.catalogue import find_method, own_methods
from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.problem import Allowance, Need
from budgetnas.harness.records.trial import Record, Trial
from budgetnas.harness.trials.conduct import conduct


def _trial(method: str, queries: int, seed: int) -> Trial:
    tabulated = tabulated_space_of("nasbench201", "cifar10", "pixel3")
    found = find_method(method)
    return Trial(
        space="nasbench201", dataset="cifar10", device="pixel3", limits=resolve(tabulated, ["latency_ms@q50"]).limits,
        allowance=Allowance(queries), validation="mean", method=method, settings=tuple(sorted(found.settings({}).items())),
        version=found.version, table=tabulated.table.checksum, seed=seed,
    )  # fmt: skip


def _that_need(need: Need) -> list[str]:
    return [name for name in own_methods() if need in find_method(name).needs]


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in _that_need(Need.RELAXATION) if name != "pc_darts"])  # needs more than a table
def test_a_search_of_400_steps_on_the_exact_relaxation(method: str, real_tables: Path, benchmark: BenchmarkFixture) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    trial = _trial(method, 200, 0)
    settings = tuple(sorted((dict(trial.settings) | {"steps": 400}).items()))
    record = benchmark.pedantic(lambda: conduct(find_method(method), replace(trial, settings=settings)), rounds=3, warmup_rounds=1)
    assert record["status"] == "ok"


@pytest.mark.parametrize("method", _that_need(Need.ACCURACY))
def test_a_search_of_200_queries(method: str, real_tables: Path, benchmark: BenchmarkFixture) -> None:
    seeds = iter(range(10**6))

    def search() -> Record:
        return conduct(find_method(method), _trial(method, 200, next(seeds)))

    record = benchmark.pedantic(search, rounds=10, warmup_rounds=1)
    assert record["status"] == "ok"
    benchmark.extra_info["queries"] = record["queries"]


def test_queries_per_second_of_regularized_evolution(real_tables: Path, benchmark: BenchmarkFixture) -> None:
    """A search of 1,000 queries, including metering and the record. Queries per second are 1,000 divided by its time."""
    seeds = iter(range(10**6))
    queries = 1000
    record = benchmark.pedantic(
        lambda: conduct(find_method("regularized_evolution"), _trial("regularized_evolution", queries, next(seeds))),
        rounds=20,
        warmup_rounds=2,
    )
    assert record["queries"] == queries
    if benchmark.stats is not None:
        print(f"\nregularized evolution: {queries / benchmark.stats.stats.mean:,.0f} queries per second")


_GRID = """
name = "grid"
seeds = {seeds}
[problem]
datasets = ["cifar10", "cifar100", "ImageNet16-120"]
devices = ["edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga"]
limits = ["latency_ms@q10", "latency_ms@q25", "latency_ms@q50"]
{methods}
"""


@pytest.mark.parametrize("without", [(), ("tpe",)], ids=["6 methods", "without TPE"])
def test_a_study_on_the_whole_grid(without: tuple[str, ...], real_home: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """Methods x 3 datasets x 6 devices x 3 limits x 10 seeds with 200 queries each and two workers; prints the memory of all processes."""
    names = ["random_search", "regularized_evolution", "local_search", "nsga2", "tpe", "rcas"]
    methods = "\n".join(f'[[method]]\nname = "{name}"' for name in names if name not in without)
    seeds = 10 if benchmark.enabled else 1
    (tmp_path / "grid.toml").write_text(_GRID.format(methods=methods, seeds=seeds))
    peaks = {"PSS": 0, "RSS": 0}

    def study() -> None:
        program = "from budgetnas.harness.cli import main; main()"
        environment = os.environ | {"BUDGETNAS_DATA": str(real_home), "OMP_NUM_THREADS": "1"}
        process = psutil.Popen(
            [sys.executable, "-c", program, "run", "grid.toml", "--workers", "2", "--out", "run"],
            cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None:
            _note_memory(process, peaks)
            time.sleep(0.25)
        assert process.returncode == 0

    if not benchmark.enabled:
        pytest.skip("runs for minutes; `make benchmark` runs it")
    benchmark.pedantic(study, rounds=1)
    memory = ", ".join(f"{name} {peak / 2**20:.0f} MB" for name, peak in peaks.items())
    print(f"\n{'without TPE' if without else '6 methods'}: {memory} at the peak")


def _note_memory(process: psutil.Process, peaks: dict[str, int]) -> None:
    """Update the largest sums over the process tree. PSS divides a shared page among its processes, RSS counts it in each."""
    sums = {"PSS": 0, "RSS": 0}
    for member in [process, *process.children(recursive=True)]:
        try:
            memory = member.memory_full_info()
        except psutil.Error:
            continue  # the process has ended
        sums["PSS"] += memory.pss
        sums["RSS"] += memory.rss
    for name, total in sums.items():
        peaks[name] = max(peaks[name], total)
