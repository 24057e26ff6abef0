"""Draws the picture of a comparison: retrained accuracy of networks against the figure known before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from budgetnas.leaderboards.comparison.rows import Known, Network, by_dataset
from budgetnas.leaderboards.shared.drawing import DASHED, INK, LIMIT, colours, markers, method_legend, plain_style, save, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2
_LABELS: dict[Known, str] = {"queried": "queried test accuracy [%]", "early_stopped": "early-stopped validation accuracy [%]"}
_MARGIN = 0.06  # of the range shown, on every side
_SPREAD = 0.25  # half the width, on an axis of methods, over which one method's networks are drawn side by side


@dataclass(frozen=True, slots=True)
class Dot:
    """A network: the method that found it, its accuracies [%] before (None if unknown) and retrained, its deviation over seeds [points]."""

    method: str
    before: float | None
    retrained: float
    deviation: float


@dataclass(frozen=True, slots=True)
class ScatterPanel:
    """The networks of one dataset."""

    title: str
    before: str
    retrained: str
    dots: tuple[Dot, ...]


def comparison_picture(networks: Sequence[Network], path: Path) -> None:
    """Draw a panel for each space, dataset and kind of known figure; without known figures, a panel with the networks by method."""
    scatter_picture([panel for group in by_dataset(networks) for panel in panels_of(group)], path)


def panels_of(networks: Sequence[Network]) -> list[ScatterPanel]:
    """Return the panels of one space and dataset."""
    title = f"{networks[0].space} on {networks[0].dataset}"
    panels = []
    for kind, label in _LABELS.items():
        chosen = [network for network in networks if not math.isnan(network.known(kind))]
        if chosen:
            part = "validation" if kind == "early_stopped" and all(network.validated for network in chosen) else "test"
            dots = tuple(Dot(min(each.methods), each.known(kind), each.retrained(kind), _deviation(each, kind)) for each in chosen)
            panels.append(ScatterPanel(title, label, f"retrained {part} accuracy [%]", dots))
    if not panels:
        dots = tuple(
            Dot(method, None, float(each.test.mean()), _deviation(each, "queried"))
            for each in networks
            for method in sorted({*each.methods})
        )
        panels.append(ScatterPanel(title, "", "retrained test accuracy [%]", dots))
    return panels


def _deviation(network: Network, kind: Known) -> float:
    """Return the standard deviation over evaluation seeds [points]; 0 for one seed."""
    figures = network.retrained_by_seed(kind)
    return float(figures.std(ddof=1)) if len(figures) > 1 else 0.0


def scatter_picture(panels: Sequence[ScatterPanel], path: Path) -> None:
    """Draw the panels: retrained accuracy against the one before, with a dashed line of equality, or by method without one before."""
    from matplotlib.figure import Figure

    methods = sorted({dot.method for panel in panels for dot in panel.dots})
    palette, shapes = colours(methods), markers(methods)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with plain_style():
        figure = Figure(figsize=(10.0 if columns > 1 else 7.0, 0.9 + 4.2 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(panels):
                axes.set_visible(False)
                continue
            panel = panels[index]
            for method in methods:
                _draw(axes, panel, method, methods.index(method), palette[method], shapes[method])
            axes.set_title(panel.title, fontsize=11.5, loc="left", color=INK, weight="bold", parse_math=False)
            axes.set_xlabel(panel.before)
            axes.set_ylabel(panel.retrained)
            tidy(axes)
            if panel.before:
                _same_scale(axes, panel)
            else:
                axes.set_xticks([])
                axes.set_xlim(-0.5, len(methods) - 0.5)
        method_legend(figure, methods, palette, shapes)
        save(figure, path, sparse=True)


def _draw(axes: Axes, panel: ScatterPanel, method: str, place: int, colour: str, shape: str) -> None:
    dots = [dot for dot in panel.dots if dot.method == method]
    for index, dot in enumerate(dots):
        aside = 0.0 if len(dots) == 1 else _SPREAD * (2.0 * index / (len(dots) - 1) - 1.0)
        x = place + aside if dot.before is None else dot.before
        bar = dot.deviation if dot.deviation > 0.0 else None
        axes.errorbar(
            x, dot.retrained, yerr=bar, fmt=shape, color=colour, markersize=6.5, markeredgecolor="white", markeredgewidth=0.5,
            elinewidth=1.0, alpha=0.85, zorder=3,
        )  # fmt: skip


def _same_scale(axes: Axes, panel: ScatterPanel) -> None:
    """Give both axes the same range, and draw the line on which the figures are equal."""
    figures = [dot.before for dot in panel.dots if dot.before is not None]
    figures += [dot.retrained + sign * dot.deviation for dot in panel.dots for sign in (-1.0, 1.0)]
    margin = max(_MARGIN * (max(figures) - min(figures)), 0.2)
    low, high = min(figures) - margin, max(figures) + margin
    axes.plot([low, high], [low, high], color=LIMIT, linewidth=0.9, linestyle=DASHED, zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
