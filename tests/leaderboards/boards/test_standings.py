"""Verdicts and rankings on numbers that can be computed by hand."""

import pytest

from budgetnas.leaderboards.boards import standings as sd
from budgetnas.leaderboards.boards.context import read_board, read_boards
from budgetnas.leaderboards.boards.findings import verdict_sentence, warnings_of, winners
from budgetnas.leaderboards.boards.outcomes import outcomes

pytestmark = pytest.mark.slow


def table_of(toy, rows, *entries):
    boards = read_boards(toy.write(*entries))
    return outcomes(toy.frame(rows), boards), boards[0]


def rank_all(table, board=None):
    return sd.ranking(table, sd.standings_by_problem(table), board)


def on_first(toy, methods, **changes):
    rows = [toy.trial(method, seed, cell, **changes) for method, cells in methods.items() for seed, cell in enumerate(cells)]
    table, _ = table_of(toy, rows)
    return {row.method: row for row in sd.problem_standings(table)}


def test_verdicts_on_a_problem(toy):
    rows = on_first(
        toy,
        {
            "better": [8] * 5,
            "worse": [0, 2, 1, 0, 0],
            "equal": [4, 6, 2, 4, 6],
            "random_search": [4, 6, 2, 4, 6],
        },
    )
    assert {name: row.verdict for name, row in rows.items()} == {
        "better": "beats",
        "worse": "loses",
        "equal": "no difference shown",
        "random_search": "reference",
    }
    assert list(rows) == ["better", "equal", "random_search", "worse"]
    assert [row.rank for row in rows.values()] == [1.0, 2.5, 2.5, 4.0]
    # Optimum 54; random search recommends 52, 53, 51, 52, 53.
    assert rows["random_search"].regret.value == pytest.approx(1.8)
    assert rows["better"].difference.value == pytest.approx(-1.8)


def test_equal_constant_methods_show_no_difference(toy):
    rows = on_first(toy, {"same": [4] * 7, "random_search": [4] * 6})
    assert rows["same"].verdict == "no difference shown"


def test_few_seeds_give_no_verdict(toy):
    assert on_first(toy, {"better": [8] * 5, "random_search": [0] * 4})["better"].verdict == "too few seeds"
    assert on_first(toy, {"better": [8], "random_search": [0] * 5})["better"].verdict == "too few seeds"


def test_the_single_run_of_a_deterministic_method_is_not_resampled(toy):
    rows = [toy.trial("fixed", 0, 8, deterministic=True), *(toy.trial("random_search", seed, seed % 4) for seed in range(6))]
    fixed = {row.method: row for row in sd.problem_standings(table_of(toy, rows)[0])}["fixed"]
    assert (fixed.verdict, fixed.test.interval, fixed.regret.value) == ("beats", None, 0.0)
    assert fixed.difference.interval is not None


def test_without_random_search_there_is_no_verdict(toy):
    assert on_first(toy, {"a": [8] * 5, "b": [4] * 5})["a"].verdict == "no random search"


def test_failures_lower_the_mean_and_the_feasible_share(toy):
    rows = [toy.trial("m", seed, 8) for seed in range(3)] + [toy.trial("m", 3, None, status="failed", failure="hung")]
    (row,) = sd.problem_standings(table_of(toy, rows)[0])
    assert row.test.value == (3 * 54.0 + 10.0) / 4
    assert (row.feasible_share, row.trials) == (0.75, 4)


def test_the_hypervolume_of_a_seed_is_over_all_its_limits(toy):
    rows = [
        toy.trial("m", 0, 8),
        toy.trial("m", 0, 18, "latency_ms@q50"),
        toy.trial("m", 1, None),
        toy.trial("m", 1, None, "latency_ms@q50"),
    ]
    table, board = table_of(toy, rows)
    # Seed 0 has the height 44 from cost 9 to 19, and 49 up to 20.5. The exact front has the height 40 + i from cost 1 + 2i, for i up to 9.
    reached = 44 * 10 + 49 * 1.5
    exact = sum(2 * (40 + i) for i in range(9)) + 49 * 1.5
    assert sd.hypervolumes(table, board)["m"].value == pytest.approx((reached / exact + 0.0) / 2)


BOARDS = [("cifar10", f"device{index}") for index in range(4)]


