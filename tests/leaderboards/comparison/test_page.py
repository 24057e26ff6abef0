"""The page, the CSV file and the terminal lines of a comparison."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from budgetnas.leaderboards.comparison.page import CSV_COLUMNS, comparison_csv, comparison_page, summary_lines, write_comparison_pages
from budgetnas.leaderboards.comparison.rows import networks_of
from budgetnas.leaderboards.shared.documents import LeaderboardError

SEEDS = {10: [97.0, 96.0, 98.0], 200: [92.0, 93.5, 92.5], 3_000: [88.0, 87.0, 90.0]}
PAGE = """\
# Queried against retrained

Of every problem and method, the feasible recommendation that is best by validation over the seeds, each network once, trained from \
scratch with every evaluation seed. Made by `budgetnas compare runs/x`; every figure is in [compare.csv](compare.csv). Square brackets \
hold 95 % intervals by Student's t.

> cifar10 is left out: no images

![Retrained accuracy of every network, with the figure known before it](compare.png)

*A mark is a network, in the colour of the first method that found it; its bar is one standard deviation over evaluation seeds. On the \
dashed line, where there is one, both figures are equal.*

## toy on digits201

Recipe digits201, evaluation seeds 0, 1, 2. The table's own trainer.

- 3 networks, 17 of 18 accuracies equal to the table's precision; retrained minus queried test accuracy +0.200 points on average (95% \
interval -0.661 to +1.061 over networks); Kendall's tau-b 1.000, Spearman 1.000. The table's own seeds differ by a standard deviation of \
1.14 points for one network, and any two of them order the networks with tau-b 1.00 and Spearman 1.00 on average. The evaluation seeds \
differ by a standard deviation of 1.12 points for one network, and any two of them order the networks with tau-b 1.00 and Spearman 1.00 \
on average.

Another processor or another version of PyTorch may round sums differently. A retraining then differs from the table as two seeds differ.

| network | found by | won | test %, queried | test %, retrained | validation %, retrained | difference | equal |
| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: |
| 10 `\\|cell~10\\|` | rcas | 1 | 97.00 | 97.00 [94.52, 99.48] | 96.00 [93.52, 98.48] | +0.00 | 6 of 6 |
| 200 `\\|cell~200\\|` | rcas (2); tpe | 3 | 92.67 | 93.27 [91.58, 94.96] | 91.67 [89.77, 93.56] | +0.60 | 5 of 6 |
| 3000 `\\|cell~3000\\|` | rcas | 1 | 88.33 | 88.33 [84.54, 92.13] | 87.33 [83.54, 91.13] | +0.00 | 6 of 6 |

*won*: on how many pairs of problem and method the network (or one identical to it) was the best found.

