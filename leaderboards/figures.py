"""Pictures: accuracy against cost on a board, and average ranks with what the tests cannot tell apart. Equal input gives equal bytes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetnas.leaderboards.boards import Board
from budgetnas.leaderboards.pareto import attainment_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

# Paul Tol's "bright" colours without the grey and the yellow: told apart with any common colour blindness, and dark enough on white.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#BB5500")
CLOUD, FRONT, LIMIT = "#B8B8B8", "#111111", "#777777"
COLUMNS = 3
DOTS_PER_INCH = 110
# A cost range wider than this factor is drawn on a logarithmic axis.
LOGARITHMIC_FROM = 15.0


@contextmanager
def _plain_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever the user's settings are."""
    import matplotlib

    settings = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith(("backend", "interactive", "toolbar"))}
    with matplotlib.rc_context(settings | {"font.size": 11.0, "svg.hashsalt": "budgetnas"}), warnings.catch_warnings():
        # A method's name may hold a letter that the bundled font lacks: an empty box is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _save(figure: Figure, path: Path) -> None:
    # matplotlib would write its own version into the file: no bytes may depend on it.
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None}, facecolor="white")


def _quality_window(board: Board, points: Floats) -> tuple[float, float]:
    """Return the accuracies [%] to show: everything that the front and the recommendations reach, and no more of the cloud than helps."""
    highest = float(board.front[:, 1].max())
    shown = board.front[:, 1] if not len(points) else np.concatenate([board.front[:, 1], points[:, 1]])
    # The front's cheapest cells and a search's worst runs may lie far down; a tenth of the points may leave the picture.
    lowest = float(np.quantile(shown, 0.1))
    margin = max(0.05 * (highest - lowest), 0.5)
    return lowest - 3 * margin, highest + margin


def _staircase(front: Floats, left: float, right: float, bottom: float) -> tuple[Floats, Floats]:
    """Return the corners of the best accuracy reached at each cost from `left` to `right`; `bottom` where nothing is reached."""
    cost = np.concatenate([[left], front[:, 0], [right]])
    quality = np.concatenate([[bottom], front[:, 1], [front[-1, 1] if len(front) else bottom]])
    return cost, quality


def _attainment(axes: Axes, board: Board, runs: Sequence[Floats], colour: str) -> None:
    """Draw the median attainment front and the band between the fronts that a quarter and three quarters of the runs attain."""
    points = np.concatenate([*runs, np.empty((0, 2))])
    labels = np.concatenate([np.full(len(run), index) for index, run in enumerate(runs)] or [np.empty(0)])
    quarter, half, most = attainment_levels(points, labels, len(runs))
    (left, right), (bottom, _) = axes.get_xlim(), axes.get_ylim()
    if len(runs) > 1:
        grid = np.unique(np.concatenate([[left, right], quarter[:, 0], most[:, 0]]))
        edges = [_at(front, grid, bottom) for front in (most, quarter)]
        axes.fill_between(grid, *edges, step="post", color=colour, alpha=0.3, linewidth=0, zorder=2)
    if len(half):
        axes.step(*_staircase(half, left, right, bottom), where="post", color=colour, linewidth=1.8, zorder=4)
    # A wide white rim keeps the points legible on the cloud and on each other.
    axes.scatter(points[:, 0], points[:, 1], s=16, color=colour, alpha=0.75, edgecolors="white", linewidths=0.4, zorder=5)


def _at(front: Floats, cost: Floats, bottom: float) -> Floats:
    """Return the accuracy [%] that a front reaches at each cost; `bottom` below its cheapest point."""
    position = np.searchsorted(front[:, 0], cost, side="right")
    reached: Floats = np.concatenate([[bottom], front[:, 1]])[position]
    return reached


def _background(axes: Axes, board: Board) -> None:
    axes.scatter(board.cloud[:, 0], board.cloud[:, 1], s=2, color=CLOUD, alpha=0.35, linewidths=0, rasterized=True, zorder=1)
    for problem in board.problems:
        for limit in problem.limits:
            for bound in (limit.lower, limit.upper):
                if limit.resource == board.resource and 0.0 < bound < math.inf:
                    axes.axvline(bound, color=LIMIT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=2)
    left, right = axes.get_xlim()
    axes.step(*_staircase(board.front, left, right, axes.get_ylim()[0]), where="post", color=FRONT, linewidth=1.1, zorder=3)


