"""What a training says of itself while it runs, and what is kept of each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch: mean training loss, accuracy [%] on the training images while they were trained on, and on the validation images.

    `validation` is None where it was not measured. The loss is not finite if the training diverged.
    """

    loss: float
    accuracy: float
    validation: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is: whole epochs of all, steps of the present epoch of all of it, and the epoch that has just ended, if any."""

    epoch: int
    epochs: int
    step: int
    steps: int
    ended: Epoch | None


Show: TypeAlias = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Show nothing."""
