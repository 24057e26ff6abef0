"""Curves: accuracy of methods at each limit, with a panel per device (as in DCA-NAS, figure 3), and accuracy along a search path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from budgetnas.leaderboards.shared.drawing import DASHED, INK, LIMIT, colours, few_ticks, markers, method_legend, plain_style, save, tidy

COLUMNS = 3
COSTS = {
    "latency_ms": "latency [ms]", "energy_mj": "energy [mJ]", "params": "parameters", "macs": "MACs", "cycles": "cycles",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """A method at one limit: mean cost and accuracy of the delivered networks, with standard deviations over seeds."""

    cost: float
    cost_deviation: float
    accuracy: float
    accuracy_deviation: float


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """The panel of a device. `curves` has the points of each method, one per limit, by ascending cost; `limits` are bounds on the cost."""

    title: str
    cost: str
    curves: Mapping[str, Sequence[Point]]
    limits: Sequence[float]


def most_limited(problems: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Return the resource that most problems limit, and the labels of those problems. Without limits, return ('', []).

    Ties go to the resource that comes first.

    Args:
        problems: the problems of a context, each with its label `problem` and its `limits`.
    """
    by_resource: dict[str, list[str]] = {}
    for problem in problems:
        for limit in problem["limits"]:
            by_resource.setdefault(limit["resource"], []).append(problem["problem"])
    return max(by_resource.items(), key=lambda entry: len(set(entry[1])), default=("", []))


def curve(trials: pd.DataFrame, cost: str, accuracy: str) -> list[Point]:
    """Return a method's points, one per problem, by ascending cost. Runs of unknown cost or accuracy are left out."""
    points = []
    for _, runs in trials.dropna(subset=[cost, accuracy]).groupby("problem", sort=True):
        figures = runs[[cost, accuracy]].to_numpy(np.float64)
        mean, deviation = figures.mean(axis=0), figures.std(axis=0, ddof=1) if len(figures) > 1 else np.zeros(2)
        points.append(Point(float(mean[0]), float(deviation[0]), float(mean[1]), float(deviation[1])))
    return sorted(points, key=lambda point: point.cost)


def curve_picture(panels: Sequence[CurvePanel], accuracy: str, path: Path) -> None:
    """Write the picture of the methods' curves: a panel per device, a point per limit, bars of one standard deviation, dashed limits."""
    from matplotlib.figure import Figure

    methods = sorted({method for panel in panels for method in panel.curves})
    palette, shapes = colours(methods), markers(methods)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with plain_style():
        figure = Figure(figsize=(10.0 if columns > 1 else 7.0, 1.2 + 3.2 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(panels):
                axes.set_visible(False)
                continue
            panel = panels[index]
            for bound in panel.limits:
                axes.axvline(bound, color=LIMIT, linewidth=0.8, linestyle=DASHED, zorder=1)
            for place, (method, points) in enumerate(panel.curves.items()):
                last = len(panel.curves) - 1
                size = 6.0 + min(1.2, 6.0 / max(last, 1)) * (last - place)  # later marks are smaller, so that all are visible
                axes.errorbar(
                    [point.cost for point in points], [point.accuracy for point in points],
                    xerr=[point.cost_deviation for point in points], yerr=[point.accuracy_deviation for point in points],
                    color=palette[method], marker=shapes[method], markersize=size, markeredgecolor="white", linewidth=1.3, elinewidth=0.9,
                    capsize=2.0, zorder=3,
                )  # fmt: skip
            axes.set_title(panel.title, fontsize=11.5, loc="left", color=INK, weight="bold", parse_math=False)
            axes.set_xlabel(panel.cost, parse_math=False)
            tidy(axes)
            few_ticks(axes)
        figure.supylabel(accuracy, fontsize=11.5, parse_math=False)
        method_legend(figure, methods, palette, shapes)
        save(figure, path, sparse=True)


def best_so_far(costs: Sequence[float], accuracies: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the costs and accuracies of the non-dominated points, by ascending cost.

    >>> best_so_far([3.0, 1.0, 2.0], [70.0, 60.0, 50.0])
    ([1.0, 3.0], [60.0, 70.0])
    """
    kept: list[tuple[float, float]] = []
    for cost, accuracy in sorted(zip(costs, accuracies, strict=True), key=lambda point: (point[0], -point[1])):
        if not kept or accuracy > kept[-1][1]:
            kept.append((cost, accuracy))
    return [cost for cost, _ in kept], [accuracy for _, accuracy in kept]


def path_picture(paths: Mapping[str, pd.DataFrame], resources: Mapping[str, str], accuracy: str, path: Path) -> None:
    """Write the picture of search paths: a panel per resource, a mark per network, and a step line for the best at each cost.

    Args:
        paths: for each method, a table of networks with the columns `validation` [%] and those of `resources`.
        resources: the label of each resource.
        accuracy: the label of the accuracy.
        path: the file.
    """
    from matplotlib.figure import Figure

    methods = sorted(paths)
    palette, shapes = colours(methods), markers(methods)
    with plain_style():
        figure = Figure(figsize=(10.0 if len(resources) > 1 else 7.0, 4.4), layout="constrained")
        grid = figure.subplots(1, len(resources), sharey=True, squeeze=False)
        for axes, (resource, label) in zip(grid.flat, resources.items(), strict=True):
            for method in methods:
                known = paths[method].dropna(subset=[resource, "validation"])
                costs, reached = known[resource].tolist(), known["validation"].tolist()
                axes.scatter(costs, reached, s=22, color=palette[method], marker=shapes[method], alpha=0.55, linewidths=0, zorder=2)
                axes.step(*best_so_far(costs, reached), where="post", color=palette[method], linewidth=1.6, zorder=3)
            axes.set_xlabel(label, parse_math=False)
            tidy(axes)
            few_ticks(axes)
        figure.supylabel(accuracy, fontsize=11.5, parse_math=False)
        method_legend(figure, methods, palette, shapes)
        save(figure, path, sparse=True)