def _frame(axes: Axes, board: Board, window: tuple[float, float]) -> None:
    smallest, largest = float(board.cloud[:, 0].min()), float(board.cloud[:, 0].max())
    if smallest > 0 and largest / smallest > LOGARITHMIC_FROM:
        axes.set_xscale("log")
        axes.set_xlim(smallest / 1.05, largest * 1.05)
    else:
        margin = 0.03 * max(largest - smallest, 1e-12)
        axes.set_xlim(smallest - margin, largest + margin)
    axes.set_ylim(*window)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=CLOUD, marker="o", markersize=4, linestyle="none", label="a cell"),
        Line2D([], [], color=FRONT, linewidth=1.1, label="exact front"),
        Line2D([], [], color=LIMIT, linewidth=0.8, linestyle=(0, (2, 2)), label="limit"),
        Line2D([], [], color=COLOURS[0], marker="o", markersize=4, linestyle="none", label="recommended"),
        Line2D([], [], color=COLOURS[0], linewidth=1.8, label="attained by half of the runs"),
        Patch(facecolor=COLOURS[0], alpha=0.3, label="by a quarter to three quarters"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10.5, handlelength=1.6, columnspacing=1.6)


def board_picture(board: Board, recommendations: dict[str, list[Floats]], path: Path) -> float:
    """Return the lowest accuracy [%] shown, having written the board's picture: one panel a method on shared axes, in the order given.

    PNG, 1,100 pixels wide.
    `recommendations` holds, for each method, one array a run of shape (n, 2): (cost, test accuracy [%]) of its feasible recommendations.
    """
    from matplotlib.figure import Figure as NewFigure

    columns = min(COLUMNS, max(1, len(recommendations)))
    rows = max(1, math.ceil(len(recommendations) / columns))
    with _plain_style():
        figure = NewFigure(figsize=(10.0, 0.9 + 2.9 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        every = np.concatenate([np.empty((0, 2)), *(run for runs in recommendations.values() for run in runs)])
        window = _quality_window(board, every)
        for axes in panels.flat:
            _frame(axes, board, window)
        for index, (method, runs) in enumerate(recommendations.items()):
            axes = panels.flat[index]
            _background(axes, board)
            _attainment(axes, board, runs, COLOURS[index % len(COLOURS)])
            axes.set_title(method, fontsize=12, loc="left", color=COLOURS[index % len(COLOURS)], weight="bold", parse_math=False)
        for axes in panels.flat[len(recommendations) :]:
            axes.set_visible(False)
        figure.supxlabel(f"{board.resource.removesuffix('_' + board.unit).replace('_', ' ')} on {board.device or 'any device'} [{board.unit}]", fontsize=11)
        figure.supylabel(f"test accuracy on {board.dataset} [%]", fontsize=11)
        _legend(figure)
        _save(figure, path)
    return window[0]


def rank_picture(average_ranks: pd.Series, p_values: pd.DataFrame, path: Path) -> None:
    """Write a critical-difference picture: methods at their average rank, a bar across those that the tests cannot tell apart.

    `average_ranks` is indexed by method, `p_values` is its square table of adjusted p-values. PNG.
    """
    from matplotlib.figure import Figure as NewFigure
    from scikit_posthocs import critical_difference_diagram

    with _plain_style():
        figure = NewFigure(figsize=(8.0, 0.9 + 0.32 * len(average_ranks)), layout="constrained")
        axes = figure.subplots()
        # The library writes labels as given; a dollar sign would start a formula.
        names = {name: str(name).replace("$", r"\$") for name in average_ranks.index}
        table = p_values.rename(index=names, columns=names)
        critical_difference_diagram(average_ranks.rename(index=names), table, ax=axes, label_fmt_left="{label} ({rank:.2f})", label_fmt_right="({rank:.2f}) {label}")
        _save(figure, path)
