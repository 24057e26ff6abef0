"""The history of a relaxed search, step by step, thinned to the size that plots and files need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MOST_ROWS = 200
MOST_STAGES = 25  # fewer than rows, because each holds all alphas
_ALPHA_DIGITS = 5
Alphas = list[list[list[float]]]  # [cell][edge][operation]


class History:
    """The figures of at most `MOST_ROWS` evenly spaced steps of a search and of its last step, by name.

    Relaxations record the loss, the entropy of the alphas, the expected costs and the figures noted by the method; and, at `MOST_STAGES`
    evenly spaced steps and the last one, the alphas. All values can be written as JSON.
    """

    def __init__(self, total: int, rows: Sequence[Mapping[str, float | None]] = (), stages: Sequence[Mapping[str, Any]] = ()):
        """`total` is the number of steps of the whole search; `rows` and `stages` come from before an interruption, if there was one."""
        self._total = total
        self._stride = max(1, math.ceil(total / MOST_ROWS))
        self._stage_stride = max(1, math.ceil(total / MOST_STAGES))
        self._rows = [dict(row) for row in rows]
        self._stages = [dict(stage) for stage in stages]

    def keeps(self, step: int) -> bool:
        """Return whether this step, counted from 0, is recorded. Expensive figures of other steps need not be computed."""
        return step % self._stride == 0 or step == self._total - 1

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Record the figures of a step if `keeps(step)`; NaN and infinity become None."""
        if self.keeps(step):
            finite = {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}
            self._rows.append({"step": step} | finite)

    def rows(self) -> list[dict[str, float | None]]:
        """Return the recorded steps in order, each as `{"step": ..., figure: value, ...}`."""
        return [dict(row) for row in self._rows]

    def keeps_alphas(self, step: int) -> bool:
        """Return whether the alphas of this step, counted from 0, are recorded."""
        return step % self._stage_stride == 0 or step == self._total - 1

    def add_alphas(self, step: int, alphas: Alphas) -> None:
        """Record the alphas after a step, to five digits, if `keeps_alphas(step)`."""
        if self.keeps_alphas(step):
            rounded = [[[float(f"{value:.{_ALPHA_DIGITS}g}") for value in row] for row in cell] for cell in alphas]
            self._stages.append({"step": step, "alphas": rounded})

    def stages(self) -> list[dict[str, Any]]:
        """Return the recorded alphas in order, each as `{"step": ..., "alphas": [cell][edge][operation]}`."""
        return [dict(stage) for stage in self._stages]
