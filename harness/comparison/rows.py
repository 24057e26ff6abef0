"""Turns a comparison into the table from which its pages are made: a row for every network and evaluation seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from budgetnas.harness.comparison.candidates import Candidate
from budgetnas.harness.comparison.queried import difference
from budgetnas.harness.comparison.retrain_all import RetrainedCandidate
from budgetnas.harness.training.recipes.recipe import Recipe
from budgetnas.harness.training.recipes.table_recipes import difference_line, table_recipe
from budgetnas.harness.training.result import Trained
from budgetnas.spaces.tables.accuracy import SPLITS

if TYPE_CHECKING:
    import pandas as pd

_OWN_TRAINER = "The table's own trainer: on the kind of machine that made the table, retrained figures equal the table's of the same seed."


def comparison_rows(retrained: Sequence[RetrainedCandidate], won: bool) -> pd.DataFrame:
    """Return a row for every network and evaluation seed, with the columns that `leaderboards/comparison/rows.py` describes.

    Args:
        retrained: the networks with their trainings.
        won: whether each finding counts as a win, as in a run on a table.
    """
    import pandas as pd

    return pd.DataFrame([row for one in retrained for row in _rows(one, won)])


def _rows(one: RetrainedCandidate, won: bool) -> Iterator[dict[str, Any]]:
    candidate = one.candidate
    by_seed = candidate.queried.by_seed["test"]
    of_network = {
        "space": candidate.space,
        "dataset": candidate.dataset,
        "index": candidate.index,
        "arch": candidate.text,
        "found_by": "; ".join(f"{each.method} on {each.problem}, seed {each.seed}" for each in candidate.findings),
        "methods": tuple(finding.method for finding in candidate.findings),
        "won": len(candidate.findings) if won else None,
        "protocol": _protocol(candidate, one.recipe),
        "validation_early_stopped": candidate.early_stopped,
        "search_loss": candidate.search_loss,
        "search_accuracy": candidate.search_accuracy,
        "test_queried_by_seed": tuple(by_seed[seed] for seed in sorted(by_seed)),
    } | {f"{split}_queried": candidate.queried.mean[split] for split in SPLITS}
    for training in one.trainings:
        yield of_network | _of_training(candidate, training, own_trainer=one.recipe is None)


def _of_training(candidate: Candidate, training: Trained, own_trainer: bool) -> dict[str, Any]:
    seed = training.identity["seed"]
    reached = {"validation": math.nan if training.validation is None else training.validation, "test": training.test}
    same_seed = {split: candidate.queried.by_seed[split].get(seed, math.nan) if own_trainer else math.nan for split in SPLITS}
    return {
        "evaluation_seed": seed,
        "recipe": training.identity["recipe"],
        "diverged": training.diverged,
        "training_seconds": training.seconds,
        **{f"{split}_retrained": reached[split] for split in SPLITS},
        **{f"{split}_queried_same_seed": same_seed[split] for split in SPLITS},
        **{f"{split}_difference": difference(reached[split], same_seed[split]) for split in SPLITS},
    }


def _protocol(candidate: Candidate, recipe: Recipe | None) -> str:
    """Return a sentence on how the training differs from the one behind a table; '' without a table."""
    if recipe is None:
        return _OWN_TRAINER
    return difference_line(candidate.space, candidate.dataset, recipe) if table_recipe(candidate.space, candidate.dataset) else ""
