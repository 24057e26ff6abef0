"""The index over all boards: the ranking over all problems, the tests, and what they cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from budgetnas.leaderboards.board_page import Rankings, chance_table
from budgetnas.leaderboards.boards import Board
from budgetnas.leaderboards.findings import full_information_sentences, verdict_sentence, warnings_of, winners
from budgetnas.leaderboards.notes import dependence_note, index_notes
from budgetnas.leaderboards.outcomes import FULL_INFORMATION, QUERIES, of_board, of_class
from budgetnas.leaderboards.standings import RANDOM_SEARCH, SIGNIFICANCE, Ranking, dataset_scores, ranking_scores
from budgetnas.leaderboards.statistics import Friedman, friedman, ranks
from budgetnas.leaderboards.tables import (
    csv_text, escape, estimate, estimate_columns, markdown_table, number, p_table, p_value, percent, several,
)  # fmt: skip


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(escape, names)) or "—"


def _board_row(board: Board, table: pd.DataFrame, ranking: Ranking) -> list[str]:
    by_rank = [(row.method, row.rank.value) for row in ranking.standings]
    shares = {row.method: row.hypervolume.value for row in ranking.standings if row.hypervolume is not None}
    leaders = winners(by_rank, highest=False)
    largest = winners(list(shares.items()), highest=True)
    return [
        f"[{escape(board.dataset)} on {escape(board.device_title or 'any device')}]({board.stem}.md)",
        f"`{board.resource}`, {escape(board.origin)}",
        f"{table['problem'].nunique():,}",
        _names(leaders) + (f" ({number(min(value for _, value in by_rank))})" if leaders else ""),
        _names(largest) + (f" ({number(max(shares.values()), 4)})" if largest else ""),
    ]


def _ranking_table(ranking: Ranking, compared: bool) -> str:
    header = ["method", "average rank", "regret, IQM [points]", "feasible"]
    rows = [[escape(row.method), estimate(row.rank), estimate(row.regret), percent(row.feasible_share)] for row in ranking.standings]
    if compared:
        header += ["beats random search on", "loses to it on", "signed-rank p", "effect", "over all problems"]
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


def _friedman_sentence(test: Friedman | None, noun: str) -> str:
    if test is None:
        return "Friedman's test needs at least three methods and two blocks."
    outcome = "the methods differ somewhere" if test.p <= SIGNIFICANCE else "no difference is shown"
    return f"Friedman's test over {several(test.blocks, noun)}: chi-squared {number(test.statistic)}, p = {p_value(test.p)}: {outcome} at {SIGNIFICANCE}."


def _dataset_table(table: pd.DataFrame, methods: Sequence[str]) -> str:
    """Return average ranks by dataset, one row a method, with Friedman's test within each dataset in the last row."""
    by_dataset = {f"{space} {dataset}": ranking_scores(rows, methods) for (space, dataset), rows in table.groupby(["space", "dataset"], sort=True)}
    by_dataset = {name: scores for name, scores in by_dataset.items() if len(scores)}
    blocks = dataset_scores(table, methods)
    block_ranks = ranks(blocks.to_numpy()).mean(axis=0)
    columns = {name: ranks(scores.to_numpy()).mean(axis=0) for name, scores in by_dataset.items()}
    rows = [
        [escape(method), *(number(column[index]) for column in columns.values()), number(block_ranks[index])] for index, method in enumerate(methods)
    ]
    tests = [friedman(scores.to_numpy()) for scores in by_dataset.values()]
    across = friedman(blocks.to_numpy())
    rows.append(["*Friedman p*", *(p_value(test.p if test else None) for test in tests), p_value(across.p if across else None)])
    header = ["average rank", *(f"{escape(name)} ({several(len(scores), 'problem')})" for name, scores in by_dataset.items()), "datasets as blocks"]
    return markdown_table(header, rows)


