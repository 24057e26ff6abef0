"""Markdown and CSV: escaping, numbers with intervals, tables."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from budgetnas.leaderboards.shared.documents import LeaderboardError
from budgetnas.leaderboards.shared.statistics import Estimate

NO_INTERVAL = "—"
LONGEST_CELL = 200

_SPECIAL = re.compile(r"([\\`*\[\]|~#$])")
# GitHub shows an underscore within a word as it is. At the edge of a word it starts or ends emphasis.
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def escape(text: str) -> str:
    """Return Markdown that GitHub shows as `text`, on one line, also in table cells. Long text is cut with an ellipsis."""
    line = " ".join(str(text).split())
    if len(line) > LONGEST_CELL:
        line = line[: LONGEST_CELL - 1] + "…"
    line = _EDGE_UNDERSCORE.sub(r"\\_", _SPECIAL.sub(r"\\\1", line))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def number(value: float | None, decimals: int = 2) -> str:
    """Return `value` with so many decimals and commas between thousands; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NO_INTERVAL
    text = f"{value:,.{decimals}f}"
    # No negative zero: -0.001 to two decimals is 0.00.
    return text.lstrip("-") if not text.strip("-0.,") else text


def estimate(figure: Estimate | None, decimals: int = 2) -> str:
    """Return a value with its interval, such as `93.12 [93.01, 93.25]`. A missing interval is a dash."""
    if figure is None or math.isnan(figure.value):
        return NO_INTERVAL
    interval = figure.interval
    bounds = NO_INTERVAL if interval is None else f"{number(interval.low, decimals)}, {number(interval.high, decimals)}"
    return f"{number(figure.value, decimals)} [{bounds}]"


def percent(share: float) -> str:
    """Return a share from 0 to 1 as a percentage, with one decimal unless it is 0."""
    text = f"{100.0 * share:.1f}"
    return text.removesuffix(".0") + " %"


def p_value(p: float | None) -> str:
    """Return a p-value with two significant digits; a dash for None."""
    return NO_INTERVAL if p is None else f"{p:#.2g}".rstrip(".")


def several(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural if needed: `1 problem`, `4 problems`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Return a Markdown table. Cells must be escaped already.

    Args:
        header: the header.
        rows: rows of the same length.
        left: the columns, from 0, that are aligned to the left; the others are aligned to the right.

    Raises:
        LeaderboardError: a row has another length than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise LeaderboardError(f"a row has {len(row)} cells; the header has {len(header)}")
    rule = [":---" if column in left else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def p_table(p_values: pd.DataFrame) -> str:
    """Return the table of pairwise p-values, (methods, methods), with an empty upper half."""
    names = [escape(str(name)) for name in p_values.columns]
    values = p_values.to_numpy(dtype=np.float64)
    rows = [[name, *map(p_value, values[i, :i]), NO_INTERVAL, *[""] * (len(names) - i - 1)] for i, name in enumerate(names)]
    return markdown_table(["p (Holm)", *names], rows)


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV, with a header, in full precision, and with empty cells for None and NaN."""
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value is None or value != value else value for key, value in row.items()})
    return stream.getvalue()


def estimate_columns(name: str, figure: Estimate | None) -> dict[str, float | None]:
    """Return a value as three CSV columns: `name`, `name_low`, `name_high`. A missing interval is None."""
    interval = figure.interval if figure is not None else None
    return {
        name: figure.value if figure is not None else None,
        f"{name}_low": interval.low if interval is not None else None,
        f"{name}_high": interval.high if interval is not None else None,
    }
