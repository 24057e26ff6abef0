"""What the records of a large study take: processor seconds, memory, bytes. Run with `make benchmark`; nothing here fails by the clock."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from budgetnas.harness.catalogue.catalogue import find_method, own_methods
from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.problem import Allowance, Need
from budgetnas.harness.records.commits import MOST_ROWS, Commits
from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.records.store import Row, Store
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.trials.conduct import conduct

_STUDY = """
name = "large"
seeds = 25000
[problem]
datasets = ["digits201"]
devices = ["amd-epyc"]
limits = ["latency_ms@q50", "cycles@q25", "latency_ms@q10", "params@q50"]
allowance = { queries = 3 }
[[method]]
name = "random_search"
"""
_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
import psutil
from budgetnas.harness.records.store import Store
from budgetnas.harness.studies.plan import expand
from budgetnas.harness.studies.run import run
from budgetnas.harness.studies.study import read_study

def processor_seconds():
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total

def show(done, planned, failed):
    if done == 0:
        figures["trials"], figures["began"] = planned, time.perf_counter()
    elif "first" not in figures:
        figures["first"] = processor_seconds()

if __name__ == "__main__":
    figures = {}
    described, folder = read_study(sys.argv[1])
    run(expand(described, folder, sys.argv[1]), Store(Path(sys.argv[2])), 2, False, show)
    figures["seconds"] = time.perf_counter() - figures["began"]
    figures["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(figures))
"""


def test_a_study_of_100_000_trials(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """Random search of three queries with two workers. Memory is the driver's at its peak, with all imported libraries."""
    if not benchmark.enabled:
        pytest.skip("runs for minutes; `make benchmark` runs it")
    (tmp_path / "large.toml").write_text(_STUDY)
    (tmp_path / "program.py").write_text(_PROGRAM)

    def study() -> dict[str, float]:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "program.py", "large.toml", "run"]
        shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return dict(json.loads(shown.stdout))

    figures = benchmark.pedantic(study, rounds=1)
    trials, size = figures["trials"], (tmp_path / "run" / "records.sqlite").stat().st_size
    assert trials == 100_000 and len(Store(tmp_path / "run").statuses()) == trials
    print(f"\nfirst record after {figures['first']:.1f} processor seconds of all processes (aim: 3)")
    print(f"driver: {figures['memory'] / 1e6:.0f} MB at the peak (aim: 250)")
    print(f"on disk: {size / 1e6:.0f} MB (aim: 200), {size / trials:,.0f} bytes a record")
    print(f"{trials / figures['seconds']:,.0f} records a second, with the trials")


@pytest.mark.parametrize("method", [name for name in own_methods() if Need.ACCURACY in find_method(name).needs])
def test_bytes_of_a_record_of_200_queries(method: str, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """On disk, with its share of the pages and of the index: in a file that holds each record many times, under other identities."""
    tabulated, found = tabulated_space_of("nasbench201", "digits201", "amd-epyc"), find_method(method)
    trial = Trial(
        space="nasbench201", dataset="digits201", device="amd-epyc", limits=resolve(tabulated, ["latency_ms@q50"]).limits,
        allowance=Allowance(200), validation="mean", method=method, settings=tuple(sorted(found.settings({}).items())),
        version=found.version, table=tabulated.table.checksum, seed=0,
    )  # fmt: skip
    store = Store(tmp_path / "run")
    store.create()
    trials = trial.with_seeds(range(40 if benchmark.enabled else 1))
    timing = {"trial_seconds": 0.123456789, "process": 12345, "python": "3.11.7"}
    rows = benchmark.pedantic(lambda: [Row.of(conduct(found, each), timing) for each in trials], rounds=1)
    if benchmark.enabled:
        copies = 50
        for number in range(copies):
            store.write_rows([replace(row, identity=identity_of([number, row.identity])) for row in rows])
        size = store.database.path.stat().st_size / len(rows) / copies
        texts, contents = (sum(map(len, texts)) / len(rows) for texts in zip(*((row.json(), row.content) for row in rows), strict=True))
        print(f"\n{method}: {size:,.0f} bytes on disk (aim: 4,500), {contents:,.0f} of content, {texts:,.0f} as JSON")


def test_records_written_a_second(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """Rows of some kilobytes, as many in a transaction as a run writes at once; each transaction outlasts a power failure."""
    store, numbers, count = Store(tmp_path / "run"), iter(range(10**9)), 20 * MOST_ROWS if benchmark.enabled else 1
    store.create()

    def rows() -> tuple[tuple[list[Row]], dict[str, object]]:
        made = []
        for number in (next(numbers) for _ in range(count)):
            noise = random.Random(number).randbytes(2_000).hex()
            made.append(Row.of({"identity": identity_of(number), "status": "ok", "trial": number, "noise": noise}))
        return (made,), {}

    def write(made: list[Row]) -> None:
        commits = Commits(store, lambda row: None)
        for row in made:
            commits.add(row)
        commits.write()

    benchmark.pedantic(write, setup=rows, rounds=5)
    if benchmark.stats is not None:
        print(f"\n{count / benchmark.stats.stats.mean:,.0f} records written a second (aim: 500)")
