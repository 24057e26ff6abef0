"""A whole training by a recipe: of one network, or, if the recipe has `test_on_all`, of a second one on all images for testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.training.device import compute_device, determinism, threads
from budgetnas.harness.training.images.dataset import AnyPart
from budgetnas.harness.training.images.parts import parts_of
from budgetnas.harness.training.progress import Show
from budgetnas.harness.training.recipes.recipe import Recipe
from budgetnas.harness.training.result import Trained
from budgetnas.harness.training.training import Fitted, Training, initial_network
from budgetnas.spaces.space import Buildable

if TYPE_CHECKING:
    from budgetnas.harness.training.job import Announce, Job


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """One network to train, with the identity and path of its checkpoint."""

    train: AnyPart
    validation: AnyPart | None
    test: AnyPart | None
    identity: dict[str, Any]
    path: Path


def fit(job: Job, paths: Sequence[Path], show: Show, announce: Announce | None) -> Trained:
    """Return the result of a job. Each of its networks is trained from its checkpoint on, if there is one.

    Args:
        job: the training.
        paths: the paths of the checkpoints, one per network.
        show: called with the progress after each step and epoch.
        announce: called before training with an estimate of the seconds left.
    """
    recipe = cast(Recipe, job.recipe)
    # The GPU depends on the identity, so that parallel trainings spread over the GPUs even if they have the same seed.
    device = compute_device(int(identity_of(job.identity)[:8], 16))
    stages = _stages(job, recipe, paths)
    with threads(recipe.threads), determinism(recipe.deterministic):
        if announce is not None:
            announce(sum(_begun(job, stage, device).estimated_seconds() for stage in stages))
        fitted: list[Fitted] = []
        for number, stage in enumerate(stages):
            so_far, whole = number * recipe.epochs, len(stages) * recipe.epochs

            def shown(progress: Any, so_far: int = so_far, whole: int = whole) -> None:
                show(replace(progress, epoch=progress.epoch + so_far, epochs=whole))

            fitted.append(_begun(job, stage, device).run(stage.path, stage.identity, shown))
            if fitted[-1].diverged:
                break
    return _joined(job, recipe, device, fitted)


def _stages(job: Job, recipe: Recipe, paths: Sequence[Path]) -> list[_Stage]:
    parts = parts_of(job.dataset, recipe)
    if parts.everything is None:
        return [_Stage(parts.train, parts.validation, parts.test, {**job.identity, "network": "one"}, paths[0])]
    return [
        _Stage(parts.train, parts.validation, None, {**job.identity, "network": "validated"}, paths[0]),
        _Stage(parts.everything, None, parts.test, {**job.identity, "network": "tested"}, paths[1]),
    ]


def _begun(job: Job, stage: _Stage, device: torch.device) -> Training:
    recipe = cast(Recipe, job.recipe)
    network = initial_network(cast(Buildable, job.space), job.arch, job.task, recipe, job.seed)
    training = Training(network, job.task, job.dataset, stage.train, stage.validation, stage.test, recipe, job.seed, device)
    training.resume(stage.path, stage.identity)
    return training


def _joined(job: Job, recipe: Recipe, device: torch.device, fitted: Sequence[Fitted]) -> Trained:
    diverged = fitted[-1].diverged
    tested = fitted[-1].test
    return Trained(
        identity=job.identity,
        validation=fitted[0].validation,
        test=job.task.chance if tested is None else tested,
        epochs=tuple(epoch for one in fitted for epoch in one.epochs),
        seconds=sum(one.seconds for one in fitted),
        peak_memory_bytes=max(one.peak_memory_bytes for one in fitted),
        diverged=diverged,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=recipe.threads,
        torch=torch.__version__,
    )