def test_ranking_over_eight_problems(toy):
    rows = toy.world({"better": [8] * 5, "random_search": [4, 2, 6, 4, 0], "worse": [0] * 5}, BOARDS)
    table, _ = table_of(toy, rows, *(toy.board_entry(*key) for key in BOARDS))
    ranking = rank_all(table)
    assert [row.method for row in ranking.standings] == ["better", "random_search", "worse"]
    assert [row.rank.value for row in ranking.standings] == [1.0, 2.0, 3.0]
    better, random, worse = ranking.standings
    # Eight problems in one direction give p = 2 / 2^8; Holm multiplies it by three pairs.
    assert better.p == worse.p == pytest.approx(3 * 2 / 2**8)
    assert (better.verdict, random.verdict, worse.verdict) == ("beats", "reference", "loses")
    assert (better.effect, worse.effect) == (-1.0, 1.0)
    assert (better.beats, better.loses, worse.beats, worse.loses) == (8, 0, 0, 8)
    assert ranking.friedman.statistic == pytest.approx(16.0)
    assert not warnings_of(table, ranking)[1:]
    assert (
        verdict_sentence(better, 8)
        == "**better** beats random search (p = 0.023, effect -1.00). Of 8 single problems, it beats random search on 8 and loses on 0."
    )


def test_ties_over_problems_share_ranks(toy):
    table, board = table_of(toy, toy.world({"a": [4] * 5, "b": [4] * 5}))
    ranking = rank_all(table, board)
    assert [row.rank.value for row in ranking.standings] == [1.5, 1.5]
    assert winners([(row.method, row.rank.value) for row in ranking.standings], highest=False) == ["a", "b"]


def test_two_problems_are_too_few(toy):
    table, _ = table_of(toy, toy.world({"better": [8] * 12, "random_search": [0] * 12}))
    ranking = rank_all(table)
    assert ranking.standings[0].verdict == "too few problems"
    (warning,) = warnings_of(table, ranking)
    assert "**Too few problems.**" in warning
    assert "is 0.50. No difference, however large, can be significant at 0.05" in warning


def test_problems_that_lack_a_method_are_left_out_with_a_warning(toy):
    rows = toy.world({"a": [8] * 12, "random_search": [0] * 12})
    rows = [row for row in rows if (row["method"], row["problem"]) != ("a", "latency_ms@q50")]
    table, _ = table_of(toy, rows)
    ranking = rank_all(table)
    assert (ranking.problems, ranking.left_out) == (1, 1)
    assert any("1 problem is left out of the ranking and the tests" in warning for warning in warnings_of(table, ranking))


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "**Too few seeds.**"), (4, "**Too few seeds.**"), (5, "**Few seeds.**"), (9, "**Few seeds.**")]
)
def test_few_seeds_give_a_warning(toy, seeds, words):
    table, _ = table_of(toy, toy.world({"a": [8] * seeds, "random_search": [0] * seeds}))
    assert warnings_of(table, rank_all(table))[0].startswith(words)


def test_the_seeds_of_a_deterministic_method_are_not_counted(toy):
    rows = toy.world({"random_search": [0] * 10}) + toy.world({"fixed": [8]}, deterministic=True)
    table, _ = table_of(toy, rows)
    assert not any("seed" in warning for warning in warnings_of(table, rank_all(table)))


def test_datasets_as_blocks_average_over_devices_and_limits(toy):
    keys = [("cifar10", "x"), ("cifar10", "y"), ("cifar100", "x")]
    table, _ = table_of(toy, toy.world({"a": [8] * 2, "b": [4] * 2}, keys), *(toy.board_entry(*key) for key in keys))
    scores = sd.dataset_scores(table, ["a", "b"])
    # Optima 54 and 59; a delivers 54, b 52.
    assert scores.index.tolist() == ["toy cifar10", "toy cifar100"]
    assert scores.to_numpy().tolist() == [[2.5, 4.5], [2.5, 4.5]]


def test_the_exact_front_has_a_hypervolume_share_of_one(toy):
    front = [{"latency_ms": toy.cost_of(cell), "test": toy.test_of(cell), "feasible": True} for cell in range(0, 20, 2)]
    rows = [toy.trial("m", 0, 18, "latency_ms@q50", front=front)]
    table, board = table_of(toy, rows)
    assert sd.hypervolumes(table, board)["m"].value == pytest.approx(1.0)
    assert read_board(toy.folder / "board0.json").stem == board.stem
