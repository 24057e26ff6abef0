"""Trials in processes: whatever a user's method does to its process must not affect other trials."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from budgetnas.harness.catalogue.catalogue import find_method
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.problem import Allowance, Limit
from budgetnas.harness.records.store import RunError, Store
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.trials.conduct import run_trial
from budgetnas.harness.trials.crew import Confinement, call_confined, run_trials
from budgetnas.harness.trials.deaths import Unfinished
from budgetnas.harness.trials.worker import Died
from budgetnas.spaces.tables.columnar import TableError

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).parent.parent / "plugins"
PATIENCE_S = 30.0  # a bound against waiting for ever, not a measurement


def trial_of(method: str, seed: int = 0, **changes: Any) -> Trial:
    found = find_method(method, PLUGINS)
    trial = Trial(
        space="nasbench201",
        dataset="closed-form",
        device="closed-form",
        limits=(Limit("latency_ms", upper=3.0),),
        allowance=Allowance(10),
        validation="mean",
        method=method,
        settings=tuple(sorted(found.settings({}).items())),
        version=found.version,
        table=tabulated_space_of("nasbench201", "closed-form", "closed-form").table.checksum,
        seed=seed,
        folder=PLUGINS if found.plugin else None,
    )
    return replace(trial, **changes)


def misbehaving(name: str, seed: int = 0) -> Trial:
    return trial_of(f"misbehaving.py:{name}", seed)


def conduct(store: Store, trials: list[Trial], confinement: Confinement | None = None, workers: int = 2) -> dict[str, dict[str, Any]]:
    """Run trials and return their records by identity; check that each is reported once."""
    store.create()
    reported: dict[str, bool] = {}

    def done(trial: Trial, ok: bool) -> None:
        assert trial.identity not in reported
        reported[trial.identity] = ok

    run_trials(trials, store, workers, confinement, done)
    records = {trial.identity: store.get(trial.identity) for trial in trials}
    assert reported == {identity: record["status"] == "ok" for identity, record in records.items()}
    return records


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)  # polling; the test does not depend on this duration


def is_running(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


EXPECTED = {
    "Good": "",
    "PrintsALot": "",
    "ChangesSettings": "",
    "ClosesEverything": "",
    "LeavesTraps": "",
    "LeavesChildren": "",
    "YieldsList": "",
    "YieldsNothing": "",
    "WalksSets": "",
    "Raises": "RuntimeError: no <object object>",
    "SystemExits": "SystemExit: enough",
    "Interrupts": "KeyboardInterrupt",
    "Exits": "its process ended by itself with exit code 3",
    "ExitsAsIfFailed": "its process ended by itself with exit code 0",
    "KillsItself": "its process was killed by SIGKILL",
    "KillsItselfOddly": f"its process was killed by signal {signal.SIGRTMIN + 6}",
    "EatsMemory": "MemoryError: Unable to allocate 64.0 GiB for an array with shape (8589934592,) and data type float64",
    "EatsMemoryBitByBit": "MemoryError",
    "Recurses": "RecursionError: maximum recursion depth exceeded",
    "AsksOn": "Runaway: the method goes on asking: 1001 questions after its allowance was spent",
    "ReturnsNone": "TypeError: search returned None; expected a generator, or another iterable, of recommendations",
    "YieldsNone": "TypeError: search yielded None; expected a tuple of architectures",
    "YieldsText": "InvalidArchitecture: '|' is not an Architecture",
    "YieldsForeign": "InvalidArchitecture: the architecture belongs to the space 'another'",
    "YieldsBeyond": "InvalidArchitecture: gene 5 is -1",
}


@pytest.mark.slow
def test_misbehaving_plugin_affects_only_its_own_trial(tmp_path: Path) -> None:
    trials = [misbehaving(name) for name in EXPECTED] + [misbehaving("Good", seed) for seed in range(1, 6)]
    before = set(psutil.Process().children(recursive=True))
    store = Store(tmp_path)
    records = conduct(store, trials, Confinement(PATIENCE_S, 512))
    for name, failure in EXPECTED.items():
        record = records[misbehaving(name).identity]
        assert record["failure"].startswith(failure) and bool(record["failure"]) == bool(failure), name
        assert record["status"] == ("failed" if failure else "ok"), name
    for seed in range(6):
        assert records[misbehaving("Good", seed).identity] == json.loads(json.dumps(run_trial(misbehaving("Good", seed))[0]))
    log = (store.logs / f"{misbehaving('PrintsALot').identity}.txt").read_bytes()
    assert log.count(b"1000/1000") == 20_000 and b"straight to the descriptor" in log and b"to standard error" in log
    assert not list(tmp_path.rglob("*.partial"))
    # No process remains except the server that workers are forked from.
    until(
        lambda: all(
            "forkserver" in " ".join(child.cmdline()) or "tracker" in " ".join(child.cmdline())
            for child in set(psutil.Process().children(recursive=True)) - before
        )
    )


def test_concurrent_workers_are_numbered(tmp_path: Path) -> None:
    trials = [misbehaving("SaysWhichWorker", seed) for seed in range(5)]
    conduct(Store(tmp_path), trials, Confinement(PATIENCE_S, 512), workers=2)
    logs = [(Store(tmp_path).logs / f"{trial.identity}.txt").read_text() for trial in trials]
    assert logs[:2] == ["0\n", "1\n"] and set(logs) == {"0\n", "1\n"}


def test_hanging_plugin_is_killed_with_all_its_children(tmp_path: Path) -> None:
    records = conduct(Store(tmp_path), [misbehaving("Hangs"), misbehaving("Good")], Confinement(2.0, 512))
    assert records[misbehaving("Hangs").identity]["failure"] == "no end after 2 s"


def test_children_of_a_plugin_are_killed_after_its_trial(tmp_path: Path) -> None:
    trial = misbehaving("LeavesChildren")
    conduct(Store(tmp_path), [trial], Confinement(PATIENCE_S, 512))
    left = [int(number) for number in (tmp_path / "logs" / f"{trial.identity}.txt").read_text().split()]
    assert len(left) == 2
    until(lambda: not any(is_running(number) for number in left))


SET_ORDER = """
import sys
from pathlib import Path
if __name__ == "__main__":
    sys.path.insert(0, {here!r})
    from test_crew import conduct, misbehaving, Store, Confinement
    conduct(Store(Path({store!r})), [misbehaving("WalksSets")], Confinement(60, 512))
