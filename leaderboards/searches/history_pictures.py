"""Pictures of search histories: loss, entropy and expected costs step by step, as median and range over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budgetnas.leaderboards.shared.drawing import COLOURS, DASHED, INK, LIMIT, plain_style, save, tidy

Steps = Sequence[Mapping[str, float | None]]
Floats = NDArray[np.float64]
COLUMNS = 3
LABELS = {
    "loss": "validation loss", "training_loss": "training loss", "entropy": "entropy of the alphas [nats]",
    "expected_latency_ms": "expected latency [ms]", "expected_energy_mj": "expected energy [mJ]", "expected_params": "expected parameters",
    "expected_macs": "expected MACs", "expected_cycles": "expected cycles",
}  # fmt: skip


def over_seeds(histories: Sequence[Steps], figure: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the steps, and the median, lowest and highest value of a figure over seeds at each step, (steps,) each.

    Steps at which no history has the figure are left out. All histories of a study have the same steps, up to the end of each search.
    """
    values: dict[int, list[float]] = {}
    for steps in histories:
        for row in steps:
            value = row.get(figure)
            if value is not None and not math.isnan(value):
                values.setdefault(int(row["step"] or 0), []).append(value)
    kept = sorted(values)
    summaries = [[float(of(values[step])) for step in kept] for of in (np.median, min, max)]
    return np.array(kept, np.float64), *(np.array(each, np.float64) for each in summaries)  # type: ignore[return-value]


def figures_of(histories: Sequence[Steps], resources: Sequence[str]) -> list[str]:
    """Return the figures to draw: losses, entropy, and expected costs of the limited resources, if the histories have them."""
    known = {name for steps in histories for row in steps for name, value in row.items() if value is not None}
    return [name for name in ("loss", "training_loss", "entropy", *(f"expected_{resource}" for resource in resources)) if name in known]


def history_picture(
    by_problem: Mapping[str, Sequence[Steps]], figures: Sequence[str], bounds: Mapping[str, Sequence[float]], title: str, path: Path
) -> None:
    """Write the picture of histories: one panel per figure, with the median over the searches of each problem, and their range as a band.

    Args:
        by_problem: the histories of each problem.
        figures: the figures to draw.
        bounds: the limits by resource; they are dashed lines in the panel of the expected cost.
        title: the title.
        path: the file.
    """
    from matplotlib.figure import Figure

    columns = min(COLUMNS, max(1, len(figures)))
    rows = max(1, -(-len(figures) // columns))
    with plain_style():
        canvas = Figure(figsize=(10.0, 1.0 + 2.7 * rows), layout="constrained")
        grid = canvas.subplots(rows, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(figures):
                axes.set_visible(False)
                continue
            name = figures[index]
            for place, histories in enumerate(by_problem.values()):
                steps, median, low, high = over_seeds(histories, name)
                colour = COLOURS[place % len(COLOURS)]
                axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                axes.plot(steps, median, color=colour, linewidth=1.5)
            for bound in bounds.get(name.removeprefix("expected_"), ()):
                axes.axhline(bound, color=LIMIT, linewidth=0.8, linestyle=DASHED)
            axes.set_title(LABELS.get(name, name.replace("_", " ")), fontsize=11.0, loc="left", color=INK)
            axes.set_xlabel("step")
            axes.ticklabel_format(axis="y", useOffset=False)
            tidy(axes)
        canvas.suptitle(title, fontsize=11.5, weight="bold", color=INK, x=0.01, ha="left", parse_math=False)
        _legend(canvas, list(by_problem))
        save(canvas, path, sparse=True)


def _legend(canvas: Any, problems: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLOURS[place % len(COLOURS)], linewidth=1.8, label=name) for place, name in enumerate(problems)]
    canvas.legend(handles=handles, loc="outside lower center", ncols=min(3, max(len(handles), 1)), frameon=False, fontsize=10.0)
