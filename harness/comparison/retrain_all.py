"""Networks of a run retrained from scratch by a recipe, over several evaluation seeds, beside what was known of them before."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.comparison.agreement import FEWEST_RANKED, Mean, Noise, explained_by_seeds, mean_of, noise_of, rank_correlations
from budgetnas.harness.comparison.candidates import Candidate
from budgetnas.harness.costs.costed_space import costed_space_of
from budgetnas.harness.costs.tabulated_space import TabulatedSpace
from budgetnas.harness.processes.parallel import map_in_processes
from budgetnas.harness.training import result as results
from budgetnas.harness.training.job import can_retrain, default_recipe, job_of, kept_in
from budgetnas.harness.training.recipes.recipe import Recipe, read_recipe
from budgetnas.harness.training.result import Trained
from budgetnas.harness.training.retrain import run_job
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.tables import accuracy

# Evaluation seeds are other numbers than search seeds are, which count from 0: a candidate that a search trained itself, by the same
# recipe, would otherwise be found and taken for a new training, and it is the one that the search chose it by.
FIRST_EVALUATION_SEED = 1_000_000
Show = Callable[[int, int], None]  # trainings done, and in all
Item = tuple[str, Architecture, str, int]  # space, architecture, dataset, seed
Side = Literal["queried", "early_stopped"]


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate and its trainings, one an evaluation seed."""

    candidate: Candidate
    trainings: tuple[Trained, ...]

    @property
    def test(self) -> Mean:
        """Test accuracy [%] over evaluation seeds."""
        return mean_of([training.test for training in self.trainings])

    @property
    def validation(self) -> Mean:
        """Validation accuracy [%] over evaluation seeds; of no figures where the recipe keeps no validation images."""
        return mean_of([training.validation for training in self.trainings if training.validation is not None])


def recipe_for(space: str, dataset: str, recipe: str | None) -> str | Recipe:
    """Return what to train by: the recipe asked for, else that of the table's own trainer. `RecipeError` lists the recipes there are."""
    own = can_retrain(space, dataset)
    if recipe is None or (own and recipe == default_recipe(space, dataset)):
        return default_recipe(space, dataset)
    return read_recipe(recipe)


def evaluation_seeds(space: str, dataset: str, recipe: str | Recipe, count: int) -> list[int]:
    """Return `count` seeds to retrain with; those of a table, and no more than it has, where its own trainer is what trains."""
    costed = costed_space_of(space, dataset)
    if isinstance(recipe, str) and isinstance(costed, TabulatedSpace):
        return accuracy.seeds(costed.table, dataset, "test")[:count]
    return list(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + count))


def compare_by_recipe(candidates: Sequence[Candidate], recipe: str | None, count: int, workers: int, show: Show) -> list[Compared]:
    """Return every candidate trained with `count` evaluation seeds, `workers` trainings at a time; what was trained before is not again."""
    recipes = {key: recipe_for(*key, recipe) for key in dict.fromkeys((each.space, each.dataset) for each in candidates)}
    found: dict[Item, Trained] = {}
    wanted: dict[Candidate, list[Item]] = {}
    for each in candidates:
        seeds = evaluation_seeds(each.space, each.dataset, recipes[each.space, each.dataset], count)
        wanted[each] = [(each.space, each.arch, each.dataset, seed) for seed in seeds]
    items = [item for each in candidates for item in wanted[each]]
    for key, chosen in recipes.items():
        of_key = [item for item in items if (item[0], item[2]) == key]
        train(of_key, chosen, workers, found, lambda: show(len(found), len(items)))
    return [Compared(each, tuple(found[item] for item in wanted[each])) for each in candidates]


def train(items: Sequence[Item], recipe: str | Recipe, workers: int, found: dict[Item, Trained], told: Callable[[], None]) -> None:
    """Put the training of every item into `found`, those kept from before first; `told` is called as they are there."""
    for item in items:
        space, arch, dataset, seed = item
        job = job_of(space, arch, dataset, recipe, seed)
        kept = results.read(kept_in(job), job.identity)
        if kept is not None:
            found[item] = kept
    told()
    missing = [item for item in items if item not in found]
    if missing:
        for item, training in map_in_processes(partial(_trained, recipe), missing, min(workers, len(missing))):
            found[item] = training
            told()


def _trained(recipe: str | Recipe, item: Item) -> Trained:
    space, arch, dataset, seed = item
    job = job_of(space, arch, dataset, recipe, seed)
    return run_job(job, kept_in(job))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How what was known of some networks stands to retraining them, over networks; accuracies [%], differences [points].

    `difference` is retrained minus known. Rank correlations are NaN where fewer than three networks, or equal ones, have none. `known` and
    `retrained` are the noise of either's seeds, and `by_seeds` is the share of the variance of differences that it makes.
    """

    side: Side
    difference: Mean
    kendall: float
    spearman: float
    known: Noise | None
    retrained: Noise | None
    by_seeds: float


def retrained_figure(one: Compared, side: Side) -> float:
    """Return what stands beside a known figure: test accuracy beside a queried one; beside an early-stopped one validation, if any."""
    return one.validation.value if side == "early_stopped" and one.validation.count else one.test.value


def known_figure(one: Compared, side: Side) -> float:
    """Return what was known before retraining [%], or NaN."""
    return one.candidate.queried if side == "queried" else one.candidate.early_stopped


def agreements(compared: Sequence[Compared]) -> list[Agreement]:
    """Return how queried, and early-stopped, accuracies of the networks of one dataset agree with retrained ones; none where none is."""
    sides: tuple[Side, ...] = ("queried", "early_stopped")
    return [_agreement(side, chosen) for side in sides if (chosen := [one for one in compared if not math.isnan(known_figure(one, side))])]


def _agreement(side: Side, compared: Sequence[Compared]) -> Agreement:
    known = np.array([known_figure(one, side) for one in compared])
    retrained = np.array([retrained_figure(one, side) for one in compared])
    kendall, spearman = rank_correlations(known, retrained) if len(known) >= FEWEST_RANKED else (math.nan, math.nan)
    of_table = table_noise([one.candidate for one in compared]) if side == "queried" else None
    own = noise_of(_by_seed(compared, side))
    by_seeds = explained_by_seeds(retrained - known, of_table, own) if side == "queried" else math.nan
    return Agreement(side, mean_of(retrained - known), kendall, spearman, of_table, own, by_seeds)


def _by_seed(compared: Sequence[Compared], side: Side) -> NDArray[np.float64]:
    of_validation = side == "early_stopped" and all(one.validation.count for one in compared)
    return np.array([[t.validation if of_validation else t.test for t in one.trainings] for one in compared], np.float64)


def table_noise(candidates: Sequence[Candidate]) -> Noise | None:
    """Return what a seed does to the table's own test accuracies of some networks of one dataset; None where it keeps means only."""
    costed = costed_space_of(candidates[0].space, candidates[0].dataset)
    if not isinstance(costed, TabulatedSpace):
        return None
    dataset = costed.task.dataset
    columns: list[Any] = [
        accuracy.accuracy(costed.table, dataset, "test", seed=seed) for seed in accuracy.seeds(costed.table, dataset, "test")
    ]
    indices = [costed.space.index(candidate.arch) for candidate in candidates]
    return noise_of(np.array([[column[index] for column in columns] for index in indices], np.float64))
