"""Trains a network from scratch, by a recipe or by the trainer of a table, unless the result exists already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

from budgetnas.harness.training import result as results
from budgetnas.harness.training.job import Announce, CannotRetrain, Job, Retrained, Trainer, job_of, kept_in, trainer_of
from budgetnas.harness.training.progress import Show, silent
from budgetnas.harness.training.recipes.recipe import Recipe
from budgetnas.harness.training.result import Trained
from budgetnas.spaces.files import exclusive, remove_leftovers
from budgetnas.spaces.space import Architecture, Enumerable

CHECKPOINTS = ("checkpoint.pt", "checkpoint-all.pt")


def run_job(job: Job, folder: Path, show: Show = silent, announce: Announce | None = None, keep: bool = False) -> Trained:
    """Return the result of a training. It is read from `folder`, or trained, from the checkpoint there if there is one.

    Args:
        job: the training.
        folder: the folder of its result and checkpoints.
        show: called with the progress after each step and epoch.
        announce: called before training with an estimate of the seconds left.
        keep: keep the checkpoint, which has the weights, after the training.

    Raises:
        BadResult: the result in the folder is damaged or belongs to another training.
        BadCheckpoint: the same for a checkpoint.
        CannotRetrain: the folder cannot be written.
    """
    with _alone(folder):
        found = results.read(folder, job.identity)
        if found is None:
            found = _by_recipe(job, folder, show, announce) if job.recipe else _by_table(job)
            results.write(folder, found)
        if not keep:
            for name in CHECKPOINTS:
                (folder / name).unlink(missing_ok=True)
        return found


def _by_recipe(job: Job, folder: Path, show: Show, announce: Announce | None) -> Trained:
    from budgetnas.harness.training.stages import fit

    return fit(job, [folder / name for name in CHECKPOINTS], show, announce)


def run_with_every_seed(jobs: Sequence[Job]) -> list[Trained]:
    """Return the results of trainings of one network by its table's own trainer, each in the folder that keeps it.

    If any is missing, the trainer trains all of the table's seeds at once, which takes hardly longer than one.
    """
    folders = {job.seed: kept_in(job) for job in jobs}
    with ExitStack() as stack:
        for folder in sorted(folders.values()):
            stack.enter_context(_alone(folder))
        found = {job.seed: kept for job in jobs if (kept := results.read(folders[job.seed], job.identity)) is not None}
        missing = [job for job in jobs if job.seed not in found]
        trained = {one.seed: one for one in _trainer(missing[0]).retrain(_index(missing[0]))} if missing else {}
        for job in missing:
            found[job.seed] = _result_of(job, trained[job.seed])
            results.write(folders[job.seed], found[job.seed])
        return [found[job.seed] for job in jobs]


def _by_table(job: Job) -> Trained:
    return _result_of(job, _trainer(job).retrain_seed(_index(job), job.seed))


def _trainer(job: Job) -> Trainer:
    return trainer_of(job.space.name, job.task.dataset)


def _index(job: Job) -> int:
    return cast(Enumerable, job.space).index(job.arch)


def _result_of(job: Job, trained: Retrained) -> Trained:
    import torch

    from budgetnas.harness.training.device import peak_memory_bytes

    return Trained(
        identity=job.identity,
        validation=trained.validation,
        test=trained.test,
        epochs=(),
        seconds=trained.seconds,
        peak_memory_bytes=peak_memory_bytes(torch.device("cpu")),
        diverged=False,
        device="cpu",
        threads=1,
        torch=torch.__version__,
    )


def retrain(
    space_name: str,
    arch: Architecture,
    dataset: str,
    recipe: str | Recipe,
    seed: int,
    folder: Path | None = None,
    show: Show = silent,
    images: Path | None = None,
) -> Trained:
    """Return the result of training a network from scratch, or the kept result of the same training.

    If several processes ask for the same training, one trains and the others wait.

    Args:
        space_name: the space, with its parameters.
        arch: the architecture.
        dataset: the dataset.
        recipe: a recipe, its name, or the path of its file.
        seed: the seed.
        folder: the folder of all results, kept by identity; by default `trained` in the data folder.
        show: called with the progress after each step and epoch.
        images: the folder of image datasets.

    Raises:
        ValueError: one of its subclasses, as in `job_of` and `run_job`.
    """
    job = job_of(space_name, arch, dataset, recipe, seed, images)
    return run_job(job, kept_in(job, folder), show)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a folder, and let one process at a time work in it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder / ".lock", wait=True))
        except OSError as error:
            raise CannotRetrain(f"cannot write into {folder}: {error.strerror}; choose another folder with --out") from None
        remove_leftovers(folder)
        yield
