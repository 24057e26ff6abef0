"""The class of methods that read the whole table: feasible shares by limit, methods with equal results, curves over limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from budgetnas.leaderboards.boards.context import Board
from budgetnas.leaderboards.boards.outcomes import BOARD_COLUMNS, FULL_INFORMATION, of_board, of_class
from budgetnas.leaderboards.shared.curves import COSTS, CurvePanel, curve, curve_picture, most_limited
from budgetnas.leaderboards.shared.documents import LeaderboardError, file_part
from budgetnas.leaderboards.shared.drawing import COLOURS
from budgetnas.leaderboards.shared.nested_columns import reported_figures
from budgetnas.leaderboards.shared.tables import csv_text, escape, markdown_table, percent, several

MOST_CURVES = len(COLOURS)  # methods in one picture with different colours, unless the user names methods
_NOT_MODELLED = "not_modelled_"


def counted_once(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the outcomes without methods that equal another one, and a sentence for each method that is left out.

    A method is left out if it has an option that a table cannot model, and recommended the same network on every problem with every seed as
    a method without that option. Two methods with the same such options differ in another setting, so both stay.
    """
    full = of_class(table, FULL_INFORMATION)
    findings, unmodelled = {}, {}
    for method, trials in full.groupby("method", sort=True):
        keys = zip(*(trials[name] for name in (*BOARD_COLUMNS, "problem", "seed")), strict=True)
        findings[str(method)] = dict(zip(keys, trials["recommendation"], strict=True))
        reported = reported_figures(trials["report"])
        options = set(reported.loc[reported["value"] != 0.0, "figure"])
        unmodelled[str(method)] = sorted(name.removeprefix(_NOT_MODELLED) for name in options if name.startswith(_NOT_MODELLED))
    kept: list[str] = []
    sentences, dropped = [], set()
    for method in sorted(findings, key=lambda name: (len(unmodelled[name]), name)):
        twin = next((each for each in kept if unmodelled[each] != unmodelled[method] and findings[each] == findings[method]), None)
        if twin is None:
            kept.append(method)
            continue
        dropped.add(method)
        sentences.append(
            f"**{escape(method)}** is left out: a table cannot model {', '.join(map(escape, unmodelled[method]))}, and all of its runs "
            f"recommended the same networks as **{escape(twin)}**. Equal methods are counted once."
        )
    if not dropped:
        return table, sentences
    return table[~((table["ranking_class"] == FULL_INFORMATION) & table["method"].isin(dropped))].reset_index(drop=True), sentences


def feasible_table(table: pd.DataFrame) -> str:
    """Return the table of feasible shares over all boards, with a row per limit and a column per method; '' without such methods."""
    full = of_class(table, FULL_INFORMATION)
    if full.empty:
        return ""
    methods = sorted(set(full["method"]))
    rows = []
    for problem in dict.fromkeys(full["problem"]):
        trials = full[full["problem"] == problem]
        cells = [trials.loc[trials["method"] == method, "feasible"] for method in methods]
        rows.append([escape(problem), *(percent(float(cell.mean())) if len(cell) else "—" for cell in cells)])
    return markdown_table(["feasible recommendations", *map(escape, methods)], rows)


def distinct_table(table: pd.DataFrame) -> str:
    """Return the table of one board with feasible shares and numbers of different networks, by limit and method."""
    full = of_class(table, FULL_INFORMATION)
    if full.empty:
        return ""
    methods = sorted(set(full["method"]))
    rows = []
    for problem in dict.fromkeys(full["problem"]):
        cells = []
        for method in methods:
            trials = full[(full["problem"] == problem) & (full["method"] == method)]
            networks = len(set(trials["recommendation"]) - {""})
            cells.append(f"{percent(float(trials['feasible'].mean()))}, {networks} of {len(trials)}" if len(trials) else "—")
        rows.append([escape(problem), *cells])
    return markdown_table(["feasible share, different networks of runs", *map(escape, methods)], rows)


