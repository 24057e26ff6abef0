"""What a relaxed search did step by step, thinned to what a picture and a record need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MOST_ROWS = 200
MOST_STAGES = 25  # of the alphas, which are many
_ALPHA_DIGITS = 5
Alphas = list[list[list[float]]]  # a searched cell, an edge, an operation


class History:
    """At most `MOST_ROWS` evenly spaced steps of a search and its last one, each with its figures by name.

    Kept by relaxations: alphas' entropy, loss, expected costs, and what the method noted; the alphas themselves at `MOST_STAGES` of them.
    Rows are plain values, ready for JSON.
    """

    def __init__(self, total: int, rows: Sequence[Mapping[str, float | None]] = (), stages: Sequence[Mapping[str, Any]] = ()):
        """`total` is the number of steps of the whole search; `rows` and `stages` were kept before it was interrupted, if it was."""
        self._total = total
        self._stride = max(1, math.ceil(total / MOST_ROWS))
        self._stage_stride = max(1, math.ceil(total / MOST_STAGES))
        self._rows = [dict(row) for row in rows]
        self._stages = [dict(stage) for stage in stages]

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

    def keeps_alphas(self, step: int) -> bool:
        """Return whether the alphas of this step, counted from 0, would be kept."""
        return step % self._stage_stride == 0 or step == self._total - 1

    def add_alphas(self, step: int, alphas: Alphas) -> None:
        """Keep the alphas after a step, to five digits, if it is one to keep them of."""
        if self.keeps_alphas(step):
            rounded = [[[float(f"{value:.{_ALPHA_DIGITS}g}") for value in row] for row in cell] for cell in alphas]
            self._stages.append({"step": step, "alphas": rounded})

    def stages(self) -> list[dict[str, Any]]:
        """Return the kept alphas in order, each as `{"step": ..., "alphas": [cell][edge][operation]}`."""
        return [dict(stage) for stage in self._stages]
