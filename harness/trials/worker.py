"""What happens inside a worker process: trials in, records out.

Workers end by themselves when the process that started them is gone, however it went.
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
    """A confined process ended before it answered; the message says how."""


def serve(link: Link, root: Path, slot: int) -> None:
    """Run the trials that come through `link` until it closes, answering each with its row or with an error of the run.

    After a failed trial the process ends, and whatever the failure left behind in it goes too. If the process that started this one is
    killed, the link may close or break at any moment: that ends this one quietly, since an unwritten record is made again.
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
    """Send an answer; return False if nobody is there to read it any more. What cannot be pickled raises."""
    try:
        link.send(answer)
    except OSError:
        return False
    return True


def serve_plugin(link: Link, root: Path, slot: int, trial: Trial, memory_mb: int) -> None:
    """Run one trial of a plug-in, confined; what it prints goes to a log. Nothing that it left for the exit is run.

    Its row goes into the run's inbox, since a plug-in may have closed the link.
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
    """Send what a function returns, or the exception that it raised: (raised, value)."""
    confine(memory_mb)
    try:
        say(link, (False, function(*args)))
    except BaseException as error:
        error.add_note(traceback.format_exc())
        try:
            say(link, (True, error if isinstance(error, Exception) else Died(reason_of(error))))
        except Exception:  # what cannot be pickled
            say(link, (True, Died(reason_of(error))))
    leave()


def carry_out(trial: Trial, root: Path) -> Row | Exception:
    """Run a trial and return its row, or the error that ends the whole run: a disk that is full, a table or a source that changed."""
    try:
        try:
            record, timing = run_trial(trial, root)
            return Row.of(record, timing | {"process": os.getpid(), "python": sys.version.split()[0]})
        except (RunError, TableError):
            raise
        except BaseException as error:  # a plug-in may raise what it likes, and an interruption never comes here: see `crew.py`
            return Row.of(failed_record(trial, reason_of(error)))
    except (RunError, TableError) as error:
        return error


def confine(memory_mb: int) -> None:
    """Give this process a group of its own, so that its children can be ended with it, and a limit on data; no core files."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    end_with_parent()


def redirect(path: Path) -> None:
    """Send standard output and error to a file, for this process and its children. `RunError` if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


def leave() -> None:
    """End this process at once, without what was registered for its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, replaced or removed by a plug-in
            pass
    os._exit(0)
