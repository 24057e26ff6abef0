"""Upstream files of NAS-Bench-201 and HW-NAS-Bench, as `budgetnas data fetch` downloads them, into one checked table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from budgetnas.spaces.devices import DEVICES, HW_NAS_BENCH
from budgetnas.spaces.nasbench201.cell import NASBench201
from budgetnas.spaces.nasbench201.order import OPERATIONS, SIZE, all_genes
from budgetnas.spaces.space import InvalidArchitecture
from budgetnas.spaces.tables.accuracy import accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.hardware import cost_column

# The codes of HW-NAS-Bench's `net` column and the order of its edges, (source, target): another order than the string's.
_HARDWARE_CODE = {"skip_connect": 0, "none": 1, "nor_conv_3x3": 2, "nor_conv_1x1": 3, "avg_pool_3x3": 4}
_HARDWARE_EDGES = (0, 1, 3, 2, 4, 5)  # positions in the string of the edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3
NOT_SUPPORTED = -1.0


def _read(path: Path, parse: Callable[[Iterable[str]], dict[str, Column]]) -> dict[str, Column]:
    """Return the columns that `parse` reads from a text file; `TableError` names the file and what is wrong with it."""
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            columns = parse(lines)
    except (KeyError, IndexError) as error:
        raise TableError(f"{path} has another shape than expected: no column {error}") from None
    except (ValueError, csv.Error) as error:
        raise TableError(f"{path} has another shape than expected: {error}") from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from None
    for name, column in columns.items():
        if len(column) != SIZE:
            raise TableError(f"{path} has {len(column)} rows for '{name}'; nasbench201 has {SIZE}: the file is cut off or another one")
    return columns


def hardware_columns(dataset: str, values: dict[str, Column]) -> dict[str, Column]:
    """Return the table's columns from HW-NAS-Bench's, named `DEVICE_latency` [ms] and `DEVICE_energy` [mJ]; -1 becomes NaN."""
    columns = {}
    for device in DEVICES.values():
        for resource in device.metrics if device.source == HW_NAS_BENCH else ():
            column = values[f"{device.name}_{resource.split('_')[0]}"]
            columns[cost_column(resource, dataset, device.name)] = np.where(column == NOT_SUPPORTED, np.nan, column)
    return columns


def read_hardware(path: Path, dataset: str) -> dict[str, Column]:
    """Return latency and energy by device from an `hw_*.csv`. Its coded cells are checked against the published order."""
    codes = np.array([_HARDWARE_CODE[operation] for operation in OPERATIONS])[all_genes()[:, _HARDWARE_EDGES]]

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        rows = list(csv.DictReader(lines))
        for index, (row, expected) in enumerate(zip(rows, codes.tolist(), strict=False)):
            if row["net"] != str(tuple(expected)):
                raise ValueError(f"row {index} is the cell {row['net']}; nasbench201's cell {index} is {tuple(expected)}")
        names = [name for name in rows[0] if name != "net"] if rows else []
        return hardware_columns(dataset, {name: np.array([float(row[name]) for row in rows]) for name in names})

    return _read(path, parse)


def read_test_accuracy(path: Path) -> dict[str, Column]:
    """Return test accuracy [%] of the three datasets from `nats_bench.csv`. Its strings are checked against the published order."""
    header = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "ImageNet16-120": "ImageNet"}

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        space, rows = NASBench201(), list(csv.DictReader(lines))
        for index, row in enumerate(rows):
            try:
                found = space.index(space.decode(row["ArchitectureString"]))
            except InvalidArchitecture as error:
                raise ValueError(f"row {index}: {error}") from None
            if found != index:
                raise ValueError(f"row {index} is nasbench201's cell {found}")
        return {
            accuracy_column(dataset, "test"): np.array([float(row[f"{name}TestAccuracy200Epochs"]) for row in rows])
            for dataset, name in header.items()
        }

    return _read(path, parse)


def read_validation_accuracy(path: Path, dataset: str) -> dict[str, Column]:
    """Return validation accuracy [%] of a dataset from a `*-NB201.csv`, whose own figures go from 0 to 1."""

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        rows = list(csv.DictReader(lines))
        if [int(row["index"]) for row in rows] != list(range(len(rows))):
            raise ValueError("its rows are not in the order of their index")
        return {accuracy_column(dataset, "validation"): 100.0 * np.array([float(row["accuracy"]) for row in rows])}

    return _read(path, parse)


def read_training_seconds(path: Path, dataset: str) -> dict[str, Column]:
    """Return the seconds of 200 epochs from a `*_perfmetrics.txt`."""

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        rows = [[float(word) for word in line.split()] for line in lines if not line.startswith("#")]
        if any(len(row) != 4 for row in rows) or [int(row[0]) for row in rows] != list(range(len(rows))):
            raise ValueError("its rows are not index, accuracy, seconds an epoch, seconds in all")
        return {seconds_column(dataset): np.array([row[3] for row in rows])}

    return _read(path, parse)


# What each downloaded file holds, by the end of its path.
READERS: dict[str, Callable[[Path], dict[str, Column]]] = {
    "hw_cifar10.csv": lambda path: read_hardware(path, "cifar10"),
    "hw_cifar100.csv": lambda path: read_hardware(path, "cifar100"),
    "hw_ImageNet16-120.csv": lambda path: read_hardware(path, "ImageNet16-120"),
    "nats_bench.csv": read_test_accuracy,
    "Cifar10-NB201.csv": lambda path: read_validation_accuracy(path, "cifar10"),
    "Cifar100-NB201.csv": lambda path: read_validation_accuracy(path, "cifar100"),
    "ImageNet-NB201.csv": lambda path: read_validation_accuracy(path, "ImageNet16-120"),
    "cifar10_perfmetrics.txt": lambda path: read_training_seconds(path, "cifar10"),
    "imagenet_perfmetrics.txt": lambda path: read_training_seconds(path, "ImageNet16-120"),
}


def convert(files: dict[str, Path]) -> Table:
    """Return the table made of downloaded files, given as upstream path -> file on disk. `TableError` names a file that does not fit."""
    columns: dict[str, Column] = {}
    sources: dict[str, str] = {}
    for upstream, path in files.items():
        reader = READERS.get(upstream.rsplit("/", 1)[-1])
        if reader is None:
            raise TableError(f"no reader is known for {upstream}; known are {', '.join(READERS)}")
        found = reader(path)
        columns |= found
        sources |= dict.fromkeys(found, upstream)
    return Table.from_columns(NASBench201.name, columns, sources)
