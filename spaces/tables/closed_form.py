"""A small benchmark in closed form. It needs no download and no file, so checks and tests run anywhere.

Accuracy and costs are simple functions of a nasbench201 cell. They have the properties that make the real tables hard: interactions between
edges, disconnected cells with the accuracy of guessing, unsupported cells, ties, a device with costs that are not additive, and noise that
differs between validation and test. The numbers have no meaning, and no leaderboard uses them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS, SIZE, all_genes
from budgetnas.spaces.nasbench201.space import connected_mask
from budgetnas.spaces.tables.accuracy import accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Column, Table
from budgetnas.spaces.tables.hardware import cost_column

DATASET = DEVICE = "closed-form"
_GAIN = {"none": 0.0, "skip_connect": 0.6, "nor_conv_1x1": 1.2, "nor_conv_3x3": 2.0, "avg_pool_3x3": 0.3}
_TIME_MS = {"none": 0.0, "skip_connect": 0.05, "nor_conv_1x1": 0.4, "nor_conv_3x3": 1.1, "avg_pool_3x3": 0.3}
_EDGE_WEIGHT = np.array([1.0, 0.6, 0.8, 0.7, 0.5, 0.9])


def _noise(scale: float, salt: int) -> Column:
    """Return repeatable noise in [-scale, scale] for every cell, shape (15625,), by index."""
    return scale * np.sin((np.arange(SIZE) + 1.0) * (12.9898 + salt) * 7.233)


def _accuracy(genes: NDArray[np.int64], salt: int) -> Column:
    gain = np.array([_GAIN[operation] for operation in OPERATIONS])[genes] * _EDGE_WEIGHT
    paths = gain[:, 3] + np.sqrt(gain[:, 0] * gain[:, 4]) + np.sqrt(gain[:, 1] * gain[:, 5]) + np.cbrt(gain[:, 0] * gain[:, 2] * gain[:, 5])
    accuracy = 95.0 - 60.0 * np.exp(-0.55 * paths) + _noise(0.4, salt)
    return np.where(connected_mask(), accuracy, 10.0)


@cache
def closed_form_table() -> Table:
    """Return the benchmark: one dataset and one device, both named `closed-form`. One cell in 25 is not supported on the device."""
    genes = all_genes()
    time_ms = np.array([_TIME_MS[operation] for operation in OPERATIONS])[genes]
    # Edges into the same node partly run in parallel, so the cost is not a sum over edges. Rounding to 0.1 ms gives ties.
    into_last = np.max(time_ms[:, 3:], axis=1) + 0.3 * time_ms[:, 3:].sum(axis=1)
    latency_ms = np.round(1.0 + time_ms[:, 0] + time_ms[:, 1:3].sum(axis=1) + into_last, 1)
    unsupported = (genes[:, 2] == OPERATIONS.index("avg_pool_3x3")) & (genes[:, 5] == OPERATIONS.index("none"))
    columns = {
        accuracy_column(DATASET, "validation"): _accuracy(genes, salt=1),
        accuracy_column(DATASET, "test"): _accuracy(genes, salt=2),
        seconds_column(DATASET): 60.0 + 20.0 * latency_ms,
        cost_column("latency_ms", DATASET, DEVICE): np.where(unsupported, np.nan, latency_ms),
        cost_column("energy_mj", DATASET, DEVICE): np.where(unsupported, np.nan, 2.0 + 0.7 * time_ms.sum(axis=1) * len(EDGES)),
    }
    return Table.from_columns("nasbench201", columns, dict.fromkeys(columns, "closed form"))
