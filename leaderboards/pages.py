"""Records in, pages out: an index over all boards and one page a board, in Markdown, with CSV and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from budgetnas.leaderboards.board_page import ClassStandings, Rankings, board_context, board_csv
from budgetnas.leaderboards.boards import Board, read_boards
from budgetnas.leaderboards.figures import Floats, board_picture, rank_picture
from budgetnas.leaderboards.index_page import index_context, standings_csv
from budgetnas.leaderboards.outcomes import CLASSES, QUERIES, of_board, of_class, outcomes
from budgetnas.leaderboards.standings import Ranking, ranking, standings_by_problem

INDEX = "README.md"
RANK_PICTURE = "ranking.png"


def _render(template: str, context: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the output is Markdown; every cell is escaped for it where it is made
    )
    return environment.get_template(template).render(context)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _recommendations(table: pd.DataFrame, order: Sequence[str]) -> dict[str, list[Floats]]:
    """Return for each method, in `order`, one array a seed of its feasible recommendations, shape (n, 2) of (cost, test accuracy [%])."""
    return {
        method: [
            np.asarray([point for points in seed["points"] for point in points], dtype=np.float64).reshape(-1, 2)
            for _, seed in table[table["method"] == method].groupby("seed", sort=True)
        ]
        for method in order
    }


def _of_board(standings: ClassStandings, board: Board) -> ClassStandings:
    return {name: {key: rows for key, rows in by_problem.items() if key[:3] == board.key} for name, by_problem in standings.items()}


def _rankings(table: pd.DataFrame, standings: ClassStandings, board: Board | None = None) -> dict[str, Ranking]:
    return {name: ranking(of_class(table, name), standings[name], board) for name in CLASSES}


def _write_board(board: Board, table: pd.DataFrame, standings: ClassStandings, rankings: Rankings, out: Path) -> list[Path]:
    picture = out / f"{board.stem}.png"
    placed = [row.method for name in CLASSES for row in rankings[name].standings]
    order = placed + sorted(set(table["method"]) - set(placed))
    bottom = board_picture(board, _recommendations(table, order), picture)
    context = board_context(board, table, standings, rankings, bottom, INDEX)
    return [
        _write(out / f"{board.stem}.md", _render("board.md.jinja", context)),
        _write(out / f"{board.stem}.csv", board_csv(board, standings)),
        picture,
    ]


def _write_rank_picture(overall: Ranking, out: Path) -> list[Path]:
    """Write the critical-difference picture where there is something to compare; return its path, or nothing."""
    rank = pd.Series({row.method: row.rank.value for row in overall.standings})
    if len(rank) < 2 or math.isclose(rank.min(), rank.max()):
        return []
    rank_picture(rank, overall.p_values, out / RANK_PICTURE)
    return [out / RANK_PICTURE]


def write_pages(records: pd.DataFrame, boards: Sequence[Path], out: Path, title: str, command: str) -> list[Path]:
    """Return the files written under `out`: README.md, ranking.csv, boards.csv, and Markdown, CSV and PNG for every board with trials.

    `records` has one row a trial (columns: `outcomes.COLUMNS`); `boards` are the context files, one a space, dataset and device; `command`
    is what the index says it was made by. Equal input gives equal bytes. Raises ValueError if the two do not fit together or anything is
    better than the exact optimum; then nothing has been written.
    """
    known = read_boards(boards)
    table = outcomes(records, known)
    standings: ClassStandings = {name: standings_by_problem(of_class(table, name)) for name in CLASSES}
    ranked = [(board, trials) for board in known if len(trials := of_board(table, board))]
    by_board = [_rankings(trials, _of_board(standings, board), board) for board, trials in ranked]
    overall = _rankings(table, standings)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for (board, trials), rankings in zip(ranked, by_board, strict=True):
        written += _write_board(board, trials, _of_board(standings, board), rankings, out)
    picture = _write_rank_picture(overall[QUERIES], out)
    context = index_context(title, command, [board for board, _ in ranked], table, by_board, overall, RANK_PICTURE if picture else "")
    return [
        _write(out / INDEX, _render("index.md.jinja", context)),
        _write(out / "ranking.csv", standings_csv([(None, overall)])),
        _write(out / "boards.csv", standings_csv([(board, rankings) for (board, _), rankings in zip(ranked, by_board, strict=True)])),
        *picture,
        *written,
    ]
