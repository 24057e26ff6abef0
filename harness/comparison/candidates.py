"""Chooses the networks of a run that are retrained, with the figures known before: a table's accuracies and those of the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from budgetnas.harness.comparison.queried import Queried, queried_of
from budgetnas.harness.records.ranking_classes import TRAINING
from budgetnas.harness.training.job import CannotRetrain
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, Buildable, Enumerable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One recommendation of a network: the problem, the method and the search seed."""

    problem: str
    method: str
    seed: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network to retrain, with the figures known before; a figure is NaN if it is unknown.

    Identical networks are one candidate: `arch` is their representative, `text` its encoding, and `findings` their recommendations.

    Args:
        queried: accuracies [%] in a table.
        early_stopped: validation accuracy [%] after the search's own training, a mean over the searches that found the network.
        search_loss: loss of the supernet in the last steps of a search, a mean over these searches.
        search_accuracy: training accuracy [%] of the supernet in these steps, a mean over these searches.
    """

    space: str
    dataset: str
    arch: Architecture
    text: str
    index: int | None  # None in a space that cannot be listed
    findings: tuple[Finding, ...]
    queried: Queried
    early_stopped: float = math.nan
    search_loss: float = math.nan
    search_accuracy: float = math.nan


Row = Mapping[Any, Any]  # a row of the records
LastFigures = Callable[[str], Mapping[str, float]]  # from a trial's identity to the last figures of its history


def winners(records: pd.DataFrame) -> list[Candidate]:
    """Return the winner of every pair of problem and method: the feasible recommendation with the best validation accuracy over the seeds.

    Of equal ones the lowest index wins. Each network is returned once, with one finding for each pair that it won.

    Raises:
        CannotRetrain: no recommendation is feasible, or networks of the space cannot be built.
    """
    chosen = [min(rows, key=_lowest_index) for rows in _best_by_validation(records)]
    if not chosen:
        raise CannotRetrain("no method of this run recommended a feasible network, so there is nothing to retrain")
    return _merged(chosen)


def _best_by_validation(records: pd.DataFrame) -> Iterator[list[Row]]:
    """Yield for every problem and method the rows with the best validation accuracy among the feasible ones."""
    feasible = records[records["feasible"].to_numpy(bool)]
    for _, group in feasible.groupby(["space", "dataset", "device", "problem", "method"], sort=True):
        yield group[group["validation"] == group["validation"].max()].to_dict("records")


def _lowest_index(row: Row) -> tuple[int, tuple[int, ...], int]:
    arch = _canonical(row)
    return _index(row["space"], arch) or 0, arch.genes, row["seed"]


def networks_of_searches(records: pd.DataFrame, last_figures: LastFigures) -> list[Candidate]:
    """Return the network of every trial, feasible or not, each once. Disconnected networks cannot be trained and are left out.

    Raises:
        CannotRetrain: no trial recommended a connected network, or networks of the space cannot be built.
    """
    rows = [row for row in records.to_dict("records") if row["recommendation"]]
    rows = [row for row in rows if space_of(row["space"]).connected(space_of(row["space"]).decode(row["recommendation"]))]
    if not rows:
        raise CannotRetrain("no method of this run recommended a network that can be trained, so there is nothing to retrain")
    return _merged(rows, last_figures)


def _canonical(row: Row) -> Architecture:
    space = space_of(row["space"])
    return space.canonical(space.decode(row["recommendation"]))


def _index(space: str, arch: Architecture) -> int | None:
    known = space_of(space)
    return known.index(arch) if isinstance(known, Enumerable) else None


def _merged(rows: Sequence[Row], last_figures: LastFigures | None = None) -> list[Candidate]:
    """Return a candidate for each network of the rows, sorted by space, dataset and genes. Raises `CannotRetrain` as `winners` does."""
    groups: dict[tuple[str, str, Architecture], list[Row]] = {}
    for row in rows:
        if not isinstance(space_of(row["space"]), Buildable):
            raise CannotRetrain(f"networks of {row['space']} cannot be built, so none can be trained")
        groups.setdefault((row["space"], row["dataset"], _canonical(row)), []).append(row)
    return [_candidate(*key, groups[key], last_figures) for key in sorted(groups, key=lambda key: (*key[:2], key[2].genes))]


def _candidate(space: str, dataset: str, arch: Architecture, rows: Sequence[Row], last_figures: LastFigures | None) -> Candidate:
    trained = [row["validation"] for row in rows if row["ranking_class"] == TRAINING]
    last = [last_figures(row["identity"]) for row in rows] if last_figures else []
    return Candidate(
        space=space,
        dataset=dataset,
        arch=arch,
        text=space_of(space).encode(arch),
        index=_index(space, arch),
        findings=tuple(sorted(Finding(problem_of(row), row["method"], int(row["seed"])) for row in rows)),
        queried=queried_of(space, dataset, arch),
        early_stopped=_mean_known(trained),
        search_loss=_mean_known([figures.get("loss", math.nan) for figures in last]),
        search_accuracy=_mean_known([figures.get("training_accuracy", math.nan) for figures in last]),
    )


def problem_of(row: Row) -> str:
    """Return the name of a record's problem on the pages: its limits, and the device if there is one."""
    return f"{row['problem']}, {row['device']}" if row["device"] else str(row["problem"])


def _mean_known(values: Sequence[float]) -> float:
    known = [float(value) for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
