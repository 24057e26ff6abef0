"""Runs trials in parallel processes on this machine.

The project's methods share workers, each of which runs many trials; a worker is replaced after a failed trial. Each trial of a plug-in runs
in a separate process with a limit on time and memory, so a crash, a hang or a lack of memory affects only that trial. In both cases the
worker returns its record, and only the process that called `run_trials` writes records.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from typing import Any

from budgetnas.harness.records import inbox
from budgetnas.harness.records.commits import Commits
from budgetnas.harness.records.store import Row, RunError, Store
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.trials import worker as inside
from budgetnas.harness.trials.conduct import failed_record
from budgetnas.harness.trials.deaths import Deaths, Unfinished
from budgetnas.harness.trials.worker import Died
from budgetnas.spaces.tables.columnar import TableError

_LONGEST_WAIT_SECONDS = 86_400.0  # the system takes no more than 24 days
_SERVER_IS_GONE = 255  # the exit code that multiprocessing gives a process whose fork server is gone
_STARTS = 30  # attempts to start a worker, a tenth of a second apart: the fork server may just have died, and not be known to be gone yet
_AHEAD = 2  # trials sent to a shared worker in advance, so that it does not wait for this process between two trials
# Imported once and shared by the workers. The command is among them, because a new process imports the main module of its program again.
_PRELOADED = ["budgetnas.harness.trials.worker", "pyarrow.parquet", "budgetnas.harness.cli"]
Done = Callable[[Trial, bool], None]


@dataclass(frozen=True, slots=True)
class Confinement:
    """The limits of a plug-in's trial: seconds of wall-clock time, and megabytes of data (RLIMIT_DATA)."""

    timeout_seconds: float
    memory_mb: int


@dataclass(slots=True)
class _Worker:
    process: ForkServerProcess
    link: inside.Link
    confinement: Confinement | None
    deadline: float  # by time.monotonic(), seconds
    slot: int = 0  # its number among the present workers, from 0; it selects the GPU
    trials: deque[Trial] = field(default_factory=deque)  # sent and not settled; the first one is running
    broken: bool = False  # the link: a plug-in may have closed it

    def answers(self) -> list[Any]:
        """Return the answers since the last call."""
        received = []
        try:
            while self.link.poll():
                received.append(self.link.recv())
        except Exception:  # a plug-in may have closed or overwritten the link: then only the inbox and the end of the process count
            self.broken = True
        return received

    def end(self) -> None:
        """Kill the process; a confined one together with all its children."""
        if self.confinement and self.process.pid:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass  # no group: the process and its children have ended, or it ended before it had a group
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.link.close()


def run_trials(trials: Sequence[Trial], store: Store, workers: int, confinement: Confinement | None, done: Done) -> list[Unfinished]:
    """Run trials, write their records to the store, and return the trials that have no record.

    A trial has no record if its process died again and again: by a signal, or with the process that workers are forked from. Such a death
    is not a result, so the trial is tried again, up to three times. A plug-in that dies each time has failed. After an interruption,
    finished trials are written and the workers are killed.

    Args:
        trials: The trials.
        store: The store, locked by the caller.
        workers: The largest number of processes.
        confinement: Limits for trials of plug-ins, each of which then runs in a separate process; None for the project's methods.
        done: Called in this process as `done(trial, ok)` after the record of a trial is written.

    Raises:
        RunError, TableError: The run cannot continue, for example because the disk is full or a table changed.
    """
    waiting = deque(trials)
    by_identity = {trial.identity: trial for trial in trials}
    crew: list[_Worker] = []

    def written(row: Row) -> None:
        if row.status == "ok":  # the checkpoints of a failed trial are kept, so that a retry can resume it
            store.drop_checkpoints(row.identity)
        done(by_identity[row.identity], row.status == "ok")

    commits, deaths = Commits(store, written), Deaths()
    unfinished: list[Unfinished] = []
    if confinement and trials:
        _make_inbox(store)
    try:
        while waiting or any(worker.trials for worker in crew) or deaths.seconds_left() is not None:
            waiting.extend(deaths.ready())
            with _undisturbed():
                _hand_over(waiting, crew, workers, store, confinement)
            _wait(crew, commits.seconds_left(), deaths.seconds_left())
            with _undisturbed():  # between a commit and what follows from it
                for worker in list(crew):
                    if _settle(worker, store, commits, deaths, unfinished):
                        crew.remove(worker)
                        waiting.extendleft(reversed(worker.trials))
                commits.write_if_due()
        with _undisturbed():
            commits.write()
        return unfinished
    except BaseException:  # also an interruption: finished trials are written, and a second error must not hide the first
        with _undisturbed(), suppress(RunError):
            commits.write()
        raise
    finally:
        for worker in crew:
            worker.end()
        if confinement:
            shutil.rmtree(store.inbox, ignore_errors=True)


def _make_inbox(store: Store) -> None:
    try:
        store.inbox.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {store.inbox}: {error.strerror}; choose another folder with --out") from None


def call_confined(function: Callable[..., Any], args: tuple[Any, ...], confinement: Confinement) -> Any:
    """Call a function in a separate confined process, and return its result or raise its exception.

    Raises:
        TimeoutError: The function takes too long.
        Died: The process ends without an answer.
    """
    with ExitStack() as stack:
        with _undisturbed():
            worker = _start(confinement, inside.serve_call, function, args, confinement.memory_mb)
            stack.callback(worker.end)
        while True:
            _wait([worker])
            dead = not worker.process.is_alive()
            for raised, value in worker.answers():
                if raised:
                    raise value
                return value
            if dead:
                raise Died(_cause_of_death(worker.process.exitcode))
            if time.monotonic() > worker.deadline:
                raise TimeoutError(f"no end after {confinement.timeout_seconds:g} s")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay SIGINT and SIGTERM until the block ends, so that no worker is half started, or started and then lost."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield
        return
    came: list[int] = []
    usual = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler or signal.SIG_DFL)
    for number in came:
        signal.raise_signal(number)


