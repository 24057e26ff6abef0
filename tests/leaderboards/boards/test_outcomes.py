"""Outcomes: failed trials count with chance accuracy, and impossible records are errors."""

import math

import pytest

from budgetnas.leaderboards.boards.context import read_board, read_boards
from budgetnas.leaderboards.boards.outcomes import outcomes, points_by_seed


@pytest.fixture
def board(toy):
    return read_board(toy.write()[0])


def test_feasible_trials_count_with_their_accuracy(toy, board):
    row = outcomes(toy.frame([toy.trial("m", 0, 4)]), [board]).iloc[0]
    assert (row["counted_test"], row["reason"], row["gpu_hours"]) == (52.0, "", 2.0)
    assert row["counted_regret"] == toy.test_of(8) - toy.test_of(4) == 2.0
    assert row["points"] == [{"cost": 5.0, "test": 52.0}]


def test_a_missing_failure_or_recommendation_gets_a_standard_reason(toy, board):
    rows = [toy.trial("m", 0, None, status="failed", failure=None), toy.trial("m", 1, None, recommendation=None, front=None)]
    table = outcomes(toy.frame(rows), [board])
    assert table["reason"].tolist() == ["failed without a reason", "found no feasible network"]


@pytest.mark.parametrize(
    ("changes", "cell", "reason"),
    [
        ({"status": "failed", "failure": "killed: out of memory\nmore"}, None, "killed: out of memory"),
        ({"status": "failed", "failure": ""}, None, "failed without a reason"),
        ({}, None, "found no feasible network"),
        ({}, 30, "recommended a network that breaks a limit"),
        ({"violation": math.inf}, 30, "recommended a disconnected or unsupported network"),
        ({"status": "failed", "failure": "hung", "feasible": True}, 4, "hung"),
    ],
)
def test_all_other_trials_count_with_chance_accuracy(toy, board, changes, cell, reason):
    row = outcomes(toy.frame([toy.trial("m", 0, cell, **changes)]), [board]).iloc[0]
    assert (row["reason"], row["counted_test"], row["points"]) == (reason, 10.0, [])
    assert row["counted_regret"] == toy.test_of(8) - 10.0


def test_a_result_above_the_optimum_is_an_error(toy, board):
    better = toy.trial("m", 3, 4, test=54.0 + 1e-6, regret=0.0)
    with pytest.raises(
        ValueError,
        match=r"'m' \(seed 3\) on toy-cifar10-edgegpu latency_ms@q25 reports 54.000001 % test, above the exact optimum of 54.0 %",
    ):
        outcomes(toy.frame([better]), [board])
    hidden = toy.trial("m", 3, 4)
    hidden["front"].append({**hidden["front"][0], "test": 60.0})
    with pytest.raises(ValueError, match="above the exact optimum"):
        outcomes(toy.frame([hidden]), [board])
    rounding = toy.trial("m", 3, 8, test=54.0 + 1e-10, regret=0.0)
    assert outcomes(toy.frame([rounding]), [board])["counted_regret"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regret": 1.0}, "records a regret of 1.0, but it is 2.0"),
        ({"test": math.nan}, "feasible but has no test accuracy"),
        ({"device": "fpga"}, "no context file for toy cifar10 fpga"),
        ({"problem": "latency_ms@q99"}, "context file has latency_ms@q25, latency_ms@q50"),
        ({"ranking_class": "other"}, "unknown ranking class 'other'"),
    ],
)
def test_records_that_do_not_fit_are_refused(toy, board, changes, message):
    with pytest.raises(ValueError, match=message):
        outcomes(toy.frame([{**toy.trial("m", 0, 4), **changes}]), [board])


def test_a_repeated_trial_and_a_name_with_different_settings_are_refused(toy, board):
    with pytest.raises(ValueError, match="two records for seed 0"):
        outcomes(toy.frame([toy.trial("m", 0, 4), toy.trial("m", 0, 6)]), [board])
    with pytest.raises(ValueError, match="'m' has 2 different settings"):
        outcomes(toy.frame([toy.trial("m", 0, 4), toy.trial("m", 1, 6, settings='{"x":1}')]), [board])


def test_missing_columns_and_no_records_are_refused(toy, board):
    frame = toy.frame([toy.trial("m", 0, 4)])
    with pytest.raises(ValueError, match="lack the columns regret"):
        outcomes(frame.drop(columns="regret"), [board])
    with pytest.raises(ValueError, match="no records"):
        outcomes(frame.iloc[:0], [board])


def test_hypervolume_reference_is_the_loosest_limit_or_the_clouds_end(toy):
    (path,) = toy.write()
    assert read_board(path).hypervolume_reference == (20.5, 10.0)
    unlimited = toy.board_entry()
    unlimited["problems"][0]["limits"] = [{"resource": "params", "lower": None, "upper": 5e5}]
    assert read_board(toy.write(unlimited)[0]).hypervolume_reference == (40.0, 10.0)


def test_invalid_context_files_are_refused(toy):
    entry = toy.board_entry()
    with pytest.raises(ValueError, match="two context files describe 'toy-cifar10-edgegpu'"):
        read_boards(toy.write(entry, entry))
    del entry["chance"]
    with pytest.raises(ValueError, match=r"board0\.json: the key 'chance' is missing"):
        read_boards(toy.write(entry))
    (toy.folder / "board0.json").write_text("{")
    with pytest.raises(ValueError, match=r"board0\.json: Expecting property name"):
        read_board(toy.folder / "board0.json")


def test_page_names_have_no_special_characters(toy):
    entry = toy.board_entry(device="")
    entry["space"] = "rcnet[positions=6]"
    assert read_board(toy.write(entry)[0]).stem == "rcnet-positions-6-cifar10"


def test_points_have_the_cost_that_their_board_is_about(toy):
    entries = [toy.board_entry(), toy.board_entry(device="fpga") | {"resource": "params"}]
    trials = [toy.trial("m", 0, 4, device=device) for device in ("edgegpu", "fpga")]
    trials[1]["front"][0]["params"] = 7.0
    trials.append(toy.trial("m", 1, 6, device="fpga"))  # its parameters are not known
    table = outcomes(toy.frame(trials), read_boards(toy.write(*entries)))
    assert table["points"].tolist() == [[{"cost": 5.0, "test": 52.0}], [{"cost": 7.0, "test": 52.0}], []]


def test_points_of_a_seed_are_those_of_all_its_trials(toy, board):
    cells = {("latency_ms@q25", 3): 4, ("latency_ms@q50", 3): 6, ("latency_ms@q25", 1): 8, ("latency_ms@q50", 1): None}
    rows = [toy.trial("m", seed, cell, problem) for (problem, seed), cell in cells.items()]
    rows.append(toy.trial("m", 2, 30))  # breaks a limit
    found = points_by_seed(outcomes(toy.frame(rows), [board]))
    assert [points.tolist() for points in found] == [[[9.0, 54.0]], [], [[5.0, 52.0], [7.0, 53.0]]]


def test_a_recommendation_that_breaks_a_limit_is_no_point_and_breaks_no_rule(toy, board):
    both = toy.trial("m", 0, 4)
    both["front"].append({**both["front"][0], "feasible": False, "test": 99.0})
    assert outcomes(toy.frame([both]), [board])["points"].tolist() == [[{"cost": 5.0, "test": 52.0}]]
