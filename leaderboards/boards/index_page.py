"""The index of all boards: the ranking over all problems, and the tests with their limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from budgetnas.leaderboards.boards.board_page import Rankings, beside_table, chance_table, friedman_text, main_class
from budgetnas.leaderboards.boards.context import Board
from budgetnas.leaderboards.boards.findings import full_information_sentences, verdict_sentence, warnings_of, winners
from budgetnas.leaderboards.boards.full_information import feasible_table, looked_up_sentences, same_network_sentence
from budgetnas.leaderboards.boards.outcomes import FULL_INFORMATION, QUERIES, of_board, of_class
from budgetnas.leaderboards.boards.standings import RANDOM_SEARCH, Ranking, dataset_scores, ranking_scores
from budgetnas.leaderboards.shared.expectations import Place, expectation_table, upper_limits
from budgetnas.leaderboards.shared.statistics import friedman, ranks, smallest_p
from budgetnas.leaderboards.shared.tables import (
    csv_text,
    escape,
    estimate,
    estimate_columns,
    markdown_table,
    number,
    p_table,
    p_value,
    percent,
    several,
)


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(escape, names)) or "—"


def _board_row(board: Board, table: pd.DataFrame, ranking: Ranking) -> list[str]:
    by_rank = [(row.method, row.rank.value) for row in ranking.standings]
    shares = {row.method: row.hypervolume.value for row in ranking.standings if row.hypervolume is not None}
    leaders = winners(by_rank, highest=False)
    largest = winners(list(shares.items()), highest=True)
    return [
        f"[{escape(board.dataset)}{f' on {escape(board.device_title)}' if board.device else ''}]({board.stem}.md)",
        f"`{board.resource}`, {escape(board.origin)}",
        f"{table['problem'].nunique():,}",
        _names(leaders) + (f" ({number(min(value for _, value in by_rank))})" if leaders else ""),
        _names(largest) + (f" ({number(max(shares.values()), 4)})" if largest else ""),
    ]


def _ranking_table(ranking: Ranking, compared: bool) -> str:
    header = ["method", "average rank", "regret, IQM [points]", "feasible"]
    rows = [[escape(row.method), estimate(row.rank), estimate(row.regret), percent(row.feasible_share)] for row in ranking.standings]
    if compared:
        header += ["beats random search on", "loses to random search on", "signed-rank p", "effect", "verdict over all problems"]
        problems = max(ranking.problems, 1)
        rows = [
            [
                *cells,
                *(["—", "—"] if row.p is None else [percent(row.beats / problems), percent(row.loses / problems)]),
                p_value(row.p),
                number(row.effect),
                row.verdict,
            ]
            for cells, row in zip(rows, ranking.standings, strict=True)
        ]
    return markdown_table(header, rows)


def _dataset_table(table: pd.DataFrame, methods: Sequence[str]) -> str:
    """Return the table of average ranks by dataset, with one row per method, and Friedman's test within each dataset in the last row."""
    by_dataset = {
        f"{space} {dataset}": ranking_scores(rows, methods) for (space, dataset), rows in table.groupby(["space", "dataset"], sort=True)
    }
    by_dataset = {name: by_dataset[name] for name in sorted(by_dataset, key=str.casefold) if len(by_dataset[name])}
    blocks = dataset_scores(table, methods)
    block_ranks = ranks(blocks.to_numpy()).mean(axis=0)
    columns = {name: ranks(scores.to_numpy()).mean(axis=0) for name, scores in by_dataset.items()}
    rows = [
        [escape(method), *(number(column[index]) for column in columns.values()), number(block_ranks[index])]
        for index, method in enumerate(methods)
    ]
    tests = [friedman(scores.to_numpy()) for scores in by_dataset.values()]
    across = friedman(blocks.to_numpy())
    rows.append(["*Friedman p*", *(p_value(test.p if test else None) for test in tests), p_value(across.p if across else None)])
    header = [
        "average rank",
        *(f"{escape(name)} ({several(len(scores), 'problem')})" for name, scores in by_dataset.items()),
        "datasets as blocks",
    ]
    return markdown_table(header, rows)


def _summary(boards: int, table: pd.DataFrame) -> str:
    lost = int((table["reason"] != "").sum())
    return (
        f"{several(len(table), 'trial')} of {several(table['method'].nunique(), 'method')} on {several(boards, 'board')}: "
        f"{several(table['dataset'].nunique(), 'dataset')}, {several(table['device'].nunique(), 'device')}, "
        f"{several(len(table.drop_duplicates(['space', 'dataset', 'device', 'problem'])), 'problem')}. "
        + (
            f"{several(lost, 'trial')} delivered no feasible network and {'counts' if lost == 1 else 'count'} with chance accuracy."
            if lost
            else "Every trial delivered a feasible network."
        )
    )


