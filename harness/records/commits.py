"""Finished trials on their way into the file: several in one commit, and each reported when it is safe."""

from __future__ import annotations

import time
from collections.abc import Callable

from budgetnas.harness.records.store import Row, Store

MOST_ROWS = 50
MOST_SECONDS = 1.0


class Commits:
    """Collects rows and writes them, at least every `MOST_ROWS` or every `MOST_SECONDS`, whichever comes first.

    `written` is called for every row after the commit that holds it: what was reported is not lost by a power failure.
    """

    def __init__(self, store: Store, written: Callable[[Row], None], clock: Callable[[], float] = time.monotonic):
        self._store, self._written, self._clock = store, written, clock
        self._rows: list[Row] = []
        self._oldest = 0.0

    def add(self, row: Row) -> None:
        """Take a row; write all of them if they are enough."""
        if not self._rows:
            self._oldest = self._clock()
        self._rows.append(row)
        if len(self._rows) >= MOST_ROWS:
            self.write()

    def seconds_left(self) -> float | None:
        """Return how long the rows may still wait, 0 if they are due; None if there are none."""
        return max(self._oldest + MOST_SECONDS - self._clock(), 0.0) if self._rows else None

    def write_if_due(self) -> None:
        """Write the rows if they have waited long enough."""
        if self.seconds_left() == 0.0:
            self.write()

    def write(self) -> None:
        """Write all rows in one transaction, then report them. If that is interrupted, they are still there to be written."""
        rows = self._rows
        if rows:
            self._store.write_rows(rows)
        self._rows = []
        for row in rows:
            self._written(row)
