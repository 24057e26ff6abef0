"""Adds the latencies of a device of your own to the table of NAS-Bench-201.

Copy this file, read your measurements, and run it once. Before: add the device to `DEVICES` in
`spaces/devices.py` and run `budgetnas data fetch`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.tables.columnar import Table
from budgetnas.spaces.tables.hardware import cost_column
from budgetnas.spaces.tables.home import table_path

DEVICE = "my-device"


def add_latencies(latencies: NDArray[np.float64], dataset: str, source: str) -> Path:
    """Return the path of the table after the column was added.

    latencies: one value in ms for each of the 15,625 cells, in the order of their indices; NaN
    where the device does not run the cell. source: how and when it was measured.
    """
    column = cost_column("latency_ms", dataset, DEVICE)
    path = table_path("nasbench201")
    mine = Table.from_columns("nasbench201", {column: latencies}, {column: source})
    Table.open(path).merged(mine).write(path)
    return path


if __name__ == "__main__":
    print(
        add_latencies(np.loadtxt("my_latencies.csv"), "cifar10", "median of 100 runs on one thread")
    )