def looked_up_sentences(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each method of the class that read look-up graphs, with the cost of the graphs."""
    sentences = []
    for method, trials in of_class(table, FULL_INFORMATION).groupby("method", sort=True):
        most = reported_figures(trials["report"]).groupby("figure")["value"].max()
        searches, steps = (float(most.get(name, 0.0)) for name in ("lookup_searches", "lookup_steps"))
        if searches:
            seconds = float(trials["graph_seconds"].sum())
            took = f" They took {seconds:,.0f} s in total, or {seconds / len(trials):,.1f} s per run of the method." if seconds else ""
            sentences.append(
                f"**{escape(str(method))}** read its search limits from look-up graphs, for which earlier searches were needed: up to "
                f"{searches:,.0f} searches with {steps:,.0f} steps per problem. All seeds share them, and each of these searches also read "
                f"the whole table.{took}"
            )
    return sentences


def same_network_sentence(table: pd.DataFrame) -> str:
    """Return a sentence with the number of cases in which all seeds of a method ended with the same network; '' if there are none."""
    full = of_class(table, FULL_INFORMATION)
    networks = full.groupby([*BOARD_COLUMNS, "problem", "method"])["recommendation"].agg(["nunique", "size"])
    several_runs = networks[networks["size"] > 1]
    same = int((several_runs["nunique"] == 1).sum())
    if not same:
        return ""
    return (
        f"In {same} of {several(len(several_runs), 'pair')} of problem and method, all seeds ended with the same network. Each of these is "
        "one result, and not several; its interval of width zero does not mean that it is certain."
    )


def feasible_csv(table: pd.DataFrame) -> str:
    """Return CSV with one row per problem and method of the class: number of runs, feasible share, number of different networks."""
    groups = of_class(table, FULL_INFORMATION).groupby([*BOARD_COLUMNS, "problem", "method"], sort=True)
    names = (*BOARD_COLUMNS, "problem", "method")
    return csv_text(
        [
            dict(zip(names, key, strict=True))
            | {"runs": len(runs), "feasible_share": float(runs["feasible"].mean()), "networks": runs["recommendation"].nunique()}
            for key, runs in groups
        ]
    )


def curve_methods(table: pd.DataFrame, asked: Sequence[str]) -> list[str]:
    """Return the methods with curves: those in `asked`, else all methods of the class, unless there are more than `MOST_CURVES`.

    Raises LeaderboardError, with the names of all methods, if one of `asked` is not in the run.
    """
    known = sorted(set(table["method"]))
    for name in asked:
        if name not in known:
            raise LeaderboardError(f"the run has no method '{name}', so it has no curve; choose one of {', '.join(known)}")
    full = sorted(set(of_class(table, FULL_INFORMATION)["method"]))
    return list(dict.fromkeys(asked)) or (full if len(full) <= MOST_CURVES else [])


def limit_pictures(table: pd.DataFrame, boards: Sequence[Board], methods: Sequence[str], out: Path) -> list[tuple[str, Path]]:
    """Write a picture of test accuracy against cost at each limit for each space and dataset; return titles and paths.

    A picture has a panel per device and a point per limit: means over seeds of all recommendations, including infeasible ones, as in
    figure 3 of DCA-NAS. Without a board that has two limits on one resource, there is no picture.
    """
    written = []
    for space, dataset in dict.fromkeys((board.space, board.dataset) for board in boards):
        panels = [
            panel for board in boards if (board.space, board.dataset) == (space, dataset) and (panel := _panel(table, board, methods))
        ]
        if panels:
            path = out / f"limits-{file_part(f'{space}-{dataset}')}.png"
            curve_picture(panels, f"test accuracy on {dataset} [%]", path)
            written.append((f"{space} on {dataset}", path))
    return written


def _panel(table: pd.DataFrame, board: Board, methods: Sequence[str]) -> CurvePanel | None:
    named = [{"problem": problem.label, "limits": [{"resource": limit.resource} for limit in problem.limits]} for problem in board.problems]
    resource, problems = most_limited(named)
    trials = of_board(table, board)
    trials = trials[trials["problem"].isin(problems)]
    curves = {name: points for name in methods if (points := curve(trials[trials["method"] == name], resource, "test"))} if resource else {}
    if max((len(points) for points in curves.values()), default=0) < 2:
        return None
    bounds = sorted(
        {
            bound
            for problem in board.problems
            for limit in problem.limits
            if limit.resource == resource
            for bound in (limit.lower, limit.upper)
            if 0.0 < bound < float("inf")
        }
    )
    return CurvePanel(board.device_title if board.device else board.dataset, COSTS.get(resource, resource), curves, bounds)
