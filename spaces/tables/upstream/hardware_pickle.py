"""Reads HW-NAS-Bench's original file, `HW-NAS-Bench-v1_0.pickle`: costs of all NAS-Bench-201 cells, and of the operators of FBNet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from budgetnas.spaces.devices import DEVICES, HW_NAS_BENCH
from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.operators import OPERATORS, operator_column, operator_keys
from budgetnas.spaces.tables.upstream.convert import NOT_SUPPORTED, hardware_columns
from budgetnas.spaces.tables.upstream.nasbench_archives import Progress, check_order
from budgetnas.spaces.tables.upstream.unpickle import shown
from budgetnas.spaces.task import TASKS

FBNET = "fbnet"
# The names of the spaces in the file.
SPACES = (NASBench201.name, FBNET)
_MOST = 1e12  # milliseconds or millijoules


def _metrics() -> dict[str, tuple[str, str]]:
    """Return (device, resource) for each upstream name of a metric, such as `raspi4_latency`."""
    devices = [device for device in DEVICES.values() if device.source == HW_NAS_BENCH]
    return {f"{device.name}_{resource.split('_')[0]}": (device.name, resource) for device in devices for resource in device.metrics}


def read_hardware_pickle(content: Mapping[Any, Any], path: Path, progress: Progress) -> dict[str, Table]:
    """Return the tables `nasbench201`, with a row per cell, and `fbnet-operators`, with a row per operator, if the file has them.

    -1, which means 'not supported', becomes NaN.

    Raises:
        TableError: The file is cut off or has another layout; the message names the part.
    """
    tables = {}
    if NASBench201.name in content:
        tables[NASBench201.name] = _cells(_mapping(content[NASBench201.name], f"{path}, nasbench201"), path, progress)
    if FBNET in content:
        tables[OPERATORS] = _operators(_mapping(content[FBNET], f"{path}, fbnet"), path)
    return tables


def _cells(datasets: Mapping[Any, Any], path: Path, progress: Progress) -> Table:
    columns: dict[str, Column] = {}
    for done, (dataset, lists) in enumerate(datasets.items()):
        progress(done * SIZE, len(datasets) * SIZE)
        if dataset not in TASKS:
            raise TableError(f"{path} has costs for the dataset {shown(dataset)}; the known datasets are {', '.join(TASKS)}")
        where = f"nasbench201, {dataset}"
        by_metric = _mapping(lists, f"{path}, {where}")
        configs = by_metric.get("config")
        cells = [config.get("arch_str") if isinstance(config, dict) else None for config in configs] if isinstance(configs, list) else None
        check_order(cells, f"{path}, {where}, config")
        missing = sorted(set(_metrics()) - set(by_metric))
        if missing:
            raise TableError(f"{path} has no {', '.join(missing)} for {where}; it is cut off or has another layout")
        columns |= hardware_columns(dataset, {metric: _column(by_metric[metric], f"{path}, {where}, {metric}") for metric in _metrics()})
    progress(len(datasets) * SIZE, len(datasets) * SIZE)
    if not columns:
        raise TableError(f"{path} has no dataset under 'nasbench201'; nothing was imported")
    return Table.from_columns(NASBench201.name, columns, dict.fromkeys(columns, path.name))


def _column(values: object, where: str) -> Column:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list) or len(values) != SIZE:
        raise TableError(f"{where} is not a list of {SIZE} numbers; the file is cut off or has another layout")
    return np.array([_cost(value, f"{where}, cell {index}") for index, value in enumerate(values)])


def _cost(value: object, where: str) -> float:
    if not isinstance(value, int | float | np.integer | np.floating) or not (0 <= value <= _MOST or value == NOT_SUPPORTED):
        raise TableError(f"{where} is {shown(value)}; expected a number of at least 0, or -1 for 'not supported'")
    return float(value)


def _operators(lists: Mapping[Any, Any], path: Path) -> Table:
    columns: dict[str, Column] = {}
    for metric, (device, resource) in _metrics().items():
        if metric not in lists:  # not every device was measured on this space
            continue
        where = f"{path}, fbnet, {metric}"
        values = _mapping(lists[metric], where)
        differing = [key for key in operator_keys() if key not in values] + [key for key in values if key not in set(operator_keys())]
        if differing:
            raise TableError(
                f"{where}: the operator {shown(differing[0])} is missing or unknown; FBNet's networks have {len(operator_keys())} operators"
            )
        costs = [_cost(values[key], f"{where}, {key}") for key in operator_keys()]
        columns[operator_column(resource, device)] = np.array([np.nan if cost == NOT_SUPPORTED else cost for cost in costs])
    if not columns:
        raise TableError(f"{path} has no costs under 'fbnet'; nothing was imported")
    return Table.from_columns(OPERATORS, columns, dict.fromkeys(columns, path.name))


def _mapping(value: object, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TableError(f"{where} is {shown(value)}; expected a dictionary of figures by name: the file has another layout")
    return value
