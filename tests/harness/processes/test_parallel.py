"""Items computed in several processes: every result once, and an end at once if the caller is interrupted."""

from __future__ import annotations

import math
import multiprocessing
import time

import pytest

from budgetnas.harness.processes.parallel import map_in_processes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_computed_once(workers: int) -> None:
    assert sorted(map_in_processes(math.sqrt, [1.0, 4.0, 9.0], workers)) == [(1.0, 1.0), (4.0, 2.0), (9.0, 3.0)]


def test_an_interruption_ends_the_processes_without_waiting_for_them() -> None:
    before = set(multiprocessing.active_children())
    results = map_in_processes(time.sleep, [0.0, 100_000.0, 100_000.0], 2)
    assert next(results) == (0.0, None)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt())
    assert set(multiprocessing.active_children()) == before