def _blocks_text(datasets: int, ranking: Ranking) -> str:
    least = min(1.0, 2.0 ** (1 - datasets))
    return (
        "Ranks within each dataset, with Friedman's test over its problems; in the last column each dataset is one block (a method's score is its mean regret over "
        f"the dataset's problems), so that shared accuracies count once. With {several(datasets, 'such block')} a signed-rank test cannot give a p-value below "
        f"{p_value(least)} for a single pair{', so it is not made' if least > SIGNIFICANCE else ''}; Friedman's p over so few blocks is rough."
    )


def _summary(boards: Sequence[Board], table: pd.DataFrame) -> str:
    lost = int((table["reason"] != "").sum())
    return (
        f"{several(len(table), 'trial')} of {several(table['method'].nunique(), 'method')} on {several(len(boards), 'board')}: "
        f"{several(table['dataset'].nunique(), 'dataset')}, {several(table['device'].nunique(), 'device')}, "
        f"{several(len(table.drop_duplicates(['space', 'dataset', 'device', 'problem'])), 'problem')}. "
        + (f"{several(lost, 'trial')} delivered nothing feasible and count as chance." if lost else "Every trial delivered a feasible network.")
    )


def _ranking_context(table: pd.DataFrame, ranking: Ranking, picture: str) -> dict[str, Any]:
    methods = [row.method for row in ranking.standings]
    datasets = len(table.drop_duplicates(["space", "dataset"]))
    compared = RANDOM_SEARCH in methods
    return {
        "ranking_table": _ranking_table(ranking, compared),
        "ranking_text": f"Over {several(ranking.problems, 'problem')}. " + dependence_note(datasets, table["device"].nunique(), ranking.problems),
        "rank_picture": picture,
        "verdicts": [verdict_sentence(row, ranking.problems) for row in ranking.standings],
        "verdict_text": "Verdicts over all problems are Wilcoxon signed-rank tests on mean regrets, Holm-adjusted over all pairs of methods; those on single "
        "problems are bootstrap intervals of the difference, not corrected for their number.",
        "friedman_text": _friedman_sentence(ranking.friedman, "problem"),
        "p_table": p_table(ranking.p_values) if len(methods) > 1 else "",
        "blocks_text": _blocks_text(datasets, ranking),
        "dataset_table": _dataset_table(table, methods),
    }


def index_context(
    title: str, command: str, boards: Sequence[Board], table: pd.DataFrame, by_board: Sequence[Rankings], overall: Rankings, picture: str
) -> dict[str, Any]:
    """Return what the template of the index prints; `by_board` goes with `boards`, `picture` is the rank picture's file name or ''."""
    paid, full = of_class(table, QUERIES), of_class(table, FULL_INFORMATION)
    rows = [
        _board_row(board, of_board(table, board), rankings[QUERIES]) for board, rankings in zip(boards, by_board, strict=True)
    ]
    context: dict[str, Any] = {
        "title": escape(title),
        "summary": _summary(boards, table),
        "command": " ".join(command.split()),
        "warnings": warnings_of(paid, overall[QUERIES]),
        "boards_table": markdown_table(["board", "cost", "problems", "best average rank", "largest hypervolume"], rows, left=2),
        "boards_text": "A board is one dataset and device. In brackets: the average rank over the board's problems, and the share of the exact front's hypervolume. "
        "Figures of all boards: [boards.csv](boards.csv); the ranking: [ranking.csv](ranking.csv).",
        "ranking_table": "",
        "full_table": _ranking_table(overall[FULL_INFORMATION], False) if overall[FULL_INFORMATION].standings else "",
        "full_sentences": full_information_sentences(overall[FULL_INFORMATION].scores, overall[QUERIES].scores.get(RANDOM_SEARCH)) if len(full) else [],
        "chance_table": chance_table(table),
        "counted": index_notes(),
    }
    if overall[QUERIES].standings:
        context |= _ranking_context(paid, overall[QUERIES], picture)
    return context


def standings_csv(rankings: Sequence[tuple[Board | None, Rankings]]) -> str:
    """Return one row a board (or the whole run, for None), ranking class and method as CSV, full precision."""
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
