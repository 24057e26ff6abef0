"""The class of full information: feasible shares by limit, equal methods, curves."""

from __future__ import annotations

import csv

import pytest

from budgetnas.leaderboards.boards.context import read_boards
from budgetnas.leaderboards.boards.full_information import (
    MOST_CURVES,
    counted_once,
    curve_methods,
    distinct_table,
    feasible_csv,
    feasible_table,
    same_network_sentence,
)  # fmt: skip
from budgetnas.leaderboards.boards.outcomes import outcomes
from budgetnas.leaderboards.boards.pages import write_pages
from budgetnas.leaderboards.shared.documents import LeaderboardError
from budgetnas.leaderboards.shared.drawing import colours, markers

CLASS = {"ranking_class": "full information", "queries": 40}


def table_of(toy, rows):
    return outcomes(toy.frame(rows), read_boards(toy.write()))


def test_shares_and_networks_by_limit_and_method(toy):
    table = table_of(toy, toy.world({"dca": [8, 8, 30, 12], "rc": [4, 4, 4, 4]}, **CLASS))
    assert "| latency\\_ms@q25 | 50 % | 100 % |" in feasible_table(table).replace("latency_ms", "latency\\_ms")
    assert "50 %, 3 of 4" in distinct_table(table) and "100 %, 1 of 4" in distinct_table(table)
    rows = {(row["problem"], row["method"]): row for row in csv.DictReader(feasible_csv(table).splitlines())}
    assert (rows["latency_ms@q25", "dca"]["feasible_share"], rows["latency_ms@q50", "dca"]["feasible_share"]) == ("0.5", "0.75")
    assert rows["latency_ms@q50", "rc"]["networks"] == "1"
    assert same_network_sentence(table).startswith("In 2 of 4 pairs of problem and method, all seeds ended with the same network. Each")


def test_methods_with_equal_results_are_counted_once_if_one_has_an_option_that_is_not_modelled(toy):
    rows = toy.world({"darts": [8, 6], "rc": [8, 6]}, **CLASS)
    rows += toy.world({"a, unrolled": [8, 6]}, report={"not_modelled_unrolled": 1.0}, **CLASS)
    rows += toy.world({"b, unrolled": [8, 4]}, report={"not_modelled_unrolled": 1.0}, **CLASS)
    kept, sentences = counted_once(table_of(toy, rows))
    assert sorted(set(kept["method"])) == ["b, unrolled", "darts", "rc"]  # darts and rc are equal, but both options are modelled
    assert len(sentences) == 1 and "**a, unrolled** is left out: a table cannot model unrolled" in sentences[0]
    shared = toy.world({"dca": [8, 6], "dca, no graph": [8, 6]}, report={"not_modelled_shared": 1.0}, **CLASS)
    assert counted_once(table_of(toy, shared))[1] == []  # both have the same option that is not modelled, so they differ in another one
    same, none = counted_once(kept)
    assert none == [] and same.equals(kept)


def test_curves_are_drawn_for_methods_of_the_run_only(toy):
    table = table_of(toy, toy.world({"dca": [8]}, **CLASS) + toy.world({"random_search": [4]}))
    assert curve_methods(table, []) == ["dca"] and curve_methods(table, ["random_search"]) == ["random_search"]
    with pytest.raises(LeaderboardError, match="no method 'pc_darts', so it has no curve; choose one of dca, random_search"):
        curve_methods(table, ["pc_darts"])


def test_all_curves_in_a_picture_have_different_colours_and_markers():
    methods = [f"method {index}" for index in range(MOST_CURVES)]
    assert len(set(colours(methods).values())) == len(set(markers(methods).values())) == MOST_CURVES


@pytest.mark.slow
def test_a_single_method_that_paid_for_queries_is_compared_with_the_class_and_not_ranked(toy):
    rows = toy.world({"dca": [8] * 3, "darts": [30] * 3}, **CLASS) + toy.world({"random_search": [4] * 3})
    write_pages(toy.frame(rows), toy.write(), toy.folder / "out", "Beside", "c")
    index, board = ((toy.folder / "out" / name).read_text() for name in ("README.md", "toy-cifar10-edgegpu.md"))
    for page in (index, board):
        assert "| method that paid for queries | regret, IQM [points] | feasible |\n| :--- | ---: | ---: |\n| random_search |" in page
        assert "random_search (1.00)" not in page and "Which methods beat random search" not in page and "## Datasets as blocks" not in page
    assert "| dca (1.00) |" in index and "The best methods in this table are those of the full information class." in index
    two = rows + toy.world({"tpe": [6] * 3})
    write_pages(toy.frame(two), toy.write(), toy.folder / "two", "Two", "c")
    page = (toy.folder / "two" / "README.md").read_text()
    assert "method that paid for queries |" not in page and "Which methods beat random search" in page


@pytest.mark.slow
def test_a_run_with_full_information_only_has_complete_pages(toy):
    keys = [("cifar10", f"device{index}") for index in range(4)]
    rows = toy.world({"dca": [8] * 10, "darts": [30] * 10, "rc": [6, 8] * 5}, keys, **CLASS)
    out = toy.folder / "out"
    paths = write_pages(toy.frame(rows), toy.write(*(toy.board_entry(*key) for key in keys)), out, "All", "c")
    names = {path.name for path in paths}
    assert sorted(paths) == sorted(out.iterdir())
    assert {"ranking-full-information.png", "limits-toy-cifar10.png", "feasible.csv", "toy-cifar10-device0.png"} <= names
    index = (out / "README.md").read_text()
    assert "random_search" not in index and "| dca (1.00) |" in index.replace("[dca", "dca")
    assert "Friedman's test over 8 problems" in index and "| latency_ms@q25 | 0 % | 100 % | 100 % |" in index
    board = (out / "toy-cifar10-device0.md").read_text()
    assert "hypervolume" in board and "100 %, 1 of 10" in board and "## Over" not in board
    rows = list(csv.DictReader((out / "boards.csv").open()))
    assert all(row["hypervolume"] for row in rows) and {row["ranking_class"] for row in rows} == {"full information"}