"""


def test_plugin_that_iterates_over_a_set_is_repeatable(tmp_path: Path) -> None:
    runs = []
    for seed in ("1", "2"):
        code = SET_ORDER.format(here=str(Path(__file__).parent), store=str(tmp_path / seed))
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        runs.append(Store(tmp_path / seed).row(misbehaving("WalksSets").identity).json())
    assert runs[0] == runs[1]


def test_shared_workers_give_the_same_records_as_this_process(tmp_path: Path) -> None:
    trials = [trial_of("random_search", seed) for seed in range(12)]
    for workers in (1, 2):
        records = conduct(Store(tmp_path / str(workers)), trials, workers=workers)
        for trial in trials:
            assert records[trial.identity] == json.loads(json.dumps(run_trial(trial)[0]))
    processes = {json.loads(row.timing)["process"] for row in Store(tmp_path / "1").rows()}
    assert len(processes) == 1 and os.getpid() not in processes


def test_shared_worker_is_replaced_after_a_failure(tmp_path: Path) -> None:
    good = [trial_of("random_search", seed) for seed in range(4)]
    refused = trial_of("random_search", settings=(("patience", 1), ("unknown", 2)))
    unknown = replace(trial_of("random_search", 1), method="of_yesterday")
    order = [good[0], refused, good[1], unknown, good[2], good[3]]
    records = conduct(Store(tmp_path), order, workers=1)
    assert "refuses its settings" in records[refused.identity]["failure"]
    assert records[unknown.identity]["failure"].startswith("MethodError: unknown method 'of_yesterday'")
    assert [records[trial.identity]["status"] for trial in good] == ["ok"] * 4
    timings = {trial.identity: Store(tmp_path).timing(trial.identity) for trial in good}
    processes = [timings[trial.identity]["process"] for trial in good]
    assert processes[0] != processes[1] != processes[2] == processes[3]


@pytest.mark.parametrize("victim", ["worker", "fork server"])
def test_a_process_that_is_killed_costs_no_trial(tmp_path: Path, victim: str) -> None:
    store, trials, killed = Store(tmp_path), [trial_of("random_search", seed) for seed in range(120)], []
    store.create()

    def kill_after_the_first(trial: Trial, ok: bool) -> None:
        if not killed:
            server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
            killed.append(store.timing(trial.identity)["process"] if victim == "worker" else server)
            os.kill(killed[0], signal.SIGKILL)

    assert run_trials(trials, store, 1, None, kill_after_the_first) == []
    assert killed and len(store.done()) == 120
    assert {store.get(trial.identity)["failure"] for trial in trials} == {""}


def test_a_trial_whose_process_dies_every_time_has_no_record_and_is_named(tmp_path: Path) -> None:
    store, dying = Store(tmp_path), misbehaving("KillsItself")
    store.create()
    others = [trial_of("random_search", seed) for seed in range(4)]
    unfinished = run_trials([others[0], dying, *others[1:]], store, 2, None, lambda trial, ok: None)
    assert unfinished == [Unfinished(dying, "its process was killed by SIGKILL")]
    assert store.done() == {trial.identity for trial in others}


def test_a_plugin_that_dies_every_time_has_failed(tmp_path: Path) -> None:
    records = conduct(Store(tmp_path), [misbehaving("KillsItself")], Confinement(PATIENCE_S, 512))
    assert records[misbehaving("KillsItself").identity]["failure"] == "its process was killed by SIGKILL"


def test_a_confined_process_that_is_killed_once_costs_no_trial(tmp_path: Path) -> None:
    trial = replace(misbehaving("DiesOnce"), settings=(("mark", str(tmp_path / "mark")),))
    assert conduct(Store(tmp_path), [trial], Confinement(PATIENCE_S, 512))[trial.identity]["status"] == "ok"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"table": "0" * 64}, "the table of closed-form changed since"), ({"version": "0"}, "the source of method .* changed since")],
)
def test_changed_table_or_source_ends_the_run_with_one_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        conduct(Store(tmp_path), [trial_of("random_search", **changes), trial_of("random_search", 1)])
    with pytest.raises(TableError, match=message):
        conduct(Store(tmp_path), [replace(misbehaving("Good"), **changes)], Confinement(PATIENCE_S, 512))


def test_deleted_folder_ends_the_run_with_one_error(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.create()
    store.database.path.unlink()
    for folder in (store.timings, store.context, store.root):
        folder.rmdir()
    with pytest.raises(RunError, match=r"cannot read or write .*unable to open database file"):
        run_trials([trial_of("random_search")], store, 1, None, lambda trial, ok: None)
    store.root.write_text("a file")
    with pytest.raises(RunError, match=r"cannot write .*Not a directory"):
        run_trials([misbehaving("Good")], store, 1, Confinement(PATIENCE_S, 512), lambda trial, ok: None)


def test_without_trials_nothing_starts(tmp_path: Path) -> None:
    run_trials([], Store(tmp_path), 2, None, lambda trial, ok: pytest.fail("there was nothing to do"))


def test_an_interruption_ends_the_workers(tmp_path: Path) -> None:
    store, before = Store(tmp_path), set(psutil.Process().children(recursive=True))
    store.create()

    def interrupt(trial: Trial, ok: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trials([misbehaving("Good"), misbehaving("Hangs")], store, 2, Confinement(600, 512), interrupt)
    started = [child for child in psutil.Process().children(recursive=True) if child not in before]
    assert all("forkserver" in " ".join(child.cmdline()) or "tracker" in " ".join(child.cmdline()) for child in started)


ORPHANED = """
import multiprocessing, os, pickle, sys
from pathlib import Path
from budgetnas.harness.trials.worker import serve

