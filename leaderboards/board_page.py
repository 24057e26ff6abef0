"""The page of one board: its tables in words and Markdown, and its rows as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from budgetnas.leaderboards.boards import Board, BoardProblem
from budgetnas.leaderboards.findings import (
    counted_as_chance, fewest_seeds, full_information_sentences, most_seeds, own_figures, warnings_of,
)  # fmt: skip
from budgetnas.leaderboards.notes import CHANCE_RULE, board_notes
from budgetnas.leaderboards.outcomes import FULL_INFORMATION, QUERIES, of_class
from budgetnas.leaderboards.standings import RANDOM_SEARCH, ProblemStanding, ProblemStandings, Ranking
from budgetnas.leaderboards.tables import (
    csv_text, escape, estimate, estimate_columns, markdown_table, number, p_value, percent, several,
)  # fmt: skip

ClassStandings = Mapping[str, ProblemStandings]  # ranking class -> standings by problem
Rankings = Mapping[str, Ranking]  # ranking class -> ranking over the board's problems


def _problem_table(rows: Sequence[ProblemStanding], compared: bool) -> str:
    header = ["rank", "method", "test accuracy [%]", "regret [points]", "feasible", "queries", "GPU hours"]
    cells = [
        [
            f"{row.rank:g}",
            escape(row.method),
            estimate(row.test),
            estimate(row.regret),
            percent(row.feasible_share),
            number(row.queries, 0),
            number(row.gpu_hours, 1),
        ]
        for row in rows
    ]
    if compared:
        header.append("against random search [points]")
        cells = [[*line, row.verdict if row.difference is None else f"{row.verdict}: {estimate(row.difference)}"] for line, row in zip(cells, rows, strict=True)]
    return markdown_table(header, cells, left=2)


def _problem_text(problem: BoardProblem, board: Board) -> str:
    best, chosen = problem.best_by_test, problem.best_by_validation
    lines = [
        f"Limit: `{problem.limits_text}`, which {several(problem.feasible, 'cell')} keep ({percent(problem.share)} of the connected, supported ones).".replace(
            "1 cell keep", "1 cell keeps"
        ),
        f"Best by test: {number(best.test)} % (cell {best.index}, `{best.arch}`, {number(best.cost, 3)} {board.unit}).",
        f"Best by validation, the most that any search could rely on finding: {number(chosen.test)} % (cell {chosen.index}, {number(chosen.cost, 3)} {board.unit}), "
        f"a regret of {number(best.test - chosen.test)}.",
    ]
    return "\n".join(lines)


def _board_table(ranking: Ranking, compared: bool) -> str:
    header = ["method", "average rank", "hypervolume, share of the exact front's", "regret, interquartile mean [points]", "feasible"]
    rows = [
        [escape(row.method), estimate(row.rank), estimate(row.hypervolume, 4), estimate(row.regret), percent(row.feasible_share)] for row in ranking.standings
    ]
    if compared:
        header += ["beats / loses to random search on", "signed-rank p", "over the board"]
        rows = [
            [*cells, f"{row.beats} / {row.loses} of {ranking.problems}" if row.p is not None else "—", p_value(row.p), row.verdict]
            for cells, row in zip(rows, ranking.standings, strict=True)
        ]
    return markdown_table(header, rows)


def _board_text(ranking: Ranking) -> str:
    test = ranking.friedman
    sentences = [
        f"Friedman's test over the {several(test.blocks, 'problem')}: chi-squared {number(test.statistic)}, p = {p_value(test.p)}."
        if test is not None
        else "Friedman's test needs at least three methods and two problems."
    ]
    if len(ranking.standings) > 1:
        sentences.append("The signed-rank p-values compare with random search over the problems, Holm-adjusted over all pairs of methods.")
    sentences.append("All problems of a board share one table of accuracies, so they are not independent.")
    return " ".join(sentences)


def _quoted_table(board: Board) -> str:
    rows = [
        [escape(row.method), number(row.test) + ("" if row.deviation is None else f" ± {number(row.deviation)}"), escape(row.source), escape(row.note)]
        for row in sorted(board.quoted, key=lambda row: (-row.test, row.method, row.source))
    ]
    return markdown_table(["method (quoted)", "test accuracy [%]", "source", "note"], rows)


def chance_table(table: pd.DataFrame) -> str:
    """Return the Markdown table of trials that count as chance; '' if there are none."""
    rows = [[escape(method), escape(problems), escape(reason), f"{count:,}"] for method, problems, reason, count in counted_as_chance(table)]
    return markdown_table(["method", "problems", "reason", "trials"], rows, left=3) if rows else ""


def _own_table(table: pd.DataFrame) -> str:
    rows = [[escape(method), escape(figure), number(mean), f"{count:,}"] for method, figure, mean, count in own_figures(table)]
    return markdown_table(["method", "figure", "mean", "trials"], rows, left=2) if rows else ""


def _seed_count(table: pd.DataFrame) -> str:
    fewest, most = fewest_seeds(table), most_seeds(table)
    if fewest is None:
        return "one run each (no method here has randomness)"
    return several(most, "seed") if fewest == most else f"{fewest} to {most} seeds"


def _below_text(board: Board, bottom: float) -> str:
    hidden = int(np.count_nonzero(board.cloud[:, 1] < bottom))
    return f"{several(hidden, 'cell')} of {len(board.cloud):,} lie below the picture." if hidden else ""


def board_context(
    board: Board, table: pd.DataFrame, standings: ClassStandings, rankings: Rankings, picture_bottom: float, index: str
) -> dict[str, Any]:
    """Return what the template of a board's page prints; `table` holds the board's outcomes, `picture_bottom` [%] is the picture's lower edge."""
    paid, full = of_class(table, QUERIES), of_class(table, FULL_INFORMATION)
    ranked = set(table["problem"])
    compared = RANDOM_SEARCH in set(paid["method"])
    problems = [
        {
            "heading": escape(problem.label),
            "text": _problem_text(problem, board),
            "table": _problem_table(standings[QUERIES].get((*board.key, problem.label), []), compared),
            "full_table": _problem_table(rows, False) if (rows := standings[FULL_INFORMATION].get((*board.key, problem.label), [])) else "",
        }
        for problem in board.problems
        if problem.label in ranked
    ]
    random = rankings[QUERIES].scores.get(RANDOM_SEARCH)
    lost = int((table["reason"] != "").sum())
    return {
        "index": index,
        "stem": board.stem,
        "space": board.space,
        "dataset": escape(board.dataset),
        "device_title": escape(board.device_title or "any device"),
        "device_name": f" (`{board.device}`)" if board.device else "",
        "resource": board.resource,
        "unit": board.unit,
        "origin_text": {"measured": "measured on the device", "estimated": "estimated by a model of the device"}.get(board.origin, board.origin),
        "problem_count": several(len(problems), "problem"),
        "method_count": several(table["method"].nunique(), "method"),
        "seed_count": _seed_count(table),
        "seeds_note": escape(board.seeds_note),
        "warnings": warnings_of(paid, rankings[QUERIES]),
        "below_text": _below_text(board, picture_bottom),
        "board_table": _board_table(rankings[QUERIES], compared),
        "board_text": _board_text(rankings[QUERIES]),
        "problems": problems,
        "full_board_table": _board_table(rankings[FULL_INFORMATION], False) if len(full) else "",
        "full_sentences": full_information_sentences(rankings[FULL_INFORMATION].scores, random) if len(full) else [],
        "quoted_table": _quoted_table(board) if board.quoted else "",
        "chance_text": f"{lost:,} of {several(len(table), 'trial')}. {CHANCE_RULE}" if lost else f"None of {several(len(table), 'trial')}.",
        "chance_table": chance_table(table),
        "own_table": _own_table(table),
        "counted": board_notes(board.hypervolume_reference, board.unit, board.table_checksum),
    }


def board_csv(board: Board, standings: ClassStandings) -> str:
    """Return one row a problem and method as CSV, full precision: accuracies in percent, regrets in points, time in simulated GPU hours."""
    rows = [
        {
            "space": board.space,
            "dataset": board.dataset,
            "device": board.device,
            "problem": problem.label,
            "limits": problem.limits_text,
            "feasible_cells": problem.feasible,
            "optimum_test": problem.best_by_test.test,
            "best_by_validation_test": problem.best_by_validation.test,
            "ranking_class": ranking_class,
            "method": row.method,
            "rank": row.rank,
            "trials": row.trials,
            **estimate_columns("test", row.test),
            **estimate_columns("regret", row.regret),
            "feasible_share": row.feasible_share,
            "queries": row.queries,
            "simulated_gpu_hours": row.gpu_hours,
            **estimate_columns("difference_to_random_search", row.difference),
            "verdict": row.verdict,
        }
        for ranking_class, by_problem in standings.items()
        for problem in board.problems
        for row in by_problem.get((*board.key, problem.label), [])
    ]
    return csv_text(rows)
