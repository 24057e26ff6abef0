"""Drawing for all pictures: a plain style, a palette for colour-blind readers, and files with the same bytes each time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Based on Paul Tol's "bright" scheme, without its grey. The colours differ for all common kinds of colour blindness. The last two are only
# for pictures of nine or ten methods, which markers help to distinguish.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#33BBEE", "#CC6600", "#999933", "#555555", "#DDAA33", "#661100")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "p", "<")
CLOUD, FRONT, LIMIT, INK = "#B8B8B8", "#111111", "#777777", "#222222"
DASHED = (0, (2, 2))
DOTS_PER_INCH = 110
PALETTE = 128
_LETTER_INCHES = 0.085  # average width of a letter in a legend


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's defaults, and ignore the user's settings."""
    import matplotlib

    settings = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith(("backend", "interactive", "toolbar"))
    }
    with matplotlib.rc_context(settings | {"font.size": 11.0, "svg.hashsalt": "budgetnas"}), warnings.catch_warnings():
        # A method's name may have a letter that the bundled font lacks. It is drawn as an empty box, without a warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def save(figure: Figure, path: Path, sparse: bool = False) -> None:
    """Write the figure as a PNG file with a palette, which has a third of the size and looks the same.

    Args:
        figure: the figure.
        path: the file.
        sparse: whether the picture has few marks. A palette by frequency of colours would lose their colours.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
    # Pillow writes the file, because savefig would write matplotlib's version into it.
    method = Image.Quantize.MAXCOVERAGE if sparse else Image.Quantize.MEDIANCUT
    pixels.quantize(PALETTE, method).save(path, format="PNG", optimize=True)


def colours(methods: Sequence[str]) -> dict[str, str]:
    """Return a colour for each method. It does not depend on their order. Colours repeat after ten methods."""
    return {method: COLOURS[index % len(COLOURS)] for index, method in enumerate(sorted(methods))}


def markers(methods: Sequence[str]) -> dict[str, str]:
    """Return a marker for each method. Methods with the same colour have different markers."""
    return {method: MARKERS[(index + index // len(COLOURS)) % len(MARKERS)] for index, method in enumerate(sorted(methods))}


def tidy(axes: Axes) -> None:
    """Remove the top and right sides of the frame, and draw faint horizontal grid lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def few_ticks(axes: Axes) -> None:
    """Use few ticks on the lower axis, because the numbers of parameters and MACs are long."""
    if axes.get_xscale() == "linear":
        axes.locator_params(axis="x", nbins=5)


def method_legend(figure: Figure, methods: Sequence[str], palette: Mapping[str, str], shapes: Mapping[str, str]) -> None:
    """Draw a legend with the colour and marker of each method above the picture."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=palette[name], marker=shapes[name], linestyle="none", markersize=6.5, markeredgecolor="white",
            label=name.replace("$", r"\$"),  # a dollar sign would start a formula
        )
        for name in methods
    ]  # fmt: skip
    # The longest name determines the number of columns.
    widest = 0.5 + _LETTER_INCHES * max((len(name) for name in methods), default=0)
    columns = max(1, min(3, len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=10.0)
