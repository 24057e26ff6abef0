"""Maps a function over items in parallel processes, which end when their parent process ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessEnded(ValueError):
    """Raised if a worker process ends unexpectedly, for example because it was killed. The message names the remedy."""


def map_in_processes(compute: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result as soon as it is ready, in no fixed order.

    Args:
        compute: The function; it and its results must be picklable.
        items: Its arguments.
        workers: The number of processes; with 1, everything is computed in this process.

    Raises:
        ProcessEnded: A worker process ended unexpectedly.
    """
    if workers == 1:
        for item in items:
            yield item, compute(item)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (context.Value("i", 0),))
    others = set(multiprocessing.active_children())
    try:
        # The processes inherit the mask: Ctrl-C, which reaches the whole group, must not meet one that is still importing.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {pool.submit(compute, item): item for item in items}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise ProcessEnded("a process that trained networks ended unexpectedly; run the command again") from None
    except BaseException:  # interrupted: what is being computed would not be used, and may take minutes
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(begun: Synchronized[int]) -> None:
    """Prepare a worker process: it gets the next number, and it ends when its parent ends."""
    from budgetnas.harness.processes.slot import take_slot

    with begun.get_lock():
        take_slot(begun.value)
        begun.value += 1
    end_with_parent()


def end_with_parent() -> None:
    """Watch the parent process: when it ends, this process and the children in its group end too. SIGINT is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
