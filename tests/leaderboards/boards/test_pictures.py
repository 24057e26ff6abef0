"""The part of a board in a picture, and pictures that depend only on their input."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from budgetnas.leaderboards.boards import pictures as figures
from budgetnas.leaderboards.boards.context import read_board

pytestmark = pytest.mark.slow


@pytest.fixture
def board(toy):
    return read_board(toy.write()[0])


def test_the_window_ends_soon_after_the_loosest_limit(board):
    view = figures.window(board, np.array([[9.0, 54.0]]))
    assert 20.5 < view.right < 30.0
    assert view.left < 1.0
    assert view.top > 59.0
    assert not view.logarithmic or view.left > 0
    assert view.hides(board.cloud) == sum(1 for cost, test in board.cloud if cost > view.right or test < view.bottom or test > view.top)


def test_the_axis_is_logarithmic_only_for_wide_ranges(toy):
    narrow = toy.board_entry()
    narrow["cloud"]["cost"] = [cost + 10 for cost in narrow["cloud"]["cost"]]
    narrow["front"] = [{**cell, "cost": cell["cost"] + 10} for cell in narrow["front"]]
    assert not figures.window(read_board(toy.write(narrow)[0]), np.empty((0, 2))).logarithmic
    assert figures.window(read_board(toy.write(toy.board_entry())[0]), np.empty((0, 2))).logarithmic


def test_colours_do_not_depend_on_the_order():
    assert figures.colours(["b", "a", "c"]) == figures.colours(["c", "b", "a"])
    assert len(set(figures.colours(list("abcdefgh")).values())) == 8


def draw(board, path, runs):
    panels = [figures.Panel(f"method {index} $x$", "#4477AA", runs) for index in range(7)]
    figures.board_picture(board, panels, path)
    return path.read_bytes()


def test_the_bytes_do_not_depend_on_the_user_s_settings(board, tmp_path):
    runs = [np.array([[9.0, 54.0], [19.0, 59.0]]), np.array([[5.0, 52.0]]), np.empty((0, 2))]
    first = draw(board, tmp_path / "one.png", runs)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.dpi": 33, "figure.facecolor": "red"}):
        assert draw(board, tmp_path / "two.png", runs) == first
    assert Image.open(io.BytesIO(first)).size[0] == 1100


def test_recommendations_are_drawn(board, tmp_path):
    runs = [np.array([[9.0, 54.0], [19.0, 59.0]])]
    assert draw(board, tmp_path / "with.png", runs) != draw(board, tmp_path / "without.png", [np.empty((0, 2))])


def test_rank_pictures_allow_any_method_name(tmp_path):
    names = ["$a_b", "b|<c>", "c"]
    table = pd.DataFrame(np.ones((3, 3)), index=names, columns=names)
    figures.rank_picture(pd.Series([1.0, 2.0, 3.0], index=names), table, tmp_path / "ranks.png")
    assert Image.open(tmp_path / "ranks.png").size == (880, 209)
