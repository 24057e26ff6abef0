"""Queried against retrained: whether an accuracy from a table is what training gives."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from budgetnas.harness.comparison.agreement import CONFIDENCE, mean_of, rank_correlations
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.processes.parallel import map_in_processes
from budgetnas.harness.training.job import CannotRetrain, Retrained, can_retrain, trainer_of
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.tables import accuracy
from budgetnas.spaces.tables.accuracy import SPLITS

if TYPE_CHECKING:
    import pandas as pd

CLOSE = 1e-5  # relative: the table keeps single precision, which is ten times finer


def retrained_beside_queried(space: str, arch: Architecture, dataset: str, seed: int) -> dict[str, Any]:
    """Return an architecture's accuracies [%] trained now with a seed, and queried, as JSON values.

    `CannotRetrain` for another dataset or a machine without PyTorch, `TableError` for a seed that the table does not have.
    """
    trainer = trainer_of(space, dataset)
    tabulated = tabulated_space_of(space, dataset)
    index = tabulated.space.index(arch)
    queried = {split: _queried(tabulated, split, seed, index) for split in SPLITS}
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
        "difference": {split: 0.0 if _close(reached[split], queried[split]) else reached[split] - queried[split] for split in SPLITS},
        "queried_mean": {"validation": float(tabulated.validation[index]), "test": float(tabulated.test[index])},
        "seconds": trained.seconds,
    }


def _queried(tabulated: TabulatedSpace, split: accuracy.Split, seed: int, index: int) -> float:
    return float(accuracy.accuracy(tabulated.table, tabulated.task.dataset, split, seed=seed)[index])


def _close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=CLOSE)


@dataclass(frozen=True, slots=True)
class Winner:
    """A network that some method of a run delivered as its best on some problem; `problems` says which: (problem, method)."""

    space: str
    dataset: str
    index: int
    arch: str
    problems: tuple[tuple[str, str], ...]


def winners(records: pd.DataFrame) -> list[Winner]:
    """Return, of every problem and method, the feasible recommendation that is best by validation over the seeds; each network once.

    Of equals, the lowest index; identical networks are one. Datasets that cannot be retrained are left out; `CannotRetrain` if all are.
    """
    found: dict[tuple[str, str, int], list[tuple[str, str]]] = {}
    can = [can_retrain(*pair) for pair in zip(records["space"], records["dataset"], strict=True)]
    if not any(can):
        trainer_of(str(records["space"].iloc[0]), str(records["dataset"].iloc[0]))
    for best in best_by_validation(records[np.array(can)]):
        row = best.iloc[0]
        known = tabulated_space_of(row["space"], row["dataset"]).space
        index = min(known.index(known.canonical(known.decode(text))) for text in best["recommendation"])
        found.setdefault((row["space"], row["dataset"], index), []).append((place_of(row), row["method"]))
    if not found:
        raise CannotRetrain("no method of this run recommended a feasible network, so there is nothing to retrain")
    return [_winner(*key, problems) for key, problems in sorted(found.items())]


def best_by_validation(records: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield, of every problem and method, the rows whose feasible recommendation is the best by validation over the seeds."""
    feasible = records[records["feasible"].to_numpy(bool)]
    for _, group in feasible.groupby(["space", "dataset", "device", "problem", "method"], sort=True):
        yield group[group["validation"] == group["validation"].max()]


def place_of(row: Mapping[Hashable, Any] | pd.Series[Any]) -> str:
    """Return what pages call the problem of a row of the records: its limits, and the device if there is one."""
    return f"{row['problem']}, {row['device']}" if row["device"] else str(row["problem"])


def _winner(space: str, dataset: str, index: int, problems: Sequence[tuple[str, str]]) -> Winner:
    known = tabulated_space_of(space, dataset).space
    return Winner(space, dataset, index, known.encode(known.at(index)), tuple(problems))


def _retrain(dataset: tuple[str, str], index: int) -> list[Retrained]:
    return trainer_of(*dataset).retrain(index)


@dataclass(frozen=True, slots=True)
class Compared:
    """A winner with what training gave it, a row a seed of the table."""

    winner: Winner
    retrained: tuple[Retrained, ...]

    def queried(self, seed: int) -> dict[str, float]:
        """Return the table's accuracies [%] of a seed by split."""
        tabulated = tabulated_space_of(self.winner.space, self.winner.dataset)
        return {split: _queried(tabulated, split, seed, self.winner.index) for split in SPLITS}


