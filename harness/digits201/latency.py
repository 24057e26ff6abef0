"""Measures the latency of all networks of digits201 on this machine: ONNX Runtime, one thread, batch 1, median of many runs.

The measurement can be stopped and resumed.
"""

from __future__ import annotations

import platform
import re
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from budgetnas.harness.digits201.chunks import BuildError, Chunks, resume
from budgetnas.harness.digits201.graph import OPSET, onnx_model
from budgetnas.spaces.nasbench201.order import SIZE, all_genes

RUNS = 301
WARM_UP_RUNS = 30
_CELLS_A_CHUNK = 125


def processor() -> str:
    """Return the processor's name, such as `AMD EPYC`."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def device_name() -> str:
    """Return the processor's name in the form of device names in studies, such as `amd-epyc`."""
    return re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")


def latency_chunks() -> Chunks:
    """Return the chunks of the measurement. Another processor, ONNX Runtime or number of runs gives other chunks.

    Raises BuildError if onnx or onnxruntime is not installed.
    """
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise BuildError(f"{' and '.join(missing)} is not installed, so latency cannot be measured; run `pip install budgetnas[train]`")
    conditions = {"processor": processor(), "onnxruntime": version("onnxruntime"), "opset": OPSET, "runs": RUNS, "warm_up": WARM_UP_RUNS}
    return Chunks("latency", conditions, tuple(range(SIZE)), _CELLS_A_CHUNK)


def latency_ms(index: int) -> float:
    """Return the median time [ms] in which the network of a cell classifies one image, on one thread, after warm-up runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx_model(all_genes()[index].tolist()), options, providers=["CPUExecutionProvider"])
    feed = {"image": np.random.default_rng(0).random((1, 1, 8, 8), np.float32)}
    times_ns = []
    for run in range(WARM_UP_RUNS + RUNS):
        began = time.perf_counter_ns()
        session.run(None, feed)
        if run >= WARM_UP_RUNS:
            times_ns.append(time.perf_counter_ns() - began)
    return statistics.median(times_ns) / 1e6


def measure_latencies(show: Callable[[int, int], None]) -> None:
    """Measure the networks not measured yet, one at a time. `show` is called with the number of finished cells and of all cells."""
    resume(latency_chunks(), latency_ms, 1, show)
