"""Builds the table of digits201, and the card beside it, from the results of training and of measuring latency."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from budgetnas.harness.digits201.builder import accuracy_chunks
from budgetnas.harness.digits201.card import card_text
from budgetnas.harness.digits201.chunks import BuildError
from budgetnas.harness.digits201.latency import RUNS, device_name, latency_chunks, processor
from budgetnas.harness.training.recipes.digits201_recipe import Recipe, digits201_recipe
from budgetnas.spaces.files import write_text
from budgetnas.spaces.nasbench201 import small_network
from budgetnas.spaces.nasbench201.identity import canonical_indices
from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.tables.accuracy import SPLITS, accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.hardware import cost_column, network_column

DATASET = small_network.DIGITS201.dataset


def trained_columns(results: Mapping[int, Any], recipe: Recipe) -> dict[str, Column]:
    """Return the columns of accuracies [%], per seed and as means, and of training seconds, for all cells.

    Args:
        results: the results of training by representative. Identical networks share those of their representative.
        recipe: the recipe, for its seeds and epochs.

    Raises:
        BuildError: a representative has no result.
    """
    representatives, row = np.unique(canonical_indices(), return_inverse=True)
    missing = [index for index in representatives.tolist() if index not in results]
    if missing:
        raise BuildError(
            f"{len(missing)} classes are not trained, the first is that of cell {missing[0]}; run the command again without --step"
        )
    by_class = [results[index] for index in representatives.tolist()]
    columns: dict[str, Column] = {}
    for split in SPLITS:
        figures = np.array([result[split] for result in by_class])[row]
        columns[accuracy_column(DATASET, split, recipe.epochs)] = figures.mean(axis=1)
        for position, seed in enumerate(recipe.seeds):
            columns[accuracy_column(DATASET, split, recipe.epochs, seed)] = figures[:, position]
    columns[seconds_column(DATASET, recipe.epochs)] = np.array([result["seconds"] for result in by_class])[row]
    return columns


def exact_columns() -> dict[str, Column]:
    """Return the columns of parameters, MACs and C64x+ cycles of all cells."""
    params, macs = small_network.complexities()
    exact = {"params": params, "macs": macs, "cycles": small_network.cycles()}
    return {network_column(resource, DATASET): values.astype(np.float64) for resource, values in exact.items()}


def digits201_table() -> Table:
    """Return the table. Raises BuildError if a network is not yet trained or measured."""
    recipe = digits201_recipe()
    trained = trained_columns(accuracy_chunks().all(), recipe)
    latency = latency_chunks().all()
    measured = {cost_column("latency_ms", DATASET, device_name()): np.array([latency[index] for index in range(SIZE)])}
    exact = exact_columns()
    trained_by = f"trained by this project: recipe {recipe.name} version {recipe.version}, PyTorch {version('torch').split('+')[0]}"
    measured_by = (
        f"measured by this project: {processor()}, ONNX Runtime {version('onnxruntime')}, one thread, batch 1, median of {RUNS} runs"
    )
    inexact = {name: column.astype(np.float32).astype(np.float64) for name, column in (trained | measured).items()}  # halves the file
    sources = dict.fromkeys(trained, trained_by) | dict.fromkeys(measured, measured_by) | dict.fromkeys(exact, "closed form")
    return Table.from_columns("nasbench201", inexact | exact, sources)


def write_table(folder: Path) -> list[Path]:
    """Write `digits201.parquet` and its card `digits201.md` to a folder, each atomically, and return both paths."""
    table = digits201_table()
    paths = [folder / f"{DATASET}.parquet", folder / f"{DATASET}.md"]
    try:
        table.write(paths[0])
        write_text(paths[1], card_text(table, accuracy_chunks().all()), sync=True)
    except TableError as error:
        raise BuildError(str(error)) from None
    except OSError as error:
        raise BuildError(f"cannot write {paths[1]}: {error.strerror}; the old file, if any, is untouched") from None
    return paths
