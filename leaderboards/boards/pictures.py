"""Pictures of accuracy against cost on a board, and of average ranks with the results of tests. Equal input gives equal bytes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetnas.leaderboards.boards.context import Board
from budgetnas.leaderboards.shared.drawing import CLOUD, DASHED, FRONT, INK, LIMIT, colours, plain_style, save, tidy
from budgetnas.leaderboards.shared.pareto import attainment_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

COLUMNS = 3
# Costs that differ by more than this factor have a logarithmic axis.
LOGARITHMIC_FROM = 15.0
_TITLE_LETTERS = 30  # letters in a line of a panel's title


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a board in a picture: costs in the board's unit, accuracies in percent."""

    left: float
    right: float
    bottom: float
    top: float
    logarithmic: bool

    def hides(self, points: Floats) -> int:
        """Return the number of `points`, (n, 2), outside of the window."""
        cost, quality = points[:, 0], points[:, 1]
        return int(np.count_nonzero((cost < self.left) | (cost > self.right) | (quality < self.bottom) | (quality > self.top)))


def window(board: Board, points: Floats) -> Window:
    """Return the part of the board to show: the front, most recommendations, and only the part of the cloud near them.

    Args:
        board: the board. The picture ends soon after its loosest limit, because no network beyond it is feasible.
        points: all recommendations, (n, 2).
    """
    reference, _ = board.hypervolume_reference
    left, largest = float(board.cloud[:, 0].min()), float(board.cloud[:, 0].max())
    # If no cell keeps any limit, the whole board is shown.
    right = min(largest, reference + 0.25 * (reference - left)) if reference >= float(board.front[:, 0].min()) else largest
    logarithmic = left > 0.0 and right / left > LOGARITHMIC_FROM
    reach = board.front[board.front[:, 0] <= right]
    highest = float(reach[:, 1].max())
    # The cheapest cells of the front and the worst runs may have very low accuracies, so a tenth of the points may be outside.
    lowest = float(np.quantile(np.concatenate([reach[:, 1], points[:, 1]]), 0.1))
    margin = max(0.05 * (highest - lowest), 0.3)
    side = 0.0 if logarithmic else 0.03 * max(right - left, 1e-12)
    return Window(left - side if not logarithmic else left / 1.05, right + side, lowest - 3 * margin, highest + margin, logarithmic)


def _staircase(front: Floats, right: float, bottom: float) -> tuple[Floats, Floats]:
    """Return the corners of the step line of the best accuracy at each cost, from `bottom` at the cheapest point up to the cost `right`."""
    seen = front[front[:, 0] <= right]
    if not len(seen):
        return np.empty(0), np.empty(0)
    cost = np.concatenate([seen[:1, 0], seen[:, 0], [right]])
    quality = np.concatenate([[bottom], seen[:, 1], seen[-1:, 1]])
    return cost, quality


def _attainment(axes: Axes, runs: Sequence[Floats], colour: str) -> None:
    """Draw the median attainment front, and the band between the fronts that a quarter and three quarters of the runs attain."""
    points = np.concatenate([*runs, np.empty((0, 2))])
    labels = np.concatenate([np.full(len(run), index) for index, run in enumerate(runs)] or [np.empty(0)])
    quarter, half, most = attainment_levels(points, labels, len(runs))
    (left, right), (bottom, _) = axes.get_xlim(), axes.get_ylim()
    if len(runs) > 1:
        grid = np.unique(np.concatenate([[left, right], quarter[:, 0], most[:, 0]]))
        low, high = (_at(front, grid, bottom) for front in (most, quarter))
        axes.fill_between(grid, low, high, step="post", color=colour, alpha=0.3, linewidth=0, zorder=2)
    axes.step(*_staircase(half, right, bottom), where="post", color=colour, linewidth=1.8, zorder=4)
    # A white edge makes points visible on the cloud and on each other.
    axes.scatter(points[:, 0], points[:, 1], s=16, color=colour, alpha=0.75, edgecolors="white", linewidths=0.4, zorder=5)


def _at(front: Floats, cost: Floats, bottom: float) -> Floats:
    """Return the accuracy [%] of a front at each cost; `bottom` below its cheapest point."""
    position = np.searchsorted(front[:, 0], cost, side="right")
    reached: Floats = np.concatenate([[bottom], front[:, 1]])[position]
    return reached


