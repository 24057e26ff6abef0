"""How long the pages of a large run take, and how much memory. Run with `make benchmark`; nothing here fails by the clock."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.records.store import Record, Row, Store

TRIALS = 100_000
_PROGRAM = [sys.executable, "-c", "from budgetnas.harness.cli import main; main()"]
_STUDY = """
name = "pages"
seeds = 25
[problem]
datasets = ["digits201"]
devices = ["amd-epyc"]
limits = ["latency_ms@q10", "latency_ms@q50", "cycles@q25", "params@q50"]
allowance = {{ queries = 3 }}
{methods}
"""


def _with_seed(record: Record, seed: int) -> Record:
    """Return the record that a trial would have if it found the same with another seed."""
    trial = record["trial"] | {"seed": seed}
    return record | {"trial": trial, "identity": identity_of(trial)}


def _copies(records: list[Record], labels: dict[str, str], count: int) -> Iterator[tuple[str, Record]]:
    """Yield so many records, each with its method's label: those of a run again and again, with seeds that none of them has."""
    for number, record in enumerate(islice(cycle(records), count)):
        yield labels[record["identity"]], _with_seed(record, 10**6 + number // len(records) * 10**3 + record["trial"]["seed"])


def _grow(store: Store, trials: int) -> None:
    """Fill a finished run up to a number of trials."""
    path = store.root / "plan.json"
    plan, records = store.read(path), [row.record() for row in store.rows()]
    more = _copies(records, dict(plan["trials"]), trials - len(records))
    while copies := list(islice(more, 1000)):
        store.write_rows([Row.of(record) for _, record in copies])
        plan["trials"] |= {record["identity"]: label for label, record in copies}
    store.write(path, plan)


@pytest.mark.parametrize(
    "methods", [("random_search",), ("random_search", "local_search", "regularized_evolution")], ids=["1 method", "3 methods"]
)
def test_pages_of_a_large_run(methods: tuple[str, ...], tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """A search by each method of 25 seeds under 4 limits, taken again with other seeds: pages of 100,000 trials in one process."""
    if not benchmark.enabled:
        pytest.skip("runs for minutes; `make benchmark` runs it")
    (tmp_path / "pages.toml").write_text(_STUDY.format(methods="\n".join(f'[[method]]\nname = "{name}"' for name in methods)))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    quiet = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*_PROGRAM, "run", "pages.toml", "--workers", "2", "--out", "run"], check=True, **quiet)
    _grow(Store(tmp_path / "run"), TRIALS)
    figures = []

    def pages() -> None:
        began = time.perf_counter()
        process = subprocess.Popen([*_PROGRAM, "leaderboard", "run"], **quiet)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        figures.append((time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))

    benchmark.pedantic(pages, rounds=1)
    assert f"{TRIALS:,} trials of " in (tmp_path / "run" / "leaderboards" / "README.md").read_text(encoding="utf-8")
    for seconds, processor, memory in figures:
        print(f"\n{TRIALS:,} trials of {', '.join(methods)}: {seconds:.0f} s, {processor:.0f} processor seconds, {memory:.0f} MiB")
