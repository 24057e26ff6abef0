"""The pictures of searches that trained: accuracy against limited costs, histories of searches, search paths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from budgetnas.leaderboards.searches.history_pictures import figures_of, history_picture
from budgetnas.leaderboards.searches.rows import accuracy_of, kind_of_accuracy
from budgetnas.leaderboards.shared.curves import COSTS, path_picture
from budgetnas.leaderboards.shared.documents import file_part
from budgetnas.leaderboards.shared.drawing import DASHED, LIMIT, colours, few_ticks, markers, method_legend, plain_style, save, tidy
from budgetnas.leaderboards.shared.nested_columns import ROW, front_points

COLUMNS = 3
LOGARITHMIC_FROM = 15.0


def bounds_of(context: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return all bounds of a context's problems by resource, ascending."""
    found: dict[str, set[float]] = {}
    for problem in context["problems"]:
        for limit in problem["limits"]:
            bounds = (limit["lower"], limit["upper"])
            found.setdefault(limit["resource"], set()).update(bound for bound in bounds if bound and math.isfinite(bound))
    return {resource: sorted(bounds) for resource, bounds in found.items()}


def cost_picture(context: Mapping[str, Any], table: pd.DataFrame, path: Path) -> str:
    """Draw accuracy against each limited cost, and return the kind of accuracy; '' if no accuracy is known.

    A mark is a search; it is hollow if the search broke a limit. Searches without this kind of accuracy are not drawn.
    """
    kind = kind_of_accuracy(table)
    shown = [row for row in table.to_dict("records") if not kind.startswith("retrained") or len(row["retrained_test"])]
    shown = [row for row in shown if not math.isnan(accuracy_of(row))]
    bounds = bounds_of(context)
    if not kind or not shown or not bounds:
        return ""
    from matplotlib.figure import Figure

    methods = sorted(set(table["method"]))
    palette, shapes = colours(methods), markers(methods)
    columns = min(COLUMNS, len(bounds))
    rows = -(-len(bounds) // columns)
    with plain_style():
        figure = Figure(figsize=(10.0 if columns > 1 else 7.0, 1.2 + 3.2 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(bounds):
                axes.set_visible(False)
                continue
            resource = list(bounds)[index]
            known = [row for row in shown if not math.isnan(row[resource])]
            for row in known:
                colour = palette[row["method"]]
                axes.scatter(
                    row[resource], accuracy_of(row), s=36, marker=shapes[row["method"]], edgecolors=colour, linewidths=1.1,
                    facecolors=colour if row["feasible"] else "none", alpha=0.85, zorder=3,
                )  # fmt: skip
            for bound in bounds[resource]:
                axes.axvline(bound, color=LIMIT, linewidth=0.9, linestyle=DASHED, zorder=1)
            costs = [row[resource] for row in known] + bounds[resource]
            if min(costs) > 0.0 and max(costs) / min(costs) > LOGARITHMIC_FROM:
                axes.set_xscale("log")
            axes.set_xlabel(COSTS.get(resource, resource))
            tidy(axes)
            few_ticks(axes)
        figure.supylabel(f"{kind} [%]", fontsize=11.5)
        method_legend(figure, methods, palette, shapes)
        save(figure, path, sparse=True)
    return kind


def history_pictures(context: Mapping[str, Any], table: pd.DataFrame, stem: str, out: Path) -> list[tuple[str, Path]]:
    """Draw the histories of each method that has some, and return methods and paths of pictures."""
    written = []
    bounds = bounds_of(context)
    for method, searches in table.groupby("method", sort=True):
        problems = [problem["problem"] for problem in context["problems"]]
        by_problem = {name: [steps for steps in searches[searches["problem"] == name]["history"] if steps] for name in problems}
        by_problem = {name: histories for name, histories in by_problem.items() if histories}
        figures = figures_of([steps for histories in by_problem.values() for steps in histories], list(bounds))
        if figures:
            path = out / f"{stem}-history-{file_part(str(method))}.png"
            history_picture(by_problem, figures, bounds, str(method), path)
            written.append((str(method), path))
    return written


def search_path_picture(context: Mapping[str, Any], table: pd.DataFrame, path: Path) -> bool:
    """Draw all that searches by training recommended, against parameters, MACs and limited costs; False if none recommended a path."""
    if not front_points(table["front"])[ROW].duplicated().any():
        return False
    paths = {str(method): _recommended(searches["front"]) for method, searches in table.groupby("method", sort=True)}
    paths = {method: points for method, points in paths.items() if len(points)}
    if not paths:
        return False
    resources = dict.fromkeys(["params", "macs", *bounds_of(context)])
    known = {name: COSTS[name] for name in resources if any(points[name].notna().any() for points in paths.values())}
    path_picture(paths, known, "early-stopped validation accuracy [%]", path)
    return True


def _recommended(fronts: pd.Series) -> pd.DataFrame:
    """Return the feasible recommendations of some searches with a validation accuracy, each point once."""
    points = front_points(fronts)
    known = points["feasible"].astype(bool) & points["validation"].notna()
    return points.loc[known, ["validation", *COSTS]].drop_duplicates().reset_index(drop=True)
