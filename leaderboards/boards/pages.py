"""Writes the pages of a run on tables: an index of all boards and one page per board, in Markdown, with CSV files and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from budgetnas.leaderboards.boards.board_page import ClassStandings, Rankings, board_context, board_csv
from budgetnas.leaderboards.boards.context import Board, read_boards
from budgetnas.leaderboards.boards.full_information import counted_once, curve_methods, feasible_csv, limit_pictures
from budgetnas.leaderboards.boards.index_page import index_context, standings_csv
from budgetnas.leaderboards.boards.outcomes import CLASSES, FULL_INFORMATION, QUERIES, of_board, of_class, outcomes, points_by_seed
from budgetnas.leaderboards.boards.pictures import Panel, board_picture, rank_picture
from budgetnas.leaderboards.boards.standings import ADVISED_SEEDS, FEWEST_SEEDS, Ranking, ranking, standings_by_problem
from budgetnas.leaderboards.shared.documents import INDEX, LeaderboardError, render, write
from budgetnas.leaderboards.shared.drawing import colours
from budgetnas.leaderboards.shared.statistics import BOOTSTRAP_SEED, FEWEST_BLOCKS, RESAMPLES

RANK_PICTURES = {QUERIES: "ranking.png", FULL_INFORMATION: "ranking-full-information.png"}


@dataclass(frozen=True, slots=True)
class Words:
    """Texts of the index: title, command, methods with curves, sentences about methods counted once, picture of look-up graphs."""

    title: str
    command: str
    curves: tuple[str, ...]
    same: tuple[str, ...]
    graphs: str


def _render(template: str, context: Mapping[str, Any]) -> str:
    rules = {
        "resamples": f"{RESAMPLES:,}",
        "bootstrap_seed": BOOTSTRAP_SEED,
        "fewest_seeds": FEWEST_SEEDS,
        "advised_seeds": ADVISED_SEEDS,
        "fewest_blocks": FEWEST_BLOCKS,
    }
    return render(template, {**context, "rules": rules})


def _panels(table: pd.DataFrame, order: Sequence[str], palette: Mapping[str, str]) -> list[Panel]:
    """Return a panel per method, in `order`. A run of a panel is a seed, over all problems of the board."""
    panels = []
    for method in order:
        trials = table[table["method"] == method]
        full = FULL_INFORMATION if trials["ranking_class"].iloc[0] == FULL_INFORMATION else ""
        panels.append(Panel(method, palette[method], points_by_seed(trials), full))
    return panels


def _of_board(standings: ClassStandings, board: Board) -> ClassStandings:
    return {name: {key: rows for key, rows in by_problem.items() if key[:3] == board.key} for name, by_problem in standings.items()}


def _rankings(table: pd.DataFrame, standings: ClassStandings, board: Board | None = None) -> dict[str, Ranking]:
    return {name: ranking(of_class(table, name), standings[name], board) for name in CLASSES}


def _write_board(
    board: Board, table: pd.DataFrame, standings: ClassStandings, rankings: Rankings, palette: Mapping[str, str], out: Path
) -> list[Path]:
    picture = out / f"{board.stem}.png"
    placed = [row.method for name in CLASSES for row in rankings[name].standings]
    order = placed + sorted(set(table["method"]) - set(placed))
    view = board_picture(board, _panels(table, order, palette), picture)
    context = board_context(board, table, standings, rankings, view.hides(board.cloud), INDEX)
    return [
        write(out / f"{board.stem}.md", _render("board.md.jinja", context)),
        write(out / f"{board.stem}.csv", board_csv(board, standings)),
        picture,
    ]


def _write_rank_picture(overall: Ranking, path: Path) -> bool:
    """Write the critical-difference picture, unless there is nothing to compare; return whether it was written."""
    rank = pd.Series({row.method: row.rank.value for row in overall.standings})
    if len(rank) < 2 or math.isclose(rank.min(), rank.max()):
        return False
    rank_picture(rank, overall.p_values, path)
    return True


def write_pages(
    records: pd.DataFrame, boards: Sequence[Path], out: Path, title: str, command: str, curves: Sequence[str] = (), graphs: str = ""
) -> list[Path]:
    """Write the pages, and return the written files: README.md, ranking.csv, boards.csv, and the files of each board with trials.

    Equal input gives equal bytes. With methods of full information there are also feasible.csv and pictures of their curves.

    Args:
        records: one row per trial, with the columns of `outcomes.COLUMNS`.
        boards: the context files, one per space, dataset and device.
        out: the folder of the pages.
        title: the title of the index.
        command: the command that makes the pages.
        curves: the methods with curves over limits, by default all methods of full information.
        graphs: the name of a picture of look-up graphs in `out`, or ''.

    Raises:
        LeaderboardError: records and contexts do not fit together, or a result is better than the exact optimum (raised before any file is
            written), or `out` cannot be written.
    """
    known = read_boards(boards)
    table, same = counted_once(outcomes(records, known))
    drawn = curve_methods(table, curves)
    standings: ClassStandings = {name: standings_by_problem(of_class(table, name)) for name in CLASSES}
    by_board = {board: _rankings(trials, _of_board(standings, board), board) for board in known if len(trials := of_board(table, board))}
    # The ranking over the only board is that board's: its intervals take long enough once.
    overall = next(iter(by_board.values())) if len(by_board) == 1 else _rankings(table, standings)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _write_all(out, table, known, standings, by_board, overall, Words(title, command, tuple(drawn), tuple(same), graphs))
    except OSError as error:
        raise LeaderboardError(f"cannot write the pages into {out}: {error.strerror or error}; choose another folder with --out") from None


def _write_all(
    out: Path,
    table: pd.DataFrame,
    known: Sequence[Board],
    standings: ClassStandings,
    by_board: Mapping[Board, Rankings],
    overall: Rankings,
    words: Words,
) -> list[Path]:
    palette = colours(sorted(set(table["method"])))
    written = []
    for board, rankings in by_board.items():
        written += _write_board(board, of_board(table, board), _of_board(standings, board), rankings, palette, out)
    pictures = {name: file for name, file in RANK_PICTURES.items() if _write_rank_picture(overall[name], out / file)}
    curves = limit_pictures(table, list(by_board), words.curves, out)
    named = [(title, path.name) for title, path in curves]
    context = index_context(words.title, words.command, known, table, by_board, overall, pictures, named, words.same)
    return [
        write(out / INDEX, _render("index.md.jinja", context | {"graphs": words.graphs})),
        write(out / "ranking.csv", standings_csv([(None, overall)])),
        write(out / "boards.csv", standings_csv(list(by_board.items()))),
        *([write(out / "feasible.csv", feasible_csv(table))] if len(of_class(table, FULL_INFORMATION)) else []),
        *[out / file for file in pictures.values()],
        *[path for _, path in curves],
        *written,
    ]