def _ranking_context(table: pd.DataFrame, ranking: Ranking, picture: str) -> dict[str, Any]:
    methods = [row.method for row in ranking.standings]
    datasets = len(table.drop_duplicates(["space", "dataset"]))
    compared = RANDOM_SEARCH in methods
    return {
        "ranking_table": _ranking_table(ranking, compared),
        "problem_count": several(ranking.problems, "problem"),
        "devices": table["device"].nunique(),
        "dataset_count": several(datasets, "dataset"),
        "rank_picture": picture,
        "verdicts": [verdict_sentence(row, ranking.problems) for row in ranking.standings],
        "friedman_text": friedman_text(ranking.friedman, "problem"),
        "p_table": p_table(ranking.p_values) if len(methods) > 1 else "",
        "block_count": several(datasets, "such block"),
        "block_p": p_value(smallest_p(datasets, 1)),
        "dataset_table": _dataset_table(table, methods),
    }


def _full_context(full: pd.DataFrame, ranking: Ranking, picture: str) -> dict[str, Any]:
    """Return the values of the template for the class of full information: its tests and feasible shares."""
    methods = [row.method for row in ranking.standings]
    return {
        "full_problems": several(ranking.problems, "problem"),
        "full_picture": picture,
        "full_friedman_text": friedman_text(ranking.friedman, "problem") if len(methods) > 1 else "",
        "full_p_table": p_table(ranking.p_values) if len(methods) > 1 else "",
        "full_dataset_table": _dataset_table(full, methods) if len(full.drop_duplicates(["space", "dataset"])) > 1 else "",
        "feasible_table": feasible_table(full),
        "same_network": same_network_sentence(full),
    }


def _uppers(boards: Sequence[Board]) -> dict[Place, dict[str, float]]:
    found: dict[Place, dict[str, float]] = {}
    for board in boards:
        bounds = [(problem.label, limit.resource, limit.upper) for problem in board.problems for limit in problem.limits]
        found |= upper_limits(*board.key, bounds)
    return found


def index_context(
    title: str,
    command: str,
    boards: Sequence[Board],
    table: pd.DataFrame,
    by_board: Mapping[Board, Rankings],
    overall: Rankings,
    pictures: Mapping[str, str],
    curves: Sequence[tuple[str, str]],
    same: Sequence[str],
) -> dict[str, Any]:
    """Return the values for the template of the index.

    Args:
        title: the title.
        command: the command that makes the pages.
        boards: all boards with a context.
        table: the outcomes.
        by_board: the rankings of each board with trials, by ranking class.
        overall: the rankings over all boards, by ranking class.
        pictures: the file names of rank pictures, by ranking class.
        curves: titles and file names of the pictures over limits.
        same: sentences about methods that are counted once.
    """
    paid, full = of_class(table, QUERIES), of_class(table, FULL_INFORMATION)
    led_by = main_class(overall)
    rows = [_board_row(board, of_board(table, board), rankings[led_by]) for board, rankings in by_board.items()]
    empty = [f"**No trials** on {escape(board.stem)}, so it has no page." for board in boards if board not in by_board]
    context: dict[str, Any] = {
        "title": escape(title),
        "summary": _summary(len(by_board), table),
        "command": " ".join(command.split()),
        "warnings": [*empty, *warnings_of(paid if led_by == QUERIES else full, overall[led_by])],
        "boards_table": markdown_table(["board", "cost", "problems", "best average rank", "largest hypervolume"], rows, left=(0, 1, 3, 4)),
        "ranking_table": "",
        "beside_table": beside_table(overall),
        "full_table": _ranking_table(overall[FULL_INFORMATION], False) if overall[FULL_INFORMATION].standings else "",
        "full_sentences": [
            *full_information_sentences(overall[FULL_INFORMATION].scores, overall[QUERIES].scores.get(RANDOM_SEARCH)),
            *looked_up_sentences(full),
        ]
        if len(full)
        else [],
        **_full_context(full, overall[FULL_INFORMATION], pictures.get(FULL_INFORMATION, "")),
        "curves": [(escape(title), name) for title, name in curves],
        "same": list(same),
        "chance_table": chance_table(table),
        "expectation_table": expectation_table(full, _uppers(boards)),
    }
    if overall[QUERIES].standings and led_by == QUERIES:
        context |= _ranking_context(paid, overall[QUERIES], pictures.get(QUERIES, ""))
    return context


def standings_csv(rankings: Sequence[tuple[Board | None, Rankings]]) -> str:
    """Return CSV with one row per board (None: the whole run), ranking class and method, in full precision."""
    rows = [
        {
            **({} if board is None else {"space": board.space, "dataset": board.dataset, "device": board.device}),
            "ranking_class": ranking_class,
            "method": row.method,
            "problems": ranking.problems,
            **estimate_columns("average_rank", row.rank),
            **({} if board is None else estimate_columns("hypervolume", row.hypervolume)),
            **estimate_columns("regret_iqm", row.regret),
            "feasible_share": row.feasible_share,
            "beats_random_search": row.beats,
            "loses_to_random_search": row.loses,
            "signed_rank_p_holm": row.p,
            "rank_biserial": row.effect,
            "verdict": row.verdict,
        }
        for board, by_class in rankings
        for ranking_class, ranking in by_class.items()
        for row in ranking.standings
    ]
    return csv_text(rows)
