"""The code that runs inside a worker process: it receives trials and returns records.

A worker ends by itself when its parent process has ended, for whatever reason.
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from typing import Any

from budgetnas.harness.processes.parallel import end_with_parent
from budgetnas.harness.processes.slot import take_slot
from budgetnas.harness.records import inbox
from budgetnas.harness.records.database import Row, RunError
from budgetnas.harness.records.trial import Trial, reason_of
from budgetnas.harness.trials.conduct import failed_record, run_trial
from budgetnas.spaces.tables.columnar import TableError

Link = connection.Connection


class Died(RuntimeError):
    """Raised if a confined process ends before it answers. The message gives the reason."""


def serve(link: Link, root: Path, slot: int) -> None:
    """Run the trials received through `link` until it closes, and answer each with its row or with an error of the run.

    After a failed trial the process ends, so that nothing remains of the failure. If the parent process is killed, the link may close or
    break at any moment. Then this process ends quietly, because a trial without a record runs again.
    """
    end_with_parent()
    take_slot(slot)
    while True:
        try:
            trial: Trial = link.recv()
        except (EOFError, OSError):
            return
        answer = carry_out(trial, root)
        if not say(link, answer) or not (isinstance(answer, Row) and answer.status == "ok"):
            leave()


def say(link: Link, answer: Any) -> bool:
    """Send an answer; return False if the other end has closed. Raises if the answer cannot be pickled."""
    try:
        link.send(answer)
    except OSError:
        return False
    return True


def serve_plugin(link: Link, root: Path, slot: int, trial: Trial, memory_mb: int) -> None:
    """Run one trial of a plug-in, confined. Its output goes to a log, and exit handlers that it registered do not run.

    The row goes into the inbox of the run, because a plug-in may have closed the link.
    """
    confine(memory_mb)
    take_slot(slot)
    answer: Row | Exception
    try:
        redirect(root / "logs" / f"{trial.identity}.txt")
        answer = carry_out(trial, root)
        if isinstance(answer, Row):
            inbox.leave(root, answer)
    except RunError as error:
        answer = error
    say(link, answer if isinstance(answer, Exception) else None)
    leave()


def serve_call(link: Link, function: Callable[..., Any], args: tuple[Any, ...], memory_mb: int) -> None:
    """Call a function and send (False, result) or (True, exception)."""
    confine(memory_mb)
    try:
        say(link, (False, function(*args)))
    except BaseException as error:
        error.add_note(traceback.format_exc())
        try:
            say(link, (True, error if isinstance(error, Exception) else Died(reason_of(error))))
        except Exception:  # the exception cannot be pickled
            say(link, (True, Died(reason_of(error))))
    leave()


def carry_out(trial: Trial, root: Path) -> Row | Exception:
    """Run a trial and return its row, or the error that ends the whole run, such as a full disk or a changed table."""
    try:
        try:
            record, timing = run_trial(trial, root)
            return Row.of(record, timing | {"process": os.getpid(), "python": sys.version.split()[0]})
        except (RunError, TableError):
            raise
        except BaseException as error:  # a plug-in may raise anything; an interruption never reaches a worker: see `crew.py`
            return Row.of(failed_record(trial, reason_of(error)))
    except (RunError, TableError) as error:
        return error


def confine(memory_mb: int) -> None:
    """Put this process into a new group, so that its children can be killed with it; limit its data memory and forbid core files."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    end_with_parent()


def redirect(path: Path) -> None:
    """Redirect standard output and error of this process and its children to a file. Raises `RunError` if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


def leave() -> None:
    """End this process at once, without running exit handlers."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, replaced or removed by a plug-in
            pass
    os._exit(0)
