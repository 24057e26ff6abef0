"""Converts the files of NAS-Bench-201 and HW-NAS-Bench that `budgetnas data fetch` downloads into one checked table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from budgetnas.spaces.devices import DEVICES, HW_NAS_BENCH
from budgetnas.spaces.nasbench201.order import OPERATIONS, SIZE, all_genes
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.space import InvalidArchitecture
from budgetnas.spaces.tables.accuracy import accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.hardware import cost_column

# The codes and the order of edges in HW-NAS-Bench's `net` column. Both differ from those of the published string.
_HARDWARE_CODE = {"skip_connect": 0, "none": 1, "nor_conv_3x3": 2, "nor_conv_1x1": 3, "avg_pool_3x3": 4}
_HARDWARE_EDGES = (0, 1, 3, 2, 4, 5)  # positions in the string of the edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3
NOT_SUPPORTED = -1.0
_HARDWARE_NAMES = frozenset(f"{device}_{metric}" for device in DEVICES for metric in ("latency", "energy"))
_LARGEST = float(np.finfo(np.float64).max)


def _read(path: Path, parse: Callable[[Iterable[str]], dict[str, Column]]) -> dict[str, Column]:
    """Return the columns that `parse` reads from a text file. Raises TableError, which names the file and the fault."""
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            columns = parse(lines)
    except (KeyError, IndexError) as error:
        raise TableError(f"{path} does not have the expected layout: no column {error}; get the file again") from None
    except (ValueError, csv.Error) as error:
        raise TableError(f"{path} does not have the expected layout: {_short(error)}; get the file again") from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from None
    for name, column in columns.items():
        if len(column) != SIZE:
            raise TableError(f"{path} has {len(column)} rows for '{name}'; nasbench201 has {SIZE}: the file is cut off or the wrong one")
    return columns


def _short(found: object) -> str:
    """Return a text from a file for an error message: on one line, and at most about 200 characters."""
    line = " ".join(str(found).split())
    return line if len(line) <= 200 else f"{line[:200]}..."


def _figures(rows: list[dict[str, str]], name: str) -> Column:
    """Return a column of a CSV as numbers. Raises ValueError, which names the row of a missing or malformed number."""
    try:
        return np.array([float(row[name]) for row in rows])
    except (TypeError, ValueError):
        index = next(index for index, row in enumerate(rows) if not _is_number(row[name]))
        raise ValueError(f"row {index} has {_short(rows[index][name])!r} for '{name}', which is not a number") from None


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and float(text) == float(text)
    except ValueError:
        return False


def _within(values: Column, name: str, least: float, most: float) -> Column:
    """Return `values` if all are from `least` to `most`. Raises TableError, which names the first one that is not, or is NaN."""
    beyond = np.flatnonzero(~((values >= least) & (values <= most)))
    if len(beyond):
        raise TableError(f"row {beyond[0]} has {values[beyond[0]]} for '{name}'; allowed are {least:g} to {most:g}")
    return values


def hardware_columns(dataset: str, values: dict[str, Column]) -> dict[str, Column]:
    """Return the columns of our table. -1, which means 'not supported', becomes NaN.

    Args:
        dataset: The dataset of the costs.
        values: The columns of HW-NAS-Bench, named `DEVICE_latency` [ms] and `DEVICE_energy` [mJ].

    Raises:
        TableError: A figure is neither -1 nor a finite cost.
        KeyError: A column is missing.
    """
    columns = {}
    for device in DEVICES.values():
        for resource in device.metrics if device.source == HW_NAS_BENCH else ():
            name = f"{device.name}_{resource.split('_')[0]}"
            supported = values[name] != NOT_SUPPORTED
            _within(np.where(supported, values[name], 0.0), name, 0.0, _LARGEST)
            columns[cost_column(resource, dataset, device.name)] = np.where(supported, values[name], np.nan)
    return columns


def read_hardware(path: Path, dataset: str) -> dict[str, Column]:
    """Return latency and energy by device from a file `hw_*.csv`. Its cells are compared with the published order."""
    codes = np.array([_HARDWARE_CODE[operation] for operation in OPERATIONS])[all_genes()[:, _HARDWARE_EDGES]]

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        rows = list(csv.DictReader(lines))
        for index, (row, expected) in enumerate(zip(rows, codes.tolist(), strict=False)):
            if row["net"] != str(tuple(expected)):
                raise ValueError(f"row {index} is the cell {_short(row['net'])}; nasbench201's cell {index} is {tuple(expected)}")
        names = [name for name in rows[0] if name != "net"] if rows else []
        return hardware_columns(dataset, {name: _figures(rows, name) for name in names if name in _HARDWARE_NAMES})

    return _read(path, parse)


def read_test_accuracy(path: Path) -> dict[str, Column]:
    """Return test accuracy [%] for three datasets from `nats_bench.csv`. Its cells are compared with the published order."""
    published = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "ImageNet16-120": "ImageNet"}
    header = {dataset: f"{name}TestAccuracy200Epochs" for dataset, name in published.items()}

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        space, rows = NASBench201(), list(csv.DictReader(lines))
        for index, row in enumerate(rows):
            try:
                found = space.index(space.decode(row["ArchitectureString"] or ""))
            except InvalidArchitecture as error:
                raise ValueError(f"row {index}: {error}") from None
            if found != index:
                raise ValueError(f"row {index} is nasbench201's cell {found}")
        return {accuracy_column(dataset, "test"): _within(_figures(rows, name), name, 0.0, 100.0) for dataset, name in header.items()}

    return _read(path, parse)


def read_validation_accuracy(path: Path, dataset: str) -> dict[str, Column]:
    """Return validation accuracy [%] for a dataset from a file `*-NB201.csv`, which has accuracies from 0 to 1."""

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        rows = list(csv.DictReader(lines))
        if rows and _figures(rows, "index").tolist() != list(range(len(rows))):
            raise ValueError("the rows are not in the order of their index")
        return {accuracy_column(dataset, "validation"): 100.0 * _within(_figures(rows, "accuracy"), "accuracy", 0.0, 1.0)}

    return _read(path, parse)


def read_training_seconds(path: Path, dataset: str) -> dict[str, Column]:
    """Return the seconds of 200 epochs from a file `*_perfmetrics.txt`."""

    def parse(lines: Iterable[str]) -> dict[str, Column]:
        rows = [[float(word) for word in line.split()] for line in lines if not line.startswith("#")]
        if any(len(row) != 4 for row in rows) or [row[0] for row in rows] != list(range(len(rows))):
            raise ValueError("the columns are not index, accuracy, seconds per epoch, total seconds")
        return {seconds_column(dataset): _within(np.array([row[3] for row in rows]), "total seconds", 0.0, _LARGEST)}

    return _read(path, parse)


# The reader of each downloaded file, by the end of its path.
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
    """Return the table built from downloaded files.

    Args:
        files: The file on disk for each upstream path.

    Raises:
        TableError: A file is damaged or not known; the message names it.
    """
    columns: dict[str, Column] = {}
    sources: dict[str, str] = {}
    for upstream, path in files.items():
        reader = READERS.get(upstream.rsplit("/", 1)[-1])
        if reader is None:
            raise TableError(f"there is no reader for {upstream}; the known files are {', '.join(READERS)}")
        found = reader(path)
        columns |= found
        sources |= dict.fromkeys(found, upstream)
    return Table.from_columns(NASBench201.name, columns, sources)
