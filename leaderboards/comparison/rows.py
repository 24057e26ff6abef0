"""Reads the table of a comparison, a row for every network and evaluation seed, into networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetnas.leaderboards.shared.documents import LeaderboardError

Floats = NDArray[np.float64]
Known = Literal["queried", "early_stopped"]  # the accuracies that may be known before a network is retrained

# The columns of every row. Accuracies are in percent. Unknown values are NaN; an unknown index or count is None.
COLUMNS = (
    "space", "dataset",
    "index",  # of the network, where the space can be listed
    "arch",  # the text of the representative of identical networks
    "found_by",  # the methods, problems and search seeds
    "methods",  # the name of a method for each search that found it
    "won",  # number of pairs of problem and method on which it was the best; None if the network of every search was retrained
    "evaluation_seed",
    "recipe",
    "protocol",  # a sentence on how the training differs from the one behind the table; may be ''
    "test_queried", "validation_queried",  # in a table, means over its seeds
    "test_queried_same_seed", "validation_queried_same_seed",  # only if the table's own trainer trained with a seed of the table
    "test_difference", "validation_difference",  # retrained minus queried with the same seed [points], 0 within the table's precision
    "test_queried_by_seed",  # all seeds of the table, as a tuple
    "validation_early_stopped",  # after the search's own training, a mean over the searches that found the network
    "search_loss", "search_accuracy",  # of the supernet in the last steps of these searches, means
    "test_retrained", "validation_retrained",
    "diverged",
    "training_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network that was retrained. Accuracies are in percent, NaN if unknown. Arrays have the shape (evaluation seeds,) unless noted.

    Args:
        test_queried: a table's mean over the evaluation seeds if the table has them, else over all seeds of the table.
        test_queried_by_seed: the table's accuracies, shape (seeds of the table,).
        test, validation: retrained accuracies.
        differences: retrained minus queried accuracies with the same seed [points], of validation and test, shape (evaluation seeds, 2);
            0 within the table's precision.
    """

    space: str
    dataset: str
    index: int | None
    arch: str
    methods: tuple[str, ...]
    won: int | None
    recipe: str
    protocol: str
    seeds: tuple[int, ...]
    test_queried: float
    test_queried_by_seed: Floats
    early_stopped: float
    search_loss: float
    search_accuracy: float
    test: Floats
    validation: Floats
    differences: Floats
    diverged: int

    @property
    def same_seeds(self) -> bool:
        """Whether the table has a test accuracy with every evaluation seed."""
        return not np.isnan(self.differences[:, 1]).any()

    @property
    def compared(self) -> int:
        """The number of accuracies, of both splits, that the table also has with the same seed."""
        return int((~np.isnan(self.differences)).sum())

    @property
    def equal(self) -> int:
        """The number of these that are equal within the table's precision."""
        return int((self.differences == 0.0).sum())

    @property
    def validated(self) -> bool:
        """Whether every training measured validation accuracy."""
        return not np.isnan(self.validation).any()

    def known(self, kind: Known) -> float:
        """Return the accuracy [%] that was known before."""
        return self.test_queried if kind == "queried" else self.early_stopped

    def retrained_by_seed(self, kind: Known) -> Floats:
        """Return the retrained accuracies [%] to compare with it: validation for early-stopped ones if it was measured, else test."""
        return self.validation if kind == "early_stopped" and self.validated else self.test

    def difference(self, kind: Known) -> float:
        """Return retrained minus known accuracy [points], a mean over evaluation seeds; NaN if nothing was known."""
        if kind == "queried" and self.same_seeds:
            return float(self.differences[:, 1].mean())
        return float(self.retrained_by_seed(kind).mean()) - self.known(kind)

    def retrained(self, kind: Known) -> float:
        """Return the mean [%] over evaluation seeds; a figure that equals the table's within its precision counts as the table's."""
        if kind == "queried" and self.same_seeds:
            return self.known(kind) + self.difference(kind)
        return float(self.retrained_by_seed(kind).mean())


def networks_of(table: pd.DataFrame) -> list[Network]:
    """Return the networks of a table, in its order. Raises `LeaderboardError` if the table lacks a column or is empty."""
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise LeaderboardError(f"the comparison lacks the columns {', '.join(missing)}; make it with this version of the command")
    if table.empty:
        raise LeaderboardError("no network was retrained, so there is nothing to compare")
    groups: dict[tuple[str, str, str], list[Mapping[Any, Any]]] = {}
    for row in table.to_dict("records"):
        groups.setdefault((row["space"], row["dataset"], row["arch"]), []).append(row)
    return [_network(rows) for rows in groups.values()]


def by_dataset(networks: Sequence[Network]) -> list[list[Network]]:
    """Return the networks grouped by space and dataset, in the order of each group's first network."""
    groups: dict[tuple[str, str], list[Network]] = {}
    for network in networks:
        groups.setdefault((network.space, network.dataset), []).append(network)
    return list(groups.values())


def _network(rows: Sequence[Mapping[Any, Any]]) -> Network:
    first = rows[0]
    same_seed = _column(rows, "test_queried_same_seed")
    return Network(
        space=str(first["space"]),
        dataset=str(first["dataset"]),
        index=_whole(first["index"]),
        arch=str(first["arch"]),
        methods=tuple(first["methods"]),
        won=_whole(first["won"]),
        recipe=str(first["recipe"]),
        protocol=str(first["protocol"]),
        seeds=tuple(int(row["evaluation_seed"]) for row in rows),
        test_queried=float(first["test_queried"] if np.isnan(same_seed).any() else same_seed.mean()),
        test_queried_by_seed=np.array(first["test_queried_by_seed"], np.float64),
        early_stopped=float(first["validation_early_stopped"]),
        search_loss=float(first["search_loss"]),
        search_accuracy=float(first["search_accuracy"]),
        test=_column(rows, "test_retrained"),
        validation=_column(rows, "validation_retrained"),
        differences=np.stack([_column(rows, "validation_difference"), _column(rows, "test_difference")], axis=1),
        diverged=sum(bool(row["diverged"]) for row in rows),
    )


def _column(rows: Sequence[Mapping[Any, Any]], name: str) -> Floats:
    return np.array([row[name] for row in rows], np.float64)


def _whole(value: float | None) -> int | None:
    return None if value is None or math.isnan(value) else int(value)
