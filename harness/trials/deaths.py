"""Trials whose process died from outside: they are tried again after a pause.

The out-of-memory killer or an operator ends a process with a signal. That is not a result of the method, so it makes no record,
unless a user's method dies every time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from budgetnas.harness.records.trial import Trial

MOST_DEATHS = 3  # of one trial
PAUSES_SECONDS = (0.5, 2.0)  # before the second and the third try: memory that others hold may be free again


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A trial without a record, whose process died `MOST_DEATHS` times, and how it died the last time."""

    trial: Trial
    cause: str


class Deaths:
    """Counts the deaths of each trial and keeps those that wait for their next try."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._waiting: list[tuple[float, Trial]] = []  # when it may run again

    def try_again(self, trial: Trial) -> bool:
        """Count a death. Return whether the trial is tried again, after a pause; False after `MOST_DEATHS`."""
        self._counts[trial.identity] += 1
        deaths = self._counts[trial.identity]
        if deaths >= MOST_DEATHS:
            return False
        self._waiting.append((self._clock() + PAUSES_SECONDS[deaths - 1], trial))
        return True

    def ready(self) -> list[Trial]:
        """Return the trials whose pause is over; they wait no longer."""
        now = self._clock()
        found = [trial for when, trial in self._waiting if when <= now]
        self._waiting = [(when, trial) for when, trial in self._waiting if when > now]
        return found

    def seconds_left(self) -> float | None:
        """Return how long the next trial has to wait; None if none waits."""
        return max(min(when for when, _ in self._waiting) - self._clock(), 0.0) if self._waiting else None


def summary(unfinished: list[Unfinished]) -> str:
    """Return a line about the trials without a record."""
    named = "; ".join(f"{each.trial.method} on {each.trial.dataset}, seed {each.trial.seed}: {each.cause}" for each in unfinished[:3])
    more = f"; and {len(unfinished) - 3} more" if len(unfinished) > 3 else ""
    return (
        f"{len(unfinished)} trials have no record, since their process died {MOST_DEATHS} times ({named}{more}); "
        "free memory or use fewer --workers, and run the same command again"
    )
