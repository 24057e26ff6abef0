"""Which networks of a run are retrained, and what is known of each before it is: what a table says, what the search saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from budgetnas.harness.comparison.agreement import mean_of
from budgetnas.harness.comparison.compare import best_by_validation, place_of
from budgetnas.harness.costs.costed_space import costed_space_of
from budgetnas.harness.records.ranking_classes import TRAINING
from budgetnas.harness.training.images.dataset import MissingImages
from budgetnas.harness.training.images.load import load
from budgetnas.harness.training.job import CannotRetrain
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, Buildable
from budgetnas.spaces.task import task_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Finding:
    """Who recommended a network: on which problem, by which method, with which search seed."""

    problem: str
    method: str
    seed: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network to retrain, the representative of those identical to it, with what was known before [%]; NaN where nothing is.

    `queried` is a table's test accuracy, the mean over its seeds. `early_stopped` is the validation accuracy that a search trained it to,
    and `search_loss` and `search_accuracy` are those of the supernet in the last steps of the searches that found it: means over them.
    """

    space: str
    dataset: str
    arch: Architecture
    text: str
    findings: tuple[Finding, ...]
    queried: float
    early_stopped: float = math.nan
    search_loss: float = math.nan
    search_accuracy: float = math.nan


LastFigures = Callable[[str], Mapping[str, float]]  # of a trial's identity: the last figures of its history


def of_table(records: pd.DataFrame) -> tuple[list[Candidate], list[str]]:
    """Return, of every problem and method, the feasible recommendation that is best by validation, each network once; and what is left out.

    Datasets whose images are not here are left out, each with a line; `MissingImages` if that are all.
    """
    usable, missing = [], dict[str, MissingImages]()
    for dataset in sorted(set(records["dataset"])):
        try:
            load(task_of(dataset))
            usable.append(dataset)
        except MissingImages as error:
            missing[dataset] = error
    if not usable:
        raise next(iter(missing.values()))
    chosen = [row for best in best_by_validation(records[records["dataset"].isin(usable)]) for row in best.to_dict("records")]
    # Of equals the lowest index counts, as everywhere; the text orders them as well, and every space has one.
    first: dict[tuple[str, ...], dict[Any, Any]] = {}
    for row in sorted(chosen, key=lambda row: (_canonical(row).genes, row["seed"])):
        first.setdefault((row["space"], row["dataset"], row["device"], row["problem"], row["method"]), row)
    return _merged(list(first.values()), lambda identity: {}, early_stopped=False), [
        f"{dataset} is left out: {error}" for dataset, error in missing.items()
    ]


def of_searches(records: pd.DataFrame, last_figures: LastFigures) -> list[Candidate]:
    """Return what every trial recommended, feasible or not, each network once; a disconnected one has nothing to train and is left out."""
    rows = [row for row in records.to_dict("records") if row["recommendation"]]
    rows = [row for row in rows if space_of(row["space"]).connected(space_of(row["space"]).decode(row["recommendation"]))]
    return _merged(rows, last_figures, early_stopped=True)


def _canonical(row: Mapping[Any, Any]) -> Architecture:
    space = space_of(row["space"])
    return space.canonical(space.decode(row["recommendation"]))


def _merged(rows: Sequence[Mapping[Any, Any]], last_figures: LastFigures, early_stopped: bool) -> list[Candidate]:
    """Return a candidate for each network of the rows, by space, dataset and genes. `CannotRetrain` if there is none to be trained."""
    groups: dict[tuple[str, str, Architecture], list[Mapping[Any, Any]]] = {}
    for row in rows:
        if not isinstance(space_of(row["space"]), Buildable):
            raise CannotRetrain(f"networks of {row['space']} cannot be built, so none can be trained")
        groups.setdefault((row["space"], row["dataset"], _canonical(row)), []).append(row)
    if not groups:
        raise CannotRetrain("no method of this run recommended a network that can be trained, so there is nothing to retrain")
    return [_candidate(*key, groups[key], last_figures, early_stopped) for key in sorted(groups, key=lambda key: (*key[:2], key[2].genes))]


def _candidate(
    space: str, dataset: str, arch: Architecture, rows: Sequence[Mapping[Any, Any]], last_figures: LastFigures, early_stopped: bool
) -> Candidate:
    findings = sorted(
        (Finding(place_of(row), row["method"], int(row["seed"])) for row in rows), key=lambda f: (f.problem, f.method, f.seed)
    )
    scores = [float(row["validation"]) for row in rows if early_stopped and row["ranking_class"] == TRAINING]
    last = [last_figures(row["identity"]) for row in rows]
    return Candidate(
        space=space,
        dataset=dataset,
        arch=arch,
        text=space_of(space).encode(arch),
        findings=tuple(findings),
        queried=costed_space_of(space, dataset).accuracy_of(arch).get("test", math.nan),
        early_stopped=_mean_known(scores),
        search_loss=_mean_known([figures.get("loss", math.nan) for figures in last]),
        search_accuracy=_mean_known([figures.get("training_accuracy", math.nan) for figures in last]),
    )


def _mean_known(values: Sequence[float]) -> float:
    return mean_of([value for value in values if not math.isnan(value)]).value


def methods_of(candidate: Candidate) -> Iterator[str]:
    """Yield the methods that found a network, each once, by name."""
    yield from sorted({finding.method for finding in candidate.findings})