def _background(axes: Axes, board: Board) -> None:
    axes.scatter(board.cloud[:, 0], board.cloud[:, 1], s=2, color=CLOUD, alpha=0.5, linewidths=0, rasterized=True, zorder=1)
    for problem in board.problems:
        for limit in problem.limits:
            for bound in (limit.lower, limit.upper):
                if limit.resource == board.resource and 0.0 < bound < math.inf:
                    axes.axvline(bound, color=LIMIT, linewidth=0.8, linestyle=DASHED, zorder=2)
    axes.step(*_staircase(board.front, axes.get_xlim()[1], axes.get_ylim()[0]), where="post", color=FRONT, linewidth=1.1, zorder=3)


def _frame(axes: Axes, view: Window) -> None:
    if view.logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(view.left, view.right)
    axes.set_ylim(view.bottom, view.top)
    tidy(axes)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=CLOUD, marker="o", markersize=4, linestyle="none", label="cell"),
        Line2D([], [], color=FRONT, linewidth=1.1, label="exact front"),
        Line2D([], [], color=LIMIT, linewidth=0.8, linestyle=DASHED, label="limit"),
        Line2D([], [], color=INK, marker="o", markersize=4, linestyle="none", label="recommended"),
        Line2D([], [], color=INK, linewidth=1.8, label="attained by half of the runs"),
        Patch(facecolor=INK, alpha=0.3, label="attained by ¼ to ¾ of the runs"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=10.5, handlelength=1.6, columnspacing=1.6)


@dataclass(frozen=True, slots=True)
class Panel:
    """A method in a board's picture. `runs` has the (cost, test accuracy [%]) of each run's recommendations, (n, 2).

    `note` is a text in the panel.
    """

    title: str
    colour: str
    runs: Sequence[Floats]
    note: str = ""


def board_picture(board: Board, panels: Sequence[Panel], path: Path) -> Window:
    """Write the picture of a board, a PNG file 1,100 pixels wide with one panel per method; return the part of the board in it."""
    from matplotlib.figure import Figure as NewFigure

    columns = min(COLUMNS, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    view = window(board, np.concatenate([np.empty((0, 2)), *(run for panel in panels for run in panel.runs)]))
    with plain_style():
        figure = NewFigure(figsize=(10.0, 1.3 + 2.7 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            _frame(axes, view)
            if index >= len(panels):
                axes.set_visible(False)
                continue
            _background(axes, board)
            _attainment(axes, panels[index].runs, panels[index].colour)
            title = textwrap.fill(panels[index].title, _TITLE_LETTERS, max_lines=2, placeholder=" ...")
            axes.set_title(
                title, fontsize=11.5 if len(title) <= _TITLE_LETTERS else 10.0, loc="left", color=INK, weight="bold", parse_math=False
            )
            notes = [panels[index].note] if panels[index].note else []
            notes += [] if any(len(run) for run in panels[index].runs) else ["no feasible recommendation"]
            axes.text(
                0.97, 0.04, "\n".join(notes), transform=axes.transAxes, ha="right", va="bottom", fontsize=9.0, color=INK, zorder=6,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
            # The last panel of each column has tick labels, even if the last row is not full.
            axes.tick_params(labelbottom=index + columns >= len(panels))
        resource = board.resource.removesuffix(f"_{board.unit}").replace("_", " ")
        where = f" on {board.device_title}" if board.device else ""
        figure.supxlabel(f"{resource}{where} [{board.unit}]", fontsize=11.5, parse_math=False)
        figure.supylabel(f"test accuracy on {board.dataset} [%]", fontsize=11.5, parse_math=False)
        _legend(figure)
        save(figure, path)
    return view


def rank_picture(average_ranks: pd.Series, p_values: pd.DataFrame, path: Path) -> None:
    """Write a critical-difference picture: methods at their average ranks, and bars across methods without a significant difference.

    Args:
        average_ranks: the average ranks, indexed by method.
        p_values: the adjusted p-values, (methods, methods).
        path: the PNG file.
    """
    from matplotlib.figure import Figure as NewFigure
    from scikit_posthocs import critical_difference_diagram

    with plain_style():
        figure = NewFigure(figsize=(8.0, 1.0 + 0.3 * len(average_ranks)), layout="constrained")
        axes = figure.subplots()
        # A dollar sign in a label would start a formula.
        names = {name: str(name).replace("$", r"\$") for name in average_ranks.index}
        table = p_values.rename(index=names, columns=names)
        palette = {names[name]: colour for name, colour in colours(list(names)).items()}
        critical_difference_diagram(
            average_ranks.rename(index=names),
            table,
            ax=axes,
            color_palette=palette,
            text_h_margin=0.02 * float(average_ranks.max() - average_ranks.min()),
            label_fmt_left="{label}  {rank:.2f} ",
            label_fmt_right=" {rank:.2f}  {label}",
        )
        save(figure, path)