given, root = sys.argv[1:]
ours, theirs = multiprocessing.Pipe()
message = sys.stdin.buffer.read()
if given == "half a trial":
    os.write(ours.fileno(), len(message).to_bytes(4, "big") + message[: len(message) // 2])
elif given == "a trial":
    ours.send_bytes(message)
if given == "nothing, and an answer unread":
    theirs.send(True)  # the unread answer makes the system reset the link instead of closing it
ours.close()
serve(theirs, Path(root), 0)
"""


@pytest.mark.parametrize("given", ["a trial", "half a trial", "nothing, and an answer unread"])
def test_worker_of_a_killed_run_ends_quietly_and_writes_nothing(tmp_path: Path, given: str) -> None:
    trial, store = trial_of("random_search"), Store(tmp_path)
    store.create()
    command = [sys.executable, "-c", ORPHANED, given, str(tmp_path)]
    ended = subprocess.run(command, input=pickle.dumps(trial), capture_output=True, timeout=PATIENCE_S)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert store.done() == set()  # only the killed process could write, so the trial runs again


def test_confined_call_returns_raises_or_times_out() -> None:
    confinement = Confinement(PATIENCE_S, 512)
    assert call_confined(divmod, (17, 5), confinement) == (3, 2)
    with pytest.raises(ZeroDivisionError):
        call_confined(divmod, (1, 0), confinement)
    with pytest.raises(Died, match="exit code 4"):
        call_confined(os._exit, (4,), confinement)
    with pytest.raises(Died, match="SystemExit: 5"):
        call_confined(sys.exit, (5,), confinement)
    with pytest.raises(Died, match="SIGKILL"):
        call_confined(signal.raise_signal, (signal.SIGKILL,), confinement)
    with pytest.raises(MemoryError):
        call_confined(bytearray, (2**30,), confinement)
    with pytest.raises(TimeoutError, match="no end after 1 s"):
        call_confined(time.sleep, (1000,), Confinement(1.0, 512))


def test_waiting_for_a_plugin_with_a_closed_link_and_a_long_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[Any] = []
    real = connection.wait
    monkeypatch.setattr(connection, "wait", lambda signs, seconds=None: waits.append(seconds) or real(signs, seconds))
    records = conduct(Store(tmp_path), [misbehaving("ClosesEverything")], Confinement(3e6, 512))
    assert [record["status"] for record in records.values()] == ["ok"]
    assert len(waits) < 20 and all(seconds is None or seconds <= 86_400 for seconds in waits)
