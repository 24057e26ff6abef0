"""Accuracy [%] and training time [s] in a table, by dataset, split, epochs and seed. `epochs=None` means a full training."""

from __future__ import annotations

from typing import Literal

from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.task import FULL_EPOCHS, TASKS

Split = Literal["validation", "test"]
SPLITS: tuple[Split, Split] = ("validation", "test")
# NAS-Bench-201 trains on CIFAR-10 and CIFAR-100 with equally many images and the same settings, so only one of the times was published.
_SAME_TIME = {"cifar100": "cifar10"}


def accuracy_column(dataset: str, split: Split, epochs: int | None = None, seed: int | None = None) -> str:
    """Return the name of the column with accuracy [%]: the mean over seeds, or the accuracy of one seed."""
    return f"accuracy/{dataset}/{split}/{_epochs(dataset, epochs)}" + ("" if seed is None else f"/{seed}")


def seconds_column(dataset: str, epochs: int | None = None) -> str:
    """Return the name of the column with the seconds of one training."""
    return f"training_seconds/{dataset}/{_epochs(dataset, epochs)}"


def accuracy(table: Table, dataset: str, split: Split, epochs: int | None = None, seed: int | None = None) -> Column:
    """Return the accuracy [%] of every architecture, shape (rows,); NaN if the seed was not trained.

    Raises:
        TableError: The table does not have it; the message lists what the table has.
    """
    name = accuracy_column(dataset, split, epochs, seed)
    if name in table:
        return table.column(name)
    if seed is not None and accuracy_column(dataset, split, epochs) in table:
        known = seeds(table, dataset, split, epochs)
        raise TableError(
            f"the table has no seed {seed} for {dataset}; it has " + (", ".join(map(str, known)) if known else "means over seeds only")
        )
    have = ", ".join(_known(table)) or "no accuracies"
    raise TableError(f"the table has no {split} accuracy of {dataset} after {_epochs(dataset, epochs)} epochs; it has {have}")


def seeds(table: Table, dataset: str, split: Split, epochs: int | None = None) -> list[int]:
    """Return the seeds that have their own column in the table, ascending; empty if it has only means."""
    prefix = accuracy_column(dataset, split, epochs) + "/"
    return sorted(int(name.removeprefix(prefix)) for name in table if name.startswith(prefix))


def training_seconds(table: Table, dataset: str, epochs: int | None = None) -> Column:
    """Return the seconds of one training, shape (rows,). CIFAR-100 uses the times of CIFAR-10 if the table has no others.

    Raises:
        TableError: The table has no times for this dataset and these epochs.
    """
    for name in (dataset, _SAME_TIME.get(dataset, dataset)):
        if seconds_column(name, epochs) in table:
            return table.column(seconds_column(name, epochs))
    raise TableError(f"the table has no training time of {dataset} for {_epochs(dataset, epochs)} epochs")


def datasets(table: Table) -> list[str]:
    """Return the datasets for which the table has validation and test accuracy after full training, sorted."""
    named = {name.split("/")[0] for name in _known(table)}
    return sorted(name for name in named if all(accuracy_column(name, split) in table for split in SPLITS))


def _epochs(dataset: str, epochs: int | None) -> int:
    # A table may have datasets without a task; for these, a full training has the epochs of NAS-Bench-201.
    return epochs if epochs is not None else TASKS[dataset].full_epochs if dataset in TASKS else FULL_EPOCHS


def _known(table: Table) -> list[str]:
    parts = [name.split("/") for name in table if name.startswith("accuracy/")]
    return sorted("/".join(part[1:]) for part in parts if len(part) == 4)