def compare(chosen: Sequence[Winner], workers: int, show: Callable[[int, int], None]) -> list[Compared]:
    """Return every winner retrained with all of the table's seeds, `workers` at a time; `show` is told the networks done and in all."""
    results: dict[Winner, list[Retrained]] = {}
    for dataset in sorted({(winner.space, winner.dataset) for winner in chosen}):
        trainer_of(*dataset).require()
        of_index = {winner.index: winner for winner in chosen if (winner.space, winner.dataset) == dataset}
        for index, retrained in map_in_processes(partial(_retrain, dataset), list(of_index), min(workers, len(of_index))):
            results[of_index[index]] = retrained
            show(len(results), len(chosen))
    return [Compared(winner, tuple(results[winner])) for winner in chosen]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far retrained test accuracy is from the queried one over some networks, their seeds averaged.

    `difference` is the mean of retrained minus queried [points] with its interval (`low`, `high`) by Student's t over networks, NaN where
    there is one network; `equal` of `figures` accuracies, both splits, agree to the table's precision. Kendall's tau-b and
    Spearman's coefficient are NaN where all networks are as accurate.
    """

    networks: int
    figures: int
    equal: int
    difference: float
    low: float
    high: float
    kendall: float
    spearman: float


def agreement(compared: Sequence[Compared]) -> Agreement:
    """Return how well retrained and queried accuracies of one dataset agree."""
    pairs = [_pairs(one) for one in compared]
    queried = np.array([np.mean([test[0] for _, test in rows]) for rows in pairs])
    differences = np.array([np.mean([0.0 if _close(*test) else test[1] - test[0] for _, test in rows]) for rows in pairs])
    retrained = queried + differences  # so that the table's rounding breaks no ties
    mean = mean_of(differences)
    kendall, spearman = rank_correlations(queried, retrained)
    figures = [figure for rows in pairs for row in rows for figure in row]
    return Agreement(
        networks=mean.count,
        figures=len(figures),
        equal=sum(_close(*figure) for figure in figures),
        difference=mean.value,
        low=mean.low,
        high=mean.high,
        kendall=kendall,
        spearman=spearman,
    )


def _pairs(compared: Compared) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return, for every seed, (queried, retrained) of the validation and of the test accuracy [%]."""
    rows = []
    for one in compared.retrained:
        queried = compared.queried(one.seed)
        rows.append(((queried["validation"], one.validation), (queried["test"], one.test)))
    return rows


COLUMNS = (
    "space", "dataset", "index", "arch", "seed", "validation_queried", "validation_retrained", "test_queried", "test_retrained",
    "training_seconds",
)  # fmt: skip


def comparison_csv(compared: Sequence[Compared]) -> str:
    """Return a row for every network and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in compared:
        winner = one.winner
        for row, (validation, test) in zip(one.retrained, _pairs(one), strict=True):
            figures = [f"{figure:.6g}" for figure in (*validation, *test, row.seconds)]
            writer.writerow([winner.space, winner.dataset, winner.index, winner.arch, row.seed, *figures])
    return text.getvalue()


def comparison_page(compared: Sequence[Compared], command: str) -> str:
    """Return the comparison as Markdown: for every dataset how well the two agree, and the networks."""
    lines = ["# Queried against retrained", ""]
    lines += [
        "Of every problem and method, the feasible recommendation that is best by validation over the seeds, each network once, "
        f"trained again with every seed of the table. Made by `{command}`; every figure is in [compare.csv](compare.csv).",
        "",
    ]
    for dataset in dict.fromkeys((one.winner.space, one.winner.dataset) for one in compared):
        lines += _section([one for one in compared if (one.winner.space, one.winner.dataset) == dataset])
    return "\n".join(lines)


def summary(found: Agreement) -> str:
    """Return an agreement in words."""
    if math.isnan(found.low):
        interval = "one network has no interval"
    else:
        interval = f"{CONFIDENCE:.0%} interval {found.low:+.3f} to {found.high:+.3f} over networks"
    if math.isnan(found.kendall):
        ranks = "ranks cannot be compared: the networks do not differ"
    else:
        ranks = f"Kendall's tau-b {found.kendall:.3f}, Spearman {found.spearman:.3f}"
    return (
        f"{found.networks} networks, {found.equal} of {found.figures} accuracies equal to the table's precision; "
        f"retrained minus queried test accuracy {found.difference:+.3f} points on average ({interval}); {ranks}."
    )


def _section(compared: Sequence[Compared]) -> Iterator[str]:
    yield f"## {compared[0].winner.space} on {compared[0].winner.dataset}"
    yield ""
    found = agreement(compared)
    yield summary(found)
    yield ""
    if found.equal < found.figures:
        yield (
            "Another kind of processor, or another version of PyTorch, rounds sums otherwise: then a retraining is a new draw, and differs "
            "as two seeds do."
        )
        yield ""
    yield "| cell | won | test %, queried by seed | test %, retrained by seed | mean difference |"
    yield "|---|---:|---|---|---:|"
    for one in sorted(compared, key=lambda one: (-len(one.winner.problems), one.winner.index)):
        tests = [test for _, test in _pairs(one)]
        queried, retrained = (", ".join(f"{test[side]:.2f}" for test in tests) for side in (0, 1))
        difference = float(np.mean([0.0 if _close(*test) else test[1] - test[0] for test in tests]))
        cell = one.winner.arch.replace("|", "\\|")
        yield f"| {one.winner.index} `{cell}` | {len(one.winner.problems)} | {queried} | {retrained} | {difference:+.2f} |"
    yield ""
    yield "*won*: on how many pairs of problem and method the network (or one identical to it) was the best found."
    yield ""
