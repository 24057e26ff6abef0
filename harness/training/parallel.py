"""Items computed in processes of this machine, one thread each, that end with the one that started them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessEnded(ValueError):
    """A process at work was ended from outside; the message says what to do."""


def computed(compute: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result, as soon as it is there, `workers` processes at a time (1: in this one).

    `compute` and what it returns can be pickled. `ProcessEnded` if a process is ended from outside.
    """
    if workers == 1:
        for item in items:
            yield item, compute(item)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)
    try:
        futures = {pool.submit(compute, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise ProcessEnded("a process that trained networks was ended from outside; run the command again") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Let this process end with the one that started it, and at once when the user interrupts."""
    from budgetnas.harness.executors.worker import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent()
