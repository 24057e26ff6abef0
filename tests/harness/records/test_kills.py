"""A run whose process is killed at any moment, again and again, ends with the records of an uninterrupted one."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from budgetnas.harness.records.export import Format, export
from budgetnas.harness.records.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.long]

KILLS = 25  # for each number of workers and each kind of method
PATIENCE_S = 300.0  # a bound against waiting for ever, not a measurement
PLUGINS = Path(__file__).parent.parent / "plugins"
STUDY = """\
name = "mine"
seeds = {seeds}
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms@q50", ["params<=600k", "energy_mj<=15"]]
allowance = {{ queries = 10 }}
{methods}
"""
OWN = '[[method]]\nname = "random_search"\n[[method]]\nname = "regularized_evolution"\n'
PLUGIN = f'[[method]]\nname = "{PLUGINS}/misbehaving.py:Good"\n[[method]]\nname = "{PLUGINS}/misbehaving.py:Raises"\n'
# The command itself, but with fewer rows in a transaction: there are more moments that matter.
PROGRAM = "from budgetnas.harness.records import commits; commits.MOST_ROWS = {rows}; from budgetnas.harness.cli import main; main()"


def start(study: Path, out: Path, workers: int, rows: int) -> psutil.Popen:
    arguments = ["run", str(study), "--out", str(out), "--workers", str(workers)]
    with (study.parent / "complaints.txt").open("w") as complaints:
        return psutil.Popen(
            [sys.executable, "-c", PROGRAM.format(rows=rows), *arguments], stdout=subprocess.DEVNULL, stderr=complaints,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def wait_until(process: psutil.Popen, condition: Callable[[], bool]) -> bool:
    """Wait for a condition, and return whether it came before the process ended by itself."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, "neither did it go on, nor did it end"
        time.sleep(0.001)  # a poll, not a wait for the clock
    return True


def lines(root: Path) -> bytes:
    out = io.BytesIO()
    store = Store(root)
    store.check()
    export(store.rows(), Format.JSONL, out)
    return out.getvalue()


def moment(rng: random.Random, store: Store) -> Callable[[], bool]:
    """Return the condition on which a process is killed: so many more records are in the file, or so many seconds have passed.

    After that it goes on for some polls more, so that it is killed between two transactions as often as in one.
    """
    more, before = rng.choice([1, 1, 2, 5, 10]), len(store.statuses())
    begun, seconds = time.monotonic(), rng.uniform(0.0, 2.0)
    by_time, polls = rng.random() < 0.3, rng.randrange(30)

    def now() -> bool:
        nonlocal polls
        if time.monotonic() - begun >= seconds if by_time else len(store.statuses()) >= before + more:
            polls -= 1
        return polls < 0

    return now


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("methods", "seeds"), [(OWN, 60), (PLUGIN, 12)], ids=["own", "plug-in"])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_records(tmp_path: Path, methods: str, seeds: int, workers: int) -> None:
    study, out, store = tmp_path / "study.toml", tmp_path / "out", Store(tmp_path / "out")
    study.write_text(STUDY.format(seeds=seeds, methods=methods))
    straight = start(study, tmp_path / "straight", workers, rows=50)
    assert straight.wait(PATIENCE_S) == 0
    expected = lines(tmp_path / "straight")
    assert expected.count(b"\n") == 4 * seeds
    rng, family, kills, journals, ends = random.Random(f"{methods} {workers}"), set[psutil.Process](), 0, 0, 0
    while kills < KILLS or not ends:
        there = set(store.statuses())
        process = start(study, out, workers, rows=rng.choice([1, 2, 3, 50]))
        if kills < KILLS and wait_until(process, moment(rng, store)):
            family |= set(process.children(recursive=True))
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)
            kills += 1
            journals += (out / "records.sqlite-journal").exists()
            assert there <= set(store.statuses())
            continue
        assert process.wait(PATIENCE_S) == 0, (tmp_path / "complaints.txt").read_text()
        assert lines(out) == expected
        ends += 1
        if kills < KILLS:  # it was too fast: once more, from the start
            shutil.rmtree(out)
    print(f"\n{kills} kills, {journals} of them in a transaction; {ends} runs ended")
    assert not list(out.rglob("*.partial*"))
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(("methods", "seeds"), [(OWN, 60), (PLUGIN, 12)], ids=["own", "plug-in"])
def test_a_run_whose_workers_and_fork_server_are_killed_ends_with_the_same_records(tmp_path: Path, methods: str, seeds: int) -> None:
    study, store = tmp_path / "study.toml", Store(tmp_path / "out")
    study.write_text(STUDY.format(seeds=seeds, methods=methods))
    straight = start(study, tmp_path / "straight", 2, rows=50)
    assert straight.wait(PATIENCE_S) == 0
    rng, kills, died = random.Random(methods), 0, 0
    while kills < KILLS:
        process = start(study, store.root, 2, rows=rng.choice([1, 50]))
        while kills < KILLS and wait_until(process, moment(rng, store)):
            if victims := process.children(recursive=True):  # workers, the server that they are forked from, and its tracker
                rng.choice(victims).send_signal(signal.SIGKILL)
                kills += 1
        # A trial whose process was killed three times is named, and the command fails: the same command goes on.
        died += process.wait(PATIENCE_S) != 0
        if kills < KILLS and len(store.statuses()) == 4 * seeds:
            assert lines(store.root) == lines(tmp_path / "straight")
            shutil.rmtree(store.root)
    while process.wait(PATIENCE_S) != 0:
        process = start(study, store.root, 2, rows=50)
    print(f"\n{kills} kills of workers and fork servers; {died} runs ended with an error")
    assert lines(store.root) == lines(tmp_path / "straight")
