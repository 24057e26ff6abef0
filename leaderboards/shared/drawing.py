"""What all pictures share: a plain style, a palette that the colour-blind can tell apart, and files that are the same bytes each time."""

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

# After Paul Tol's "bright" scheme, without its grey: told apart with any common colour blindness. The last two are for the rare picture of
# nine or ten methods, whose markers help.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#33BBEE", "#CC6600", "#999933", "#555555", "#DDAA33", "#661100")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "p", "<")
CLOUD, FRONT, LIMIT, INK = "#B8B8B8", "#111111", "#777777", "#222222"
DASHED = (0, (2, 2))
DOTS_PER_INCH = 110
PALETTE = 128
_LETTER_INCHES = 0.085  # of a legend's text, on average


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever the user's settings are."""
    import matplotlib

    settings = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith(("backend", "interactive", "toolbar"))
    }
    with matplotlib.rc_context(settings | {"font.size": 11.0, "svg.hashsalt": "budgetnas"}), warnings.catch_warnings():
        # A method's name may hold a letter that the bundled font lacks: an empty box is no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def save(figure: Figure, path: Path, sparse: bool = False) -> None:
    """Write the figure as PNG with a palette of its own: a third of the size, and no difference to the eye.

    `sparse`: a picture of few marks, whose colours a palette made by their frequency would lose.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
    # Written by Pillow rather than savefig, which would put matplotlib's version into the file.
    method = Image.Quantize.MAXCOVERAGE if sparse else Image.Quantize.MEDIANCUT
    pixels.quantize(PALETTE, method).save(path, format="PNG", optimize=True)


def colours(methods: Sequence[str]) -> dict[str, str]:
    """Return a colour for each method, the same whatever order they come in; they repeat after ten methods."""
    return {method: COLOURS[index % len(COLOURS)] for index, method in enumerate(sorted(methods))}


def markers(methods: Sequence[str]) -> dict[str, str]:
    """Return a marker for each method, which tells those apart that share a colour as well."""
    return {method: MARKERS[(index + index // len(COLOURS)) % len(MARKERS)] for index, method in enumerate(sorted(methods))}


def tidy(axes: Axes) -> None:
    """Leave away what a reader does not need: two of the four sides; a faint line at each figure of the upright axis helps."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def few_ticks(axes: Axes) -> None:
    """Name few figures along the lower axis: those of parameters and MACs are long."""
    if axes.get_xscale() == "linear":
        axes.locator_params(axis="x", nbins=5)


def method_legend(figure: Figure, methods: Sequence[str], palette: Mapping[str, str], shapes: Mapping[str, str]) -> None:
    """Write which colour and marker is whose, above the picture."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=palette[name], marker=shapes[name], linestyle="none", markersize=6.5, markeredgecolor="white",
            label=name.replace("$", r"\$"),  # a dollar sign would start a formula
        )
        for name in methods
    ]  # fmt: skip
    # The longest name decides how many fit side by side.
    widest = 0.5 + _LETTER_INCHES * max((len(name) for name in methods), default=0)
    columns = max(1, min(3, len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=10.0)