def _start(confinement: Confinement | None, routine: Callable[..., None], *args: Any) -> _Worker:
    """Return a new worker that runs a routine of `worker.py`. Raises `RunError` if the machine cannot start a process."""
    ours, theirs = multiprocessing.Pipe()
    try:
        process = _started(routine, theirs, *args)
    except (OSError, EOFError) as error:
        ours.close()
        raise RunError(f"cannot start a worker process: {error or type(error).__name__}; try fewer --workers") from None
    finally:
        theirs.close()
    return _Worker(process, ours, confinement, time.monotonic() + (confinement.timeout_seconds if confinement else math.inf))


def _started(routine: Callable[..., None], *args: Any) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")
    for tries_left in reversed(range(_STARTS)):
        try:
            _start_server()
            process = context.Process(target=routine, args=args, daemon=False)
            process.start()
            return process
        except (ConnectionError, EOFError):
            if not tries_left:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")


def _start_server() -> None:
    """Start the process that workers are forked from, unless it is running.

    Workers inherit its state. SIGINT is blocked, because Ctrl-C at a terminal reaches every process of the group, and only this process
    should handle it. The hashes of strings are fixed, so that a method that iterates over a set does the same in every run.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
    seed = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    resource_tracker.ensure_running()  # first: starting it unblocks SIGINT
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if seed is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = seed


def _hand_over(waiting: deque[Trial], crew: list[_Worker], most: int, store: Store, confinement: Confinement | None) -> None:
    """Start workers while trials wait and fewer than `most` workers run, and send trials to the shared ones."""
    while waiting and len(crew) < most:
        root, slot = store.root.absolute(), min(set(range(most)) - {worker.slot for worker in crew})
        if confinement is None:
            crew.append(_start(None, inside.serve, root, slot))
            _supply(crew[-1], waiting)
        else:
            crew.append(_start(confinement, inside.serve_plugin, root, slot, waiting[0], confinement.memory_mb))
            crew[-1].trials.append(waiting.popleft())
        crew[-1].slot = slot
    if confinement is None:
        for worker in crew:
            while waiting and len(worker.trials) < _AHEAD and _supply(worker, waiting):
                pass


def _supply(worker: _Worker, waiting: deque[Trial]) -> bool:
    """Send the next trial to a shared worker. Returns False if the worker has ended; `_settle` handles that."""
    try:
        worker.link.send(waiting[0])
    except OSError:
        return False
    worker.trials.append(waiting.popleft())
    return True


def _wait(crew: Sequence[_Worker], *most_seconds: float | None) -> None:
    """Wait until a worker answers, ends or is overdue, but at most each of `most_seconds` (None for no limit)."""
    patience = min((worker.deadline for worker in crew), default=math.inf) - time.monotonic()
    patience = min([patience, *(each for each in most_seconds if each is not None)])
    # A closed link is readable for ever: waiting for it would return at once.
    signs: list[Any] = [worker.link for worker in crew if not worker.broken] + [worker.process.sentinel for worker in crew]
    connection.wait(signs, None if patience == math.inf else min(max(patience, 0.0), _LONGEST_WAIT_SECONDS))


def _settle(worker: _Worker, store: Store, commits: Commits, deaths: Deaths, unfinished: list[Unfinished]) -> bool:
    """Collect the rows of the trials that a worker has finished, and return whether it has ended. Its remaining `trials` did not start."""
    dead = not worker.process.is_alive()  # checked before its answers are read, so that none of them is missed
    leaving, reason = False, ""
    for answer in worker.answers():
        if isinstance(answer, TableError) or (isinstance(answer, RunError) and not worker.confinement):
            raise answer
        if isinstance(answer, RunError):
            reason = str(answer)  # the plug-in may have caused it; if the disk did, writing the failed record will raise
        elif worker.confinement:
            leaving = True
        elif isinstance(answer, Row) and worker.trials:
            worker.trials.popleft()
            commits.add(answer)
            leaving = answer.status != "ok"
    overdue = time.monotonic() > worker.deadline
    if not (dead or overdue or leaving):
        return False
    worker.end()
    if worker.trials and (worker.confinement or not leaving):
        trial = worker.trials.popleft()
        row = inbox.take(store.root, trial.identity) if worker.confinement else None
        cause = _cause_of_death(worker.process.exitcode)
        if row is None and dead and not reason and _died_from_outside(worker) and deaths.try_again(trial):
            return True
        if row is None and not worker.confinement:
            unfinished.append(Unfinished(trial, cause))
            return True
        if worker.confinement and overdue and not dead:
            reason = f"no end after {worker.confinement.timeout_seconds:g} s"
        commits.add(row or Row.of(failed_record(trial, reason or cause)))
    return True


def _died_from_outside(worker: _Worker) -> bool:
    """Return whether a signal ended a worker, or the process that it was forked from is gone; a shared one never ends by itself."""
    code = worker.process.exitcode
    return worker.confinement is None or code is None or code < 0 or code == _SERVER_IS_GONE


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        known = {member.value: member.name for member in signal.Signals}
        return f"its process was killed by {known.get(-exitcode, f'signal {-exitcode}')}"
    return f"its process ended by itself with exit code {exitcode}"
