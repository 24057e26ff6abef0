"""The page of one board: its texts and Markdown tables, and its rows as CSV."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from budgetnas.leaderboards.boards import findings
from budgetnas.leaderboards.boards.context import Board, BoardProblem
from budgetnas.leaderboards.boards.full_information import distinct_table, same_network_sentence
from budgetnas.leaderboards.boards.outcomes import FULL_INFORMATION, QUERIES, of_class
from budgetnas.leaderboards.boards.standings import RANDOM_SEARCH, SIGNIFICANCE, ProblemStanding, ProblemStandings, Ranking
from budgetnas.leaderboards.shared.statistics import Friedman
from budgetnas.leaderboards.shared.tables import (
    csv_text,
    escape,
    estimate,
    estimate_columns,
    markdown_table,
    number,
    p_value,
    percent,
    several,
)

ClassStandings = Mapping[str, ProblemStandings]  # ranking class -> standings by problem
Rankings = Mapping[str, Ranking]  # ranking class -> ranking over the board's problems
_ORIGINS = {"measured": "measured on the device", "estimated": "estimated by a model of the device", "exact": "computed exactly"}


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
            number(row.gpu_hours, 1 if row.gpu_hours >= 0.1 else 3),  # small networks take seconds to train
        ]
        for row in rows
    ]
    if compared:
        header.append("against random search [points]")
        cells = [
            [*line, row.verdict if row.difference is None else f"{row.verdict}: {estimate(row.difference)}"]
            for line, row in zip(cells, rows, strict=True)
        ]
    return markdown_table(header, cells, left=(1, 7))


def _problem_text(problem: BoardProblem, board: Board) -> str:
    decimals = 3 if board.unit in ("ms", "mJ") else 0  # other costs are counts
    best, chosen = problem.best_by_test, problem.best_by_validation
    if best is None or chosen is None:
        return f"Limit: `{problem.limits_text}`. No connected, supported cell keeps it, so no method can deliver a network, and all tie."
    share = f"{percent(problem.share)} of the connected, supported cells"
    regret = number(best.test - chosen.test)
    lines = [
        f"Limit: `{problem.limits_text}`, kept by {several(problem.feasible, 'cell')} ({share}).",
        f"Best by test accuracy: {number(best.test)} % (cell {best.index}, `{best.arch}`, {number(best.cost, decimals)} {board.unit}).",
        f"Best by validation accuracy, the best that a search can aim for: {number(chosen.test)} % test accuracy",
        f"(cell {chosen.index}, {number(chosen.cost, decimals)} {board.unit}), a regret of {regret}.",
    ]
    return "\n".join(lines)


def _board_table(ranking: Ranking, compared: bool) -> str:
    header = ["method", "average rank", "hypervolume, share of the exact front's", "regret, interquartile mean [points]", "feasible"]
    rows = [
        [escape(row.method), estimate(row.rank), estimate(row.hypervolume, 4), estimate(row.regret), percent(row.feasible_share)]
        for row in ranking.standings
    ]
    if compared:
        header += ["problems on which it beats / loses to random search", "regret minus random search's [points]", "verdict on this board"]
        rows = [
            [*cells, f"{row.beats} / {row.loses} of {ranking.problems}" if row.p is not None else "—", estimate(row.difference), row.here]
            for cells, row in zip(rows, ranking.standings, strict=True)
        ]
    return markdown_table(header, rows)


def main_class(rankings: Rankings) -> str:
    """Return the ranking class that comes first on a page.

    It is that of the methods that paid for queries. If only one method did, and others read the whole table, it is full information: a
    ranking of one method means nothing, and that method is only a comparison for the others.
    """
    alone = len(rankings[QUERIES].standings) < 2 and len(rankings[FULL_INFORMATION].standings) > 0
    return FULL_INFORMATION if alone else QUERIES


def beside_table(rankings: Rankings) -> str:
    """Return the table of the only method that paid for queries, if full information comes first; '' otherwise."""
    if main_class(rankings) == QUERIES or not rankings[QUERIES].standings:
        return ""
    header = ["method that paid for queries", "regret, IQM [points]", "feasible"]
    return markdown_table(
        header, [[escape(row.method), estimate(row.regret), percent(row.feasible_share)] for row in rankings[QUERIES].standings]
    )


def friedman_text(test: Friedman | None, noun: str) -> str:
    """Return sentences with the result of Friedman's test; `noun` is the name of a block."""
    if test is None:
        return "Friedman's test needs at least three methods and two blocks."
    outcome = "some methods differ" if test.p <= SIGNIFICANCE else "no difference is shown"
    figures = f"chi-squared {number(test.statistic)}, p = {p_value(test.p)}"
    return f"Friedman's test over {several(test.blocks, noun)}: {figures}. At the level {SIGNIFICANCE}, {outcome}."


def _quoted_table(board: Board) -> str:
    rows = [
        [
            escape(row.method),
            number(row.test) + ("" if row.deviation is None else f" ± {number(row.deviation)}"),
            escape(row.source),
            escape(row.note),
        ]
        for row in sorted(board.quoted, key=lambda row: (-row.test, row.method, row.source))
    ]
    return markdown_table(["method (quoted)", "test accuracy [%]", "source", "note"], rows, left=(0, 2, 3))


