"""Where networks are trained, and how: the device that the code chooses, threads, determinism, memory."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from budgetnas.harness.processes.slot import slot


def compute_device(trial: int = 0) -> torch.device:
    """Return the GPU that a trial trains on, or the processor where there is none.

    Of several GPUs a worker takes the one of its own number, so that two share one only where there are more workers than GPUs; elsewhere
    trials take turns. `CUDA_VISIBLE_DEVICES` narrows the choice, as everywhere with CUDA; empty, it leaves the processor.
    """
    if torch.cuda.is_available():
        worker = slot()
        return torch.device("cuda", (trial if worker is None else worker) % torch.cuda.device_count())
    return torch.device("cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads of the processor in this block: their number decides how sums are rounded."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def determinism(asked: bool) -> Iterator[None]:
    """Allow only algorithms that give the same bits every time in this block, if asked; on a GPU that costs speed."""
    if not asked:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def reset_peak_memory(device: torch.device) -> None:
    """Begin counting the peak anew: on a GPU that of tensors; on a processor that of this process, where the system is Linux.

    What earlier work in this process no longer needs is handed back to the system first, or it would be counted again.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)  # the GNU C library's
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak of the resident set becomes what is resident now
    except (OSError, AttributeError):  # no such system: the peak is then of the whole process since it began
        pass


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory in use since the last reset: on a GPU by tensors, else by this process, all of it (resident)."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
