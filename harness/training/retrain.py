"""Trains a network from scratch, unless it has been trained: by a recipe, or exactly as the builder of a table did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

from budgetnas.harness.training import result as results
from budgetnas.harness.training.job import Announce, CannotRetrain, Job, job_of, kept_in, trainer_of
from budgetnas.harness.training.progress import Show, silent
from budgetnas.harness.training.recipes.recipe import Recipe
from budgetnas.harness.training.result import Trained
from budgetnas.spaces.files import exclusive, remove_leftovers
from budgetnas.spaces.space import Architecture, Enumerable

CHECKPOINTS = ("checkpoint.pt", "checkpoint-all.pt")


def run_job(job: Job, folder: Path, show: Show = silent, announce: Announce | None = None, keep: bool = False) -> Trained:
    """Return the result of a training in `folder`, trained now if it is not there, from its checkpoint on if there is one.

    `announce` receives an estimate of the seconds left before anything is trained. With `keep` the checkpoint, which holds the weights,
    stays. Raises `BadResult` or `BadCheckpoint` if the folder holds something damaged or of another training.
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


def _by_table(job: Job) -> Trained:
    trainer = trainer_of(job.space.name, job.task.dataset)
    found = trainer.retrain_seed(cast(Enumerable, job.space).index(job.arch), job.seed)
    import torch

    from budgetnas.harness.training.device import peak_memory_bytes

    return Trained(
        identity=job.identity,
        validation=found.validation,
        test=found.test,
        epochs=(),
        seconds=found.seconds,
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
    """Return what a network reaches, trained from scratch unless it has been: results are kept by identity in `folder`.

    By default that is `trained` in the data home. Processes that ask for the same training wait for the one that does it.
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
