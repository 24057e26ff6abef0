"""Trains the networks of a run from scratch with several evaluation seeds, by a recipe or by the trainer of their table."""

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

# Evaluation seeds are other numbers than search seeds are, which count from 0: a candidate that a search trained itself, by the same
# recipe, would otherwise be found and taken for a new training, and it is the one that the search chose it by.
FIRST_EVALUATION_SEED = 1_000_000
SEEDS = 3  # by a recipe, unless another number is asked for
Pair = tuple[str, str]  # space, dataset
Item = tuple[str, Architecture, str, int]  # space, architecture, dataset, seed
Show = Callable[[int, int], None]  # trainings done, and in all


@dataclass(frozen=True, slots=True)
class RetrainedCandidate:
    """A candidate and its trainings, one an evaluation seed. No recipe means the table's own trainer."""

    candidate: Candidate
    recipe: Recipe | None
    trainings: tuple[Trained, ...]


def recipes_of(pairs: Iterable[Pair], reference: str | None) -> tuple[dict[Pair, Recipe | None], list[str]]:
    """Return what to train each pair of space and dataset by, and a line for each dataset that is left out.

    Args:
        pairs: spaces and datasets of a run.
        reference: the name of a recipe, or the path of a TOML file. None asks for the trainer of each dataset's table, and so does the
            name of such a dataset on itself.

    Returns:
        The recipe of every pair that can be trained, None for its table's own trainer; and a line for every dataset that is left out,
        because its images are not here or it needs a recipe.

    Raises:
        RecipeError, CannotRetrain, MissingImages: why the first pair cannot be trained, if none can.
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
    """Raise what is wrong with training a space on a dataset without a recipe: there are no images, or a recipe must be named."""
    if dataset not in LOADERS:
        trainer_of(space, dataset)
    default_recipe(space, dataset)


def evaluation_seeds(space: str, dataset: str, recipe: Recipe | None, count: int | None) -> list[int]:
    """Return the seeds to retrain with.

    Args:
        space, dataset: what is trained, and on which images.
        recipe: None for the table's own trainer, which has the table's seeds and no others.
        count: how many seeds, at most as many as a table has. None: all of the table's, or `SEEDS` by a recipe.
    """
    if recipe is None:
        return accuracy.seeds(tabulated_space_of(space, dataset).table, dataset, "test")[:count]
    return list(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + (count or SEEDS)))


def retrain_all(
    candidates: Sequence[Candidate], recipes: Mapping[Pair, Recipe | None], count: int | None, workers: int, show: Show
) -> list[RetrainedCandidate]:
    """Return every candidate trained with its evaluation seeds; what was trained before is kept, and not trained again.

    Args:
        candidates: the networks.
        recipes: what to train each space and dataset by, as `recipes_of` returns it.
        count: evaluation seeds, as in `evaluation_seeds`.
        workers: how many processes train at a time.
        show: called with the trainings that are there and the trainings in all.
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
    """Put the training of every item into `found`, those kept from before first; `advanced` is called when some were added.

    Without a recipe the trainer of the table trains, all seeds of a network at once.
    """
    for item in items:
        job = _job(recipe, item)
        kept = results.read(kept_in(job), job.identity)
        if kept is not None:
            found[item] = kept
    advanced()
    tasks: dict[object, list[Item]] = {}  # each for one process: a training, or all seeds of a network
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
