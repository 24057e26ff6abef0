"""A table's accuracies of one network, as means and by seed, and their difference to retrained accuracies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budgetnas.harness.costs.costed_space import costed_space_of
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.training.job import trainer_of
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.tables import accuracy
from budgetnas.spaces.tables.accuracy import SPLITS, Split

PRECISION = 1e-5  # relative; above the rounding of the table's single precision


@dataclass(frozen=True, slots=True)
class Queried:
    """A table's accuracies [%] of one network, by split.

    Args:
        mean: means over the table's seeds; NaN without a table.
        by_seed: accuracies by seed; empty without a table, or if the table has means only.
    """

    mean: Mapping[Split, float]
    by_seed: Mapping[Split, Mapping[int, float]]


def queried_of(space: str, dataset: str, arch: Architecture) -> Queried:
    """Return the accuracies of a network on a dataset in a table on this machine."""
    costed = costed_space_of(space, dataset)
    if not isinstance(costed, TabulatedSpace):
        return Queried(dict.fromkeys(SPLITS, math.nan), {split: {} for split in SPLITS})
    index = costed.space.index(arch)
    by_seed = {
        split: {seed: _accuracy(costed, split, seed, index) for seed in accuracy.seeds(costed.table, dataset, split)} for split in SPLITS
    }
    return Queried({"validation": float(costed.validation[index]), "test": float(costed.test[index])}, by_seed)


def _accuracy(tabulated: TabulatedSpace, split: Split, seed: int, index: int) -> float:
    return float(accuracy.accuracy(tabulated.table, tabulated.task.dataset, split, seed=seed)[index])


def difference(retrained: float, queried: float) -> float:
    """Return retrained minus queried accuracy [points], exactly 0 if they are equal within the table's precision.

    >>> difference(97.99, 97.9900001), round(difference(97.99, 96.98), 2)
    (0.0, 1.01)
    """
    return 0.0 if math.isclose(retrained, queried, rel_tol=PRECISION) else retrained - queried


def retrained_beside_queried(space: str, arch: Architecture, dataset: str, seed: int) -> dict[str, Any]:
    """Return an architecture's accuracies [%], retrained with a seed of the table and queried, as JSON values.

    Raises:
        CannotRetrain: the project has no trainer for the dataset's table, or PyTorch is not installed.
        TableError: the table does not have the seed.
    """
    trainer = trainer_of(space, dataset)
    tabulated = tabulated_space_of(space, dataset)
    index = tabulated.space.index(arch)
    queried = {split: _accuracy(tabulated, split, seed, index) for split in SPLITS}
    trainer.require()
    trained = trainer.retrain_seed(index, seed)
    reached = {"validation": trained.validation, "test": trained.test}
    return {
        "space": tabulated.space.name,
        "dataset": dataset,
        "arch": tabulated.space.encode(arch),
        "index": index,
        "seed": seed,
        "seeds": accuracy.seeds(tabulated.table, dataset, "test"),
        "trained": reached,
        "queried": queried,
        "difference": {split: difference(reached[split], queried[split]) for split in SPLITS},
        "queried_mean": {"validation": float(tabulated.validation[index]), "test": float(tabulated.test[index])},
        "seconds": trained.seconds,
    }
