"""The progress of a training, and the figures of each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Epoch:
    """The figures of one epoch.

    Attributes:
        loss: mean training loss. It is not finite if the training diverged.
        accuracy: accuracy [%] on the training images, during training.
        validation: accuracy [%] on the validation images after the epoch; None if it was not measured.
    """

    loss: float
    accuracy: float
    validation: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a training.

    Attributes:
        epoch: finished epochs.
        epochs: all epochs.
        step: finished steps of the current epoch.
        steps: all steps of the current epoch.
        ended: the figures of the epoch that has just ended, if any.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    ended: Epoch | None


Show: TypeAlias = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Show nothing."""