def chance_table(table: pd.DataFrame) -> str:
    """Return the Markdown table of the trials that count with chance accuracy; '' if there are none."""
    rows = [
        [escape(method), escape(problems), escape(reason), f"{count:,}"]
        for method, problems, reason, count in findings.counted_as_chance(table)
    ]
    return markdown_table(["method", "problems", "reason", "trials"], rows, left=(0, 1, 2)) if rows else ""


def _own_table(table: pd.DataFrame) -> str:
    rows = [[escape(method), escape(figure), number(mean), f"{count:,}"] for method, figure, mean, count in findings.own_figures(table)]
    return markdown_table(["method", "figure", "mean", "trials"], rows, left=(0, 1)) if rows else ""


def _seed_count(table: pd.DataFrame) -> str:
    fewest, most = findings.fewest_seeds(table), findings.most_seeds(table)
    if fewest is None:
        return "one run per method (all methods are deterministic)"
    return several(most, "seed") if fewest == most else f"{fewest} to {most} seeds"


def _problem_sections(board: Board, standings: ClassStandings, labels: Collection[str], compared: bool) -> list[dict[str, str]]:
    """Return the template's values for each problem in `labels`, in the board's order."""
    sections = []
    for problem in board.problems:
        if problem.label not in labels:
            continue
        paid, full = (standings[name].get((*board.key, problem.label), []) for name in (QUERIES, FULL_INFORMATION))
        sections.append(
            {
                "heading": escape(problem.label),
                "text": _problem_text(problem, board),
                "table": _problem_table(paid, compared) if paid else "",
                "full_table": _problem_table(full, False) if full else "",
            }
        )
    return sections


def board_context(
    board: Board, table: pd.DataFrame, standings: ClassStandings, rankings: Rankings, hidden_cells: int, index: str
) -> dict[str, Any]:
    """Return the values for the template of a board's page.

    Args:
        board: the board.
        table: its outcomes.
        standings: its standings, by ranking class and problem.
        rankings: its ranking, by ranking class.
        hidden_cells: the number of cells outside the picture.
        index: the file name of the index.
    """
    paid, full = of_class(table, QUERIES), of_class(table, FULL_INFORMATION)
    led_by = main_class(rankings)
    compared = RANDOM_SEARCH in set(paid["method"]) and led_by == QUERIES
    problems = _problem_sections(board, standings, set(table["problem"]), compared)
    random = rankings[QUERIES].scores.get(RANDOM_SEARCH)
    reference_cost, chance = board.hypervolume_reference
    return {
        "index": index,
        "stem": board.stem,
        "space": board.space,
        "dataset": escape(board.dataset),
        "device_title": escape(board.device_title),
        "device_name": f" (`{board.device}`)" if board.device else "",
        "resource": board.resource,
        "unit": board.unit,
        "origin_text": _ORIGINS.get(board.origin, board.origin),
        "problem_count": several(len(problems), "problem"),
        "method_count": several(table["method"].nunique(), "method"),
        "seed_count": _seed_count(table),
        "seeds_note": escape(board.seeds_note),
        "warnings": findings.warnings_of(paid if led_by == QUERIES else full, rankings[led_by]),
        "hidden_text": f"Outside the picture: {several(hidden_cells, 'cell')} of {len(board.cloud):,}." if hidden_cells else "",
        "board_table": _board_table(rankings[QUERIES], compared) if len(paid) and led_by == QUERIES else "",
        "beside_table": beside_table(rankings),
        "friedman_text": friedman_text(rankings[QUERIES].friedman, "problem"),
        "full_friedman_text": friedman_text(rankings[FULL_INFORMATION].friedman, "problem") if len(full) else "",
        "distinct_table": distinct_table(full),
        "same_network": same_network_sentence(full) if len(full) else "",
        "compared": compared,
        "verdicts": [findings.sentence_here(row, rankings[QUERIES].problems) for row in rankings[QUERIES].standings] if compared else [],
        "problems": problems,
        "full_board_table": _board_table(rankings[FULL_INFORMATION], False) if len(full) else "",
        "full_sentences": findings.full_information_sentences(rankings[FULL_INFORMATION].scores, random) if len(full) else [],
        "quoted_table": _quoted_table(board) if board.quoted else "",
        "lost": f"{int((table['reason'] != '').sum()):,}",
        "trials": several(len(table), "trial"),
        "chance_table": chance_table(table),
        "own_table": _own_table(table),
        "reference": f"{number(reference_cost, 4)} {board.unit} and {number(chance)} %",
        "checksum": board.table_checksum,
    }


def board_csv(board: Board, standings: ClassStandings) -> str:
    """Return CSV with one row per problem and method in full precision: accuracies in percent, regrets in points, time in GPU hours."""
    rows = [
        {
            "space": board.space,
            "dataset": board.dataset,
            "device": board.device,
            "problem": problem.label,
            "limits": problem.limits_text,
            "feasible_cells": problem.feasible,
            "optimum_test": problem.best_by_test.test if problem.best_by_test else math.nan,
            "best_by_validation_test": problem.best_by_validation.test if problem.best_by_validation else math.nan,
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
