"""Runs trials in processes of this machine.

The project's own methods share workers that live through many trials; a worker whose trial failed is replaced. A plug-in's trial gets a
process of its own, with a limit on time and memory, so what crashes, hangs or eats memory costs that one trial. Either way the process
writes the record itself, so that nothing is lost if the run is stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from budgetnas.harness.store import Store
from budgetnas.harness.trial import Trial, failed_record, run_trial

_FAILED = 77  # the exit code of a worker that wrote a failed record and wants to be replaced
_IN_FLIGHT = 4  # trials handed to the pool for each worker, so that it never waits and an interruption has little to undo
Done = Callable[[Trial, bool], None]


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a plug-in's trial may take: seconds by the clock, and megabytes of data (RLIMIT_DATA)."""

    timeout_seconds: float
    memory_mb: int


def run_trials(trials: Sequence[Trial], store: Store, workers: int, confinement: Confinement | None, done: Done) -> None:
    """Run trials, each to a record in the store; `done(trial, ok)` is called in this process as each ends.

    With a confinement every trial gets a process of its own. An interruption ends the workers and leaves only whole records.
    """
    if not trials:
        return
    context = multiprocessing.get_context("forkserver")
    # The server imports once what every worker needs; workers share those pages.
    context.set_forkserver_preload(["budgetnas.harness.executors.local", "pyarrow.parquet"])
    limits: dict[str, Any] = {"initializer": _confine, "initargs": (confinement.memory_mb,), "max_tasks": 1} if confinement else {}
    pool = ProcessPool(max_workers=workers, context=context, **limits)
    timeout = confinement.timeout_seconds if confinement else None
    try:
        _feed(pool, iter(trials), store, workers * _IN_FLIGHT, timeout, done)
        pool.close()
        pool.join()
    except BaseException:
        pool.stop()
        pool.join()
        raise


def call_confined(function: Callable[..., Any], args: tuple[Any, ...], confinement: Confinement) -> Any:
    """Return what a function of one of our modules returns in a process of its own; what it raises is raised here.

    `TimeoutError` if it takes too long, `ProcessExpired` if its process dies.
    """
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPool(max_workers=1, max_tasks=1, context=context, initializer=_confine, initargs=(confinement.memory_mb,))
    try:
        return pool.schedule(function, args=args, timeout=confinement.timeout_seconds).result()
    finally:
        pool.stop()
        pool.join()


def _feed(pool: ProcessPool, trials: Iterable[Trial], store: Store, most: int, timeout: float | None, done: Done) -> None:
    waiting: dict[Any, Trial] = {}
    source = iter(trials)
    while True:
        while len(waiting) < most and (trial := next(source, None)) is not None:
            waiting[pool.schedule(_work, args=(trial, store.root, timeout is not None), timeout=timeout)] = trial
        if not waiting:
            return
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            trial = waiting.pop(future)
            done(trial, _settle(future, trial, store, timeout))


def _settle(future: Any, trial: Trial, store: Store, timeout: float | None) -> bool:
    """Return whether a trial went well; write the record of one whose process could not."""
    try:
        ok: bool = future.result()
        return ok
    except TimeoutError:
        reason = f"no end after {timeout:g} s"
    except ProcessExpired as death:
        if death.exitcode == _FAILED and store.path(trial.identity).exists():
            return False
        reason = _cause_of_death(death.exitcode)
    except CancelledError:
        reason = "cancelled"
    if not store.path(trial.identity).exists():
        store.put(failed_record(trial, reason))
    return False


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"its process was killed by {signal.Signals(-exitcode).name}"
    return f"its process ended by itself with exit code {exitcode}"


def _confine(memory_mb: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _work(trial: Trial, root: Path, plugin: bool) -> bool:
    """Run a trial in a worker and write its record; what a plug-in prints goes to a log beside it."""
    store = Store(root)
    if plugin:
        _redirect(root / "logs" / f"{trial.identity}.txt")
    record, timing = run_trial(trial)
    timing |= {"process": os.getpid(), "python": sys.version.split()[0]}
    store.put(record, timing)
    if record["status"] == "failed":
        sys.stdout.flush()
        os._exit(_FAILED)  # whatever the failure left behind in this process goes with it
    return True


def _redirect(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
