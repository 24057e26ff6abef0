"""Pages for searches that trained a supernet or candidates: an index with tables and pictures, and a CSV file of all searches."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from budgetnas.leaderboards.boards.outcomes import BOARD_COLUMNS
from budgetnas.leaderboards.searches.page import (
    flag_table,
    own_table,
    problem_section,
    quoted_table,
    retrained_text,
    searched_text,
    searches_csv,
    warnings_of,
)
from budgetnas.leaderboards.searches.pictures import bounds_of, cost_picture, history_pictures, search_path_picture
from budgetnas.leaderboards.searches.ranking import ranking_table
from budgetnas.leaderboards.searches.rows import accuracy_of, check, kind_of_accuracy
from budgetnas.leaderboards.shared.curves import COSTS, CurvePanel, curve, curve_picture, most_limited
from budgetnas.leaderboards.shared.documents import INDEX, LeaderboardError, file_part, render, write
from budgetnas.leaderboards.shared.expectations import Place, expectation_table, upper_limits
from budgetnas.leaderboards.shared.tables import escape, several

_NEEDED = ("space", "dataset", "device", "device_title", "resource", "chance", "counted_over", "problems")


def write_search_pages(
    table: pd.DataFrame,
    contexts: Sequence[Path],
    comparison: Mapping[str, Any],
    out: Path,
    title: str,
    command: str,
    compare: str,
    graphs: str = "",
) -> list[Path]:
    """Write the pages, and return the written files: README.md, searches.csv and the pictures of each space, dataset and device.

    Equal input gives equal bytes.

    Args:
        table: one row per search, with the columns of `outcomes.COLUMNS` and `rows.SEARCH_COLUMNS`.
        contexts: the context files of the run.
        comparison: the retraining of networks, with the keys `recipe` and `networks`.
        out: the folder of the pages.
        title: the title of the index.
        command: the command that makes the pages.
        compare: the command that retrains networks.
        graphs: the name of a picture of look-up graphs in `out`, or ''.

    Raises:
        LeaderboardError: table and contexts do not fit together, or `out` cannot be written.
    """
    check(table)
    known = [_read(path) for path in contexts]
    table = table.sort_values([*BOARD_COLUMNS, "problem", "method", "seed"], kind="stable").reset_index(drop=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictures: list[Path] = []
        boards = [_board(context, _of(table, context), out, pictures) for context in known if len(_of(table, context))]
        context = {
            "title": escape(title),
            "summary": _summary(table),
            "command": " ".join(command.split()),
            "retrained_text": retrained_text(comparison, table, compare),
            "boards": boards,
            "flag_table": flag_table(table),
            "expectation_table": expectation_table(table, _uppers(known)),
            "own_table": own_table(table),
            "graphs": graphs,
        }
        return [
            write(out / INDEX, render("searches.md.jinja", context)),
            write(out / "searches.csv", searches_csv(table)),
            *pictures,
        ]
    except OSError as error:
        raise LeaderboardError(f"cannot write the pages into {out}: {error.strerror or error}; choose another folder with --out") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        context = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise LeaderboardError(f"{path}: {error}; run the study again, which keeps existing results") from None
    missing = [name for name in _NEEDED if name not in context]
    if missing:
        raise LeaderboardError(f"{path}: the key '{missing[0]}' is missing; run the study again, which keeps existing results")
    return context


def _of(table: pd.DataFrame, context: Mapping[str, Any]) -> pd.DataFrame:
    mask = pd.Series(True, index=table.index)
    for name in BOARD_COLUMNS:
        mask &= table[name] == (context[name] or "")
    return table[mask]


def _board(context: Mapping[str, Any], table: pd.DataFrame, out: Path, pictures: list[Path]) -> dict[str, Any]:
    """Return the template's values for one space, dataset and device. Its pictures are written, and added to `pictures`."""
    stem = file_part("-".join(part for part in (context["space"], context["dataset"], context["device"]) if part))
    cost, path = out / f"{stem}-cost.png", out / f"{stem}-path.png"
    kind = cost_picture(context, table, cost)
    walked = search_path_picture(context, table[table["early_stopped"].notna()], path)
    curves, curve_cost = _curve_picture(context, table, out / f"{stem}-limits.png")
    histories = history_pictures(context, table, stem, out)
    pictures += [each for each, is_there in ((cost, kind), (path, walked), (out / f"{stem}-limits.png", curves)) if is_there]
    pictures += [each for _, each in histories]
    device = f" for {escape(context['device_title'])}" if context["device"] else ""
    return {
        "heading": f"{escape(context['space'])} on {escape(context['dataset'])}{device}",
        "text": searched_text(context),
        "warnings": warnings_of(context),
        "kind": kind,
        "ranking_table": ranking_table(table, float(context["chance"])),
        "cost_picture": cost.name if kind else "",
        "path_picture": path.name if walked else "",
        "curve_picture": f"{stem}-limits.png" if curves else "",
        "curve_kind": curves,
        "curve_cost": curve_cost,
        "problems": [
            problem_section(context, problem, searches)
            for problem in context["problems"]
            if len(searches := table[table["problem"] == problem["problem"]])
        ],
        "histories": [(escape(method), each.name) for method, each in histories],
        "quoted_table": quoted_table(context),
    }


def _curve_picture(context: Mapping[str, Any], table: pd.DataFrame, path: Path) -> tuple[str, str]:
    """Draw the methods at each limit on the most limited resource, if it has several limits.

    Return the kind of accuracy and the label of the cost, or ('', '') if there is no picture.
    """
    kind = kind_of_accuracy(table)
    resource, problems = most_limited(context["problems"])
    if not resource:
        return "", ""
    shown = table[table["problem"].isin(problems)]
    shown = shown.assign(shown=[accuracy_of(row) for row in shown.to_dict("records")])
    if kind.startswith("retrained"):
        shown = shown[[len(seeds) > 0 for seeds in shown["retrained_test"]]]
    curves = {str(method): curve(searches, resource, "shown") for method, searches in shown.groupby("method", sort=True)}
    curves = {method: points for method, points in curves.items() if points}
    if not kind or max((len(points) for points in curves.values()), default=0) < 2:
        return "", ""
    title = context["device_title"] if context["device"] else context["dataset"]
    panel = CurvePanel(str(title), COSTS.get(resource, resource), curves, bounds_of(context).get(resource, []))
    curve_picture([panel], f"{kind} [%]", path)
    return kind, COSTS.get(resource, resource)


def _uppers(known: Sequence[Mapping[str, Any]]) -> dict[Place, dict[str, float]]:
    found: dict[Place, dict[str, float]] = {}
    for context in known:
        bounds = [
            (problem["problem"], limit["resource"], math.inf if limit["upper"] is None else float(limit["upper"]))
            for problem in context["problems"]
            for limit in problem["limits"]
        ]
        found |= upper_limits(context["space"], context["dataset"], context["device"] or "", bounds)
    return found


def _summary(table: pd.DataFrame) -> str:
    problems = len(table.drop_duplicates([*BOARD_COLUMNS, "problem"]))
    failed = int((table["status"] == "failed").sum())
    feasible = int(table["feasible"].sum())
    text = (
        f"{several(len(table), 'search').replace('searchs', 'searches')} of {several(table['method'].nunique(), 'method')} on "
        f"{several(problems, 'problem')}; {feasible} delivered a network within all limits"
    )
    return text + (f", {failed} failed." if failed else ".")
