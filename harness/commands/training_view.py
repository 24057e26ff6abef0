"""Shows a training on standard error: the estimated time, a bar with the time left, and the figures of each epoch."""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING

from budgetnas.harness.commands.progress import Amount, progress_of

if TYPE_CHECKING:
    from budgetnas.harness.training.job import Job
    from budgetnas.harness.training.progress import Progress


class TrainingView:
    """A context that shows a training; pass `announce` and `show` to the job. Without a terminal each epoch is a line instead of a bar."""

    def __init__(self, job: Job):
        from rich.console import Console

        self._job = job
        self._console = Console(stderr=True, highlight=False)
        self._terminal = self._console.is_terminal
        self._bar = progress_of(self._console, Amount.SHARE, drawn=self._terminal, transient=True)
        self._task = self._bar.add_task("training", total=1.0, text="")

    def __enter__(self) -> TrainingView:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def announce(self, seconds: float) -> None:
        """Print about how long the training will take."""
        recipe, name = self._job.recipe, ""
        if recipe is not None:
            networks = "twice, the second network on all images, " if recipe.validation_on(self._job.task.dataset).test_on_all else ""
            name = f"recipe {recipe.name}, {networks}{recipe.epochs} epochs of batches of {recipe.batch}: "
        self._console.print(f"{name}about {duration(seconds)} left, measured on a few steps", soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Move the bar, and show the figures of an epoch when it ends."""
        within = 0.0 if progress.ended else progress.step / progress.steps
        self._bar.update(self._task, completed=(progress.epoch + within) / progress.epochs)
        ended = progress.ended
        if ended is None:
            return
        validation = "" if ended.validation is None else f", validation {ended.validation:.2f} %"
        line = f"epoch {progress.epoch} of {progress.epochs}: loss {ended.loss:.4f}, training {ended.accuracy:.2f} %{validation}"
        self._bar.update(self._task, description=line) if self._terminal else self._console.print(line, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a duration as text, rounded to the precision of an estimate.

    >>> duration(4.2), duration(90), duration(7300), duration(200_000)
    ('5 s', '2 min', '2.0 h', '2.3 days')
    """
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
