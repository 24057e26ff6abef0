"""What a relaxed search did step by step, thinned to what a picture and a record need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

MOST_ROWS = 200


class History:
    """At most `MOST_ROWS` evenly spaced steps of a search and its last one, each with its figures by name.

    Kept by relaxations: alphas' entropy, loss, expected costs, and what the method noted. Rows are plain values, ready for JSON.
    """

    def __init__(self, total: int, rows: Sequence[Mapping[str, float | None]] = ()):
        """`total` is the number of steps of the whole search; `rows` are those kept before it was interrupted, if it was."""
        self._total = total
        self._stride = max(1, math.ceil(total / MOST_ROWS))
        self._rows = [dict(row) for row in rows]

    def keeps(self, step: int) -> bool:
        """Return whether figures of this step, counted from 0, would be kept: what is dear to compute need not be for the others."""
        return step % self._stride == 0 or step == self._total - 1

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Keep the figures of a step if it is one to be kept; what is no finite number becomes None."""
        if self.keeps(step):
            finite = {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}
            self._rows.append({"step": step} | finite)

    def rows(self) -> list[dict[str, float | None]]:
        """Return the kept steps in order, each as `{"step": ..., figure: value, ...}`."""
        return [dict(row) for row in self._rows]
