"""The device that networks are trained on, and its settings: threads, determinism, memory."""

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
    """Return the GPU that a trial trains on, or the processor if there is no GPU.

    Of several GPUs, a worker uses the one with its number, so that workers share a GPU only if there are more workers than GPUs. Outside
    workers, `trial` selects the GPU. As usual with CUDA, `CUDA_VISIBLE_DEVICES` restricts the choice; if it is empty, there is no GPU.
    """
    if torch.cuda.is_available():
        worker = slot()
        return torch.device("cuda", (trial if worker is None else worker) % torch.cuda.device_count())
    return torch.device("cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use `count` processor threads in this block. Their number affects the rounding of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def determinism(asked: bool) -> Iterator[None]:
    """If `asked`, allow only deterministic algorithms in this block. On a GPU they are slower."""
    if not asked:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # needed for determinism in cuBLAS
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak of memory use: of tensors on a GPU, or of this process on Linux. On other systems, do nothing for the processor.

    Memory that this process no longer needs is first returned to the system, because it would count again otherwise.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)  # of the GNU C library
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): sets the peak of the resident set to its current size
    except (OSError, AttributeError):  # on another system the peak is that of the process since its start
        pass


def peak_memory_bytes(device: torch.device) -> int:
    """Return the largest memory in use since the last reset: by tensors on a GPU, or the resident memory of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
