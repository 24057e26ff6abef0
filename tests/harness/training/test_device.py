"""The device that a trial trains on, with simulated GPUs."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from budgetnas.harness.processes.parallel import map_in_processes

torch = pytest.importorskip("torch")

from budgetnas.harness.processes.slot import slot, take_slot  # noqa: E402
from budgetnas.harness.training.device import compute_device, peak_memory_bytes, reset_peak_memory  # noqa: E402


def slot_of(rounds: int, item: int) -> int | None:
    """Return the slot of the process that computes an item, after some work, so that one process does not compute all items."""
    sum(range(rounds))
    return slot()


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETNAS_WORKER", "")  # the fixture restores it afterwards


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


def test_without_a_gpu_the_device_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    take_slot(3)
    assert compute_device(7) == torch.device("cpu")


def test_the_gpu_of_a_worker_depends_on_its_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 4)
    chosen = []
    for worker in range(6):
        take_slot(worker)
        assert len({compute_device(seed).index for seed in range(10)}) == 1
        chosen.append(compute_device(0).index)
    assert chosen == [0, 1, 2, 3, 0, 1]


def test_without_workers_trials_are_spread_over_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 3)
    assert slot() is None
    assert [compute_device(seed).index for seed in range(5)] == [0, 1, 2, 0, 1]


@pytest.mark.slow
def test_parallel_processes_are_numbered() -> None:
    found = {worker for _, worker in map_in_processes(partial(slot_of, 100_000), list(range(8)), 2)}
    assert found <= {0, 1} and found
    assert slot() is None  # this process is not a worker


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can reset the peak of a process")
def test_after_a_reset_the_peak_does_not_include_earlier_work_of_the_process() -> None:
    processor, mib = torch.device("cpu"), 2**20
    large = torch.ones(200 * mib // 4)
    before = peak_memory_bytes(processor)
    del large
    reset_peak_memory(processor)
    anew = peak_memory_bytes(processor)
    assert anew < before - 150 * mib
    small = torch.ones(100 * mib // 4)
    assert peak_memory_bytes(processor) - anew == pytest.approx(100 * mib, rel=0.2)
    del small
