"""Writes the rows of finished trials in batches, and reports each row after its commit."""

from __future__ import annotations

import time
from collections.abc import Callable

from budgetnas.harness.records.store import Row, Store

MOST_ROWS = 50
MOST_SECONDS = 1.0


class Commits:
    """Collects rows and writes them after `MOST_ROWS` rows or `MOST_SECONDS` seconds, whichever comes first.

    `written` is called for every row after its commit, so a power failure cannot lose a reported row.
    """

    def __init__(self, store: Store, written: Callable[[Row], None], clock: Callable[[], float] = time.monotonic):
        self._store, self._written, self._clock = store, written, clock
        self._rows: list[Row] = []
        self._oldest = 0.0

    def add(self, row: Row) -> None:
        """Add a row; write all rows if there are `MOST_ROWS`."""
        if not self._rows:
            self._oldest = self._clock()
        self._rows.append(row)
        if len(self._rows) >= MOST_ROWS:
            self.write()

    def seconds_left(self) -> float | None:
        """Return how many seconds the rows may still wait: 0 if they are due, None if there are no rows."""
        return max(self._oldest + MOST_SECONDS - self._clock(), 0.0) if self._rows else None

    def write_if_due(self) -> None:
        """Write the rows if they have waited long enough."""
        if self.seconds_left() == 0.0:
            self.write()

    def write(self) -> None:
        """Write all rows in one transaction, then report them. If the transaction fails, the rows are kept for the next call."""
        rows = self._rows
        if rows:
            self._store.write_rows(rows)
        self._rows = []
        for row in rows:
            self._written(row)
