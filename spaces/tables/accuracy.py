"""Accuracy [%] and training time [s] of a table, by dataset, split, epochs and seed."""

from __future__ import annotations

from typing import Literal

from budgetnas.spaces.tables.columnar import Column, Table, TableError

Split = Literal["validation", "test"]
FULL_EPOCHS = 200
# NAS-Bench-201 trains CIFAR-10 and CIFAR-100 on the same images with the same settings; only one of the times was published.
_SAME_TIME = {"cifar100": "cifar10"}


def accuracy_column(dataset: str, split: Split, epochs: int = FULL_EPOCHS, seed: int | None = None) -> str:
    """Return the name of the column with accuracy [%]: the mean over seeds, or one seed's."""
    return f"accuracy/{dataset}/{split}/{epochs}" + ("" if seed is None else f"/{seed}")


def seconds_column(dataset: str, epochs: int = FULL_EPOCHS) -> str:
    """Return the name of the column with the seconds that one training takes."""
    return f"training_seconds/{dataset}/{epochs}"


def accuracy(table: Table, dataset: str, split: Split, epochs: int = FULL_EPOCHS, seed: int | None = None) -> Column:
    """Return accuracy [%] of every architecture, shape (rows,); NaN where a seed was not trained. `TableError` lists what there is."""
    name = accuracy_column(dataset, split, epochs, seed)
    if name in table:
        return table.column(name)
    if seed is not None and accuracy_column(dataset, split, epochs) in table:
        known = seeds(table, dataset, split, epochs)
        raise TableError(
            f"the table has no seed {seed} for {dataset}; it has " + (", ".join(map(str, known)) if known else "means over seeds only")
        )
    raise TableError(
        f"the table has no {split} accuracy of {dataset} after {epochs} epochs; it has {', '.join(_known(table)) or 'no accuracies'}"
    )


def seeds(table: Table, dataset: str, split: Split, epochs: int = FULL_EPOCHS) -> list[int]:
    """Return the seeds whose own figures the table keeps, ascending; empty where it holds means only."""
    prefix = accuracy_column(dataset, split, epochs) + "/"
    return sorted(int(name.removeprefix(prefix)) for name in table if name.startswith(prefix))


def training_seconds(table: Table, dataset: str, epochs: int = FULL_EPOCHS) -> Column:
    """Return the seconds that training takes, shape (rows,). CIFAR-100 uses CIFAR-10's where it has none of its own."""
    for name in (dataset, _SAME_TIME.get(dataset, dataset)):
        if seconds_column(name, epochs) in table:
            return table.column(seconds_column(name, epochs))
    raise TableError(f"the table has no training time of {dataset} for {epochs} epochs")


def datasets(table: Table) -> list[str]:
    """Return the datasets that the table has both validation and test accuracy of after full training, sorted."""
    full = [name for name in _known(table) if name.endswith(f"/{FULL_EPOCHS}")]
    return sorted({n.split("/")[0] for n in full if {f"{n.split('/')[0]}/{s}/{FULL_EPOCHS}" for s in ("validation", "test")} <= set(full)})


def _known(table: Table) -> list[str]:
    parts = [name.split("/") for name in table if name.startswith("accuracy/")]
    return sorted("/".join(part[1:]) for part in parts if len(part) == 4)
