"""Trains the networks of a run from scratch with several evaluation seeds, with a recipe or with the trainer of their table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from budgetnas.harness.comparison.candidates import Candidate
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.processes.parallel import map_in_processes
from budgetnas.harness.training import result as results
from budgetnas.harness.training.images.dataset import MissingImages
from budgetnas.harness.training.images.load import LOADERS, load
from budgetnas.harness.training.job import CannotRetrain, Job, can_retrain, default_recipe, job_of, kept_in, trainer_of
from budgetnas.harness.training.recipes.recipe import Recipe, RecipeError, read_recipe
from budgetnas.harness.training.result import Trained
from budgetnas.harness.training.retrain import run_job, run_with_every_seed
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.tables import accuracy
from budgetnas.spaces.task import task_of

# Seeds used for selection are never used for evaluation. Search seeds count from 0. With the same seed and recipe, a network that a
# search has trained itself would be found among the kept trainings, and the accuracy that it was chosen by would count as a new one.
FIRST_EVALUATION_SEED = 1_000_000
SEEDS = 3  # with a recipe, by default
Pair = tuple[str, str]  # space, dataset
Item = tuple[str, Architecture, str, int]  # space, architecture, dataset, seed
Show = Callable[[int, int], None]  # trainings done, trainings in total


@dataclass(frozen=True, slots=True)
class RetrainedCandidate:
    """A candidate and its trainings, one for each evaluation seed. `recipe` is None for the trainer of the table."""

    candidate: Candidate
    recipe: Recipe | None
    trainings: tuple[Trained, ...]


def recipes_of(pairs: Iterable[Pair], reference: str | None) -> tuple[dict[Pair, Recipe | None], list[str]]:
    """Return the recipe of each pair of space and dataset, and a line for each dataset that is left out.

    Args:
        pairs: the pairs of a run.
        reference: the name of a recipe, or the path of a TOML file. With None, each dataset's table provides the trainer. A dataset that
            has such a trainer also uses it if its default recipe is named.

    Returns:
        The recipe of every pair that can be trained, None for the trainer of its table; and a line for every dataset that is left out
        because its images are missing or it needs a recipe.

    Raises:
        RecipeError, CannotRetrain, MissingImages: no pair can be trained; the message gives the reason for the first one.
    """
    wanted = sorted(set(pairs))
    own = [pair for pair in wanted if can_retrain(*pair) and reference in (None, default_recipe(*pair))]
    given = read_recipe(reference) if reference is not None and len(own) < len(wanted) else None
    found: dict[Pair, Recipe | None] = {}
    errors: dict[str, ValueError] = {}
    for pair in wanted:
        try:
            if pair not in own and given is None:
                _refuse(*pair)
            load(task_of(pair[1]))
            found[pair] = None if pair in own else given
        except (RecipeError, CannotRetrain, MissingImages) as error:
            errors[pair[1]] = error
    if not found:
        raise next(iter(errors.values()))
    return found, [f"{dataset} is left out: {error}" for dataset, error in errors.items()]


def _refuse(space: str, dataset: str) -> None:
    """Raise the error for a space and dataset without a recipe: the dataset has no images, or a recipe must be named."""
    if dataset not in LOADERS:
        trainer_of(space, dataset)
    default_recipe(space, dataset)


def evaluation_seeds(space: str, dataset: str, recipe: Recipe | None, count: int | None) -> list[int]:
    """Return the seeds to retrain with.

    Args:
        space, dataset: the space of the networks, and the dataset they are trained on.
        recipe: None for the trainer of the table, which accepts the table's seeds only.
        count: number of seeds, limited to those of the table without a recipe. None: all seeds of the table, or `SEEDS` with a recipe.
    """
    if recipe is None:
        return accuracy.seeds(tabulated_space_of(space, dataset).table, dataset, "test")[:count]
    return list(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + (count or SEEDS)))


def retrain_all(
    candidates: Sequence[Candidate], recipes: Mapping[Pair, Recipe | None], count: int | None, workers: int, show: Show
) -> list[RetrainedCandidate]:
    """Return every candidate with its trainings, one for each evaluation seed. Kept trainings are read and not repeated.

    Args:
        candidates: the networks.
        recipes: the recipe of each space and dataset, from `recipes_of`.
        count: number of evaluation seeds, as in `evaluation_seeds`.
        workers: number of processes that train.
        show: called with the numbers of finished trainings and of all trainings.
    """
    seeds = {pair: evaluation_seeds(*pair, recipe, count) for pair, recipe in recipes.items()}
    wanted = [[(each.space, each.arch, each.dataset, seed) for seed in seeds[each.space, each.dataset]] for each in candidates]
    found: dict[Item, Trained] = {}
    in_all = sum(map(len, wanted))
    show(0, in_all)
    for pair, recipe in recipes.items():
        items = [item for of_candidate in wanted for item in of_candidate if (item[0], item[2]) == pair]
        train(items, recipe, workers, found, lambda: show(len(found), in_all))
    return [
        RetrainedCandidate(each, recipes[each.space, each.dataset], tuple(found[item] for item in items))
        for each, items in zip(candidates, wanted, strict=True)
    ]


def train(items: Sequence[Item], recipe: Recipe | None, workers: int, found: dict[Item, Trained], advanced: Callable[[], None]) -> None:
    """Add the training of every item to `found`: first the kept ones, then new ones. `advanced` is called after each addition.

    Without a recipe the trainer of the table trains all seeds of a network at once.
    """
    for item in items:
        job = _job(recipe, item)
        kept = results.read(kept_in(job), job.identity)
        if kept is not None:
            found[item] = kept
    advanced()
    tasks: dict[object, list[Item]] = {}  # one process each: a training, or all seeds of a network
    for item in items:
        if item not in found:
            tasks.setdefault(item if recipe else item[:3], []).append(item)
    if tasks:
        for task, trained in map_in_processes(partial(_trained, recipe), list(tasks.values()), min(workers, len(tasks))):
            found.update(zip(task, trained, strict=True))
            advanced()


def _trained(recipe: Recipe | None, items: Sequence[Item]) -> list[Trained]:
    jobs = [_job(recipe, item) for item in items]
    return [run_job(job, kept_in(job)) for job in jobs] if recipe else run_with_every_seed(jobs)


def _job(recipe: Recipe | None, item: Item) -> Job:
    space, arch, dataset, seed = item
    return job_of(space, arch, dataset, recipe or default_recipe(space, dataset), seed)