*equal*: how many accuracies, validation and test with every seed, equal the table's with the same seed within its precision. \
*queried*: the table's mean over these seeds.
"""


@pytest.fixture
def by_the_table(own_rows, table_of):
    later = {200: {"methods": ("rcas", "rcas", "tpe"), "won": 3}}
    rows = [own_rows(index, SEEDS[index], SEEDS[index], **later.get(index, {})) for index in (200, 10, 3_000)]
    rows[0][0] |= {"test_retrained": 93.8, "test_difference": 1.8}
    return table_of(*rows)


def test_the_whole_page_with_the_table_s_own_trainer(by_the_table):
    assert comparison_page(networks_of(by_the_table), "budgetnas compare runs/x", ["cifar10 is left out: no images"]) == PAGE


def test_the_line_for_the_terminal_if_all_accuracies_are_equal(own_rows, table_of):
    networks = networks_of(table_of(*[own_rows(index, tests, tests) for index, tests in SEEDS.items()]))
    assert summary_lines(networks) == [
        "digits201: 3 networks, 18 of 18 accuracies equal to the table's precision; retrained minus queried test accuracy +0.000 points "
        "on average (95% interval +0.000 to +0.000 over networks); Kendall's tau-b 1.000, Spearman 1.000."
    ]
    page = comparison_page(networks, "x")
    assert "Another processor" not in page and "The evaluation seeds differ" not in page and "The table's own seeds differ" in page


def test_one_network_and_equally_accurate_ones(own_rows, table_of):
    (line,) = summary_lines(networks_of(table_of(own_rows(10, [97.0], [98.0]))))
    assert line.startswith("digits201: 1 network, 1 of 2 accuracies equal") and "(one network has no interval)" in line
    assert line.endswith("; fewer than 3 networks have no ranking to compare.")
    (line,) = summary_lines(networks_of(table_of(*[own_rows(index, [97.0], [97.0]) for index in (1, 2, 3)])))
    assert line.endswith("; ranks cannot be compared: the networks do not differ.")


def test_with_a_recipe_every_search_s_network_is_shown_with_the_search_s_figures(recipe_rows, table_of):
    rows = [
        recipe_rows(10, [97.0, 96.0, 98.0], [60.0, 61.0], methods=("darts",) * 2, diverged=True, search_loss=0.1234, search_accuracy=9.95),
        recipe_rows(200, [92.0, 93.5, 92.5], [70.0, 71.0], methods=("a|b",), index=None),
        recipe_rows(3_000, [88.0, 87.0, 90.0], [50.0, 51.0]),
    ]  # fmt: skip
    networks = networks_of(table_of(*rows))
    page = comparison_page(networks, "x")
    assert page.startswith("# Queried against retrained\n\nWhat every search recommended, feasible or not, each network once, trained")
    assert "Recipe smoke, evaluation seeds 1000000, 1000001. Trained here: epochs 3, not 6.\n" in page
    assert "2 trainings diverged; they count with the accuracy of guessing." in page
    assert "Seeds alone would make" in page and "*won*" not in page and "*equal*" not in page and " equal |" not in page
    assert "| network | found by | test %, queried | test %, retrained | validation %, retrained | difference | search's last" in page
    first, second, third = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert first == "| `\\|cell~200\\|` | a\\|b | 92.67 | 70.50 [—] | 69.50 [—] | -22.17 | — | — |"
    assert second == "| 10 `\\|cell~10\\|` | darts (2) | 97.00 | 60.50 [—] | 59.50 [—] | -36.50 | 0.123 | 9.95 |"
    assert third.startswith("| 3000 ")
    retrained, compared = summary_lines(networks)
    assert retrained == "digits201: 3 networks retrained by smoke"
    assert compared.startswith("  3 of 3 networks have both figures; retrained minus queried test accuracy -32.167 points on average (95% ")


def test_without_known_accuracies_only_retrained_ones_are_shown(recipe_rows, table_of):
    networks = networks_of(table_of(recipe_rows(10, [], [60.0, 61.0]), recipe_rows(11, [], [60.0], space="other")))
    assert "retrained figures stand by themselves" in comparison_page(networks, "x")
    assert summary_lines(networks) == ["toy on digits201: 1 network retrained by smoke", "other on digits201: 1 network retrained by smoke"]


def test_the_csv_has_a_row_for_every_network_and_seed(by_the_table, recipe_rows, table_of):
    text = comparison_csv(by_the_table)
    rows = list(csv.DictReader(text.splitlines()))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["index"], row["evaluation_seed"]) for row in rows] == [(str(i), str(seed)) for i in (200, 10, 3_000) for seed in range(3)]
    assert all(row["validation_queried_same_seed"] == row["validation_retrained"] for row in rows)
    assert [float(row["test_retrained"]) - float(row["test_queried_same_seed"]) for row in rows] == pytest.approx([1.8, *[0.0] * 8])
    assert {row["test_queried"] for row in rows[:3]} == {"92.6667"} and {row["diverged"] for row in rows} == {"0"}
    (row,) = csv.DictReader(comparison_csv(table_of(recipe_rows(1, [], [60.0], index=None, validation_retrained=math.nan))).splitlines())
    unknown = ("index", "test_queried", "validation_queried", "test_queried_same_seed", "validation_early_stopped", "validation_retrained")
    assert all(row[name] == "" for name in unknown) and (row["test_retrained"], row["evaluation_seed"]) == ("60", "1000000")


def test_three_files_are_written_and_are_the_same_every_time(by_the_table, tmp_path: Path):
    lines = write_comparison_pages(by_the_table, tmp_path / "a", "x")
    assert lines[0].startswith("digits201: 3 networks, 17 of 18")
    write_comparison_pages(by_the_table, tmp_path / "b", "x")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["compare.csv", "compare.md", "compare.png"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_a_folder_that_cannot_be_created_is_a_one_line_error(by_the_table, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LeaderboardError, match=r"cannot write the comparison into .*file/out.*; choose another folder with --out"):
        write_comparison_pages(by_the_table, tmp_path / "file" / "out", "x")
