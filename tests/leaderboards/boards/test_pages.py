"""Whole pages: golden fragments, edge cases, and equal bytes for equal input."""

import re

import pytest

from budgetnas.leaderboards.boards.pages import write_pages
from budgetnas.leaderboards.shared.documents import LeaderboardError

pytestmark = pytest.mark.slow

COMMAND = "budgetnas leaderboard RUN"


def pages(toy, rows, *entries, folder="out"):
    """Write all pages and return their texts by name; pictures as bytes."""
    out = toy.folder / folder
    paths = write_pages(toy.frame(rows), toy.write(*entries), out, "Leaderboards", COMMAND)
    assert sorted(paths) == sorted(out.iterdir())
    return {path.name: path.read_bytes() if path.suffix == ".png" else path.read_text(encoding="utf-8") for path in paths}


def usual(toy):
    rows = toy.world({"evolution": [8] * 10, "random_search": [4, 4, 2, 6, 4, 4, 2, 6, 4, 4]})
    rows += toy.world({"greedy": [6]}, deterministic=True, report={"evaluations_saved": 12, "note": "text"})
    rows += toy.world({"relaxation": [8]}, deterministic=True, ranking_class="full information", queries=40)
    return rows


BOARD = "toy-cifar10-edgegpu"


def test_the_page_of_a_board_word_for_word(toy):
    text = pages(toy, usual(toy))[f"{BOARD}.md"]
    assert text.startswith(
        "# cifar10 on A edgegpu\n\n[All boards](README.md) · [the figures of this page as CSV](toy-cifar10-edgegpu.csv)\n"
    )
    assert "The cost is `latency_ms`, in ms, measured on the device. 2 problems, 4 methods, 10 seeds." in text
    assert f"![Test accuracy against latency_ms: one panel per method]({BOARD}.png)" in text
    assert (
        """## latency_ms@q25

Limit: `latency_ms<=10.5`, kept by 10 cells (25 % of the connected, supported cells).
Best by test accuracy: 54.00 % (cell 8, `|cell~8|`, 9.000 ms).
Best by validation accuracy, the best that a search can aim for: 54.00 % test accuracy
(cell 8, 9.000 ms), a regret of 0.00.

| rank | method | test accuracy [%] | regret [points] | feasible | queries | GPU hours | against random search [points] |
| ---: | :--- | ---: | ---: | ---: | ---: | ---: | :--- |
| 1 | evolution | 54.00 [54.00, 54.00] | 0.00 [0.00, 0.00] | 100 % | 200 | 2.0 | beats: -2.00 [-2.40, -1.60] |
| 2 | greedy | 53.00 [—] | 1.00 [—] | 100 % | 200 | 2.0 | beats: -1.00 [-1.40, -0.60] |
| 3 | random_search | 52.00 [51.60, 52.40] | 2.00 [1.60, 2.40] | 100 % | 200 | 2.0 | reference |

Full information, ranked separately:

| rank | method | test accuracy [%] | regret [points] | feasible | queries | GPU hours |
| ---: | :--- | ---: | ---: | ---: | ---: | ---: |
| 1 | relaxation | 54.00 [—] | 0.00 [—] | 100 % | 40 | 2.0 |

## latency_ms@q50
"""
        in text
    )
    assert "| greedy | evaluations_saved | 12.00 | 2 |" in text
    assert "| GDAS | 93.61 ± 0.09 | a paper \\| table 1 |  |" in text
    assert "## Trials counted as chance\n\nNone of 44 trials.\n" in text
    assert "- This board's reference point is 20.5000 ms and 10.00 %. The checksum of its table is `sha256:0123`.\n" in text


def test_quoted_results_and_full_information_are_not_in_the_ranking(toy):
    text = pages(toy, usual(toy))
    board = text[f"{BOARD}.md"]
    ours = board[board.index("## Over 2 problems") : board.index("## latency_ms@q25")]
    assert "evolution" in ours
    assert "GDAS" not in ours and "relaxation" not in ours
    index = text["README.md"]
    ranking = index[index.index("## Ranking") : index.index("## Full information")]
    assert "relaxation" not in ranking
    assert "is not a fair win. Problems on which the mean regret is smaller: **relaxation** 2 of 2." in index


def test_the_index_word_for_word(toy):
    keys = [("cifar10", f"device{index}") for index in range(4)]
    rows = toy.world({"evolution": [8] * 10, "random_search": [4, 2] * 5}, keys)
    text = pages(toy, rows, *(toy.board_entry(*key) for key in keys))["README.md"]
    summary = "160 trials of 2 methods on 4 boards: 1 dataset, 4 devices, 8 problems. Every trial delivered a feasible network."
    assert text.startswith(f"# Leaderboards\n\n{summary}\n\nMade by\n\n```\n{COMMAND}\n```\n\n## Boards\n")
    assert "[!WARNING]" not in text
    # Random search delivers cheaper cells, which hypervolume rewards and the ranking does not.
    assert "| [cifar10 on A device0](toy-cifar10-device0.md) | `latency_ms`, measured | 2 | evolution (1.00) | random_search (" in text
    assert "| evolution | 1.00 [1.00, 1.00] | 2.50 [2.50, 2.50] | 100 % | 100 % | 0 % | 0.0078 | -1.00 | beats |" in text
    verdict = "- **evolution** beats random search (p = 0.0078, effect -1.00)."
    assert f"{verdict} Of 8 single problems, it beats random search on 8 and loses on 0.\n" in text
    assert "the 4 devices share the accuracies of each dataset" in text
    assert "| random_search | 0.0078 | — |" in text


def test_links_lead_to_written_files(toy):
    written = pages(toy, usual(toy))
    for name, text in written.items():
        if name.endswith(".md"):
            targets = re.findall(r"\]\(([^)]+)\)", text)
            assert targets
            assert set(targets) <= set(written)


def test_failures_and_infeasible_recommendations_are_listed_and_counted(toy):
    rows = toy.world({"random_search": [4] * 10})
    rows += [toy.trial("m", seed, 8) for seed in range(7)]
    rows += [toy.trial("m", 7 + seed, None, status="failed", failure="killed: <memory> | limit") for seed in range(2)]
    rows.append(toy.trial("m", 9, 30))
    rows += [toy.trial("m", seed, 8, "latency_ms@q50") for seed in range(10)]
    text = pages(toy, rows)
    board = text[f"{BOARD}.md"]
    assert "3 of 40 trials count with chance accuracy and the corresponding regret. No trial is dropped." in board
    assert r"| m | latency_ms@q25 | killed: &lt;memory&gt; \| limit | 2 |" in board
    assert "| m | latency_ms@q25 | recommended a network that breaks a limit | 1 |" in board
    assert "| 2 | m | 40.80 [" in board  # (7 * 54 + 3 * 10) / 10
    assert "3 trials delivered no feasible network and count with chance accuracy." in text["README.md"]


def test_equal_input_gives_equal_bytes(toy):
    rows = usual(toy)
    first = pages(toy, rows, folder="one")
    second = pages(toy, rows[::-1], folder="two")
    assert first == second


def test_method_names_with_odd_characters(toy):
    name = "a|b <c> $x_1$ *d*"
    text = pages(toy, toy.world({name: [8] * 10, "random_search": [4] * 10}))
    escaped = r"a\|b &lt;c&gt; \$x_1\$ \*d\*"
    assert f"| 1 | {escaped} | 54.00" in text[f"{BOARD}.md"]
    assert f"**{escaped}**" in text["README.md"]
    for line in text[f"{BOARD}.md"].splitlines():
        if line.startswith("| 1 |"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 9
    assert f"\n toy,{name}," not in text["ranking.csv"]
    assert name in text["ranking.csv"]


def test_without_random_search_the_pages_have_a_warning(toy):
    text = pages(toy, toy.world({"a": [8] * 10, "b": [4] * 10}))
    for page in ("README.md", f"{BOARD}.md"):
        assert "**No random search.**" in text[page]
    assert "**a**: unknown, because the run has no random search." in text["README.md"]
    assert "against random search [points]" not in text[f"{BOARD}.md"]


@pytest.mark.parametrize("method", ["random_search", "alone"])
def test_a_run_of_one_method_one_seed_and_one_problem_has_pages(toy, method):
    entry = toy.board_entry(limits={"latency_ms@q25": 10.5})
    text = pages(toy, [toy.trial(method, 0, 4)], entry)
    assert "ranking.png" not in text
    assert "**Too few seeds.**" in text["README.md"]
    assert f"| 1 | {method} | 52.00 [—] | 2.00 [—] | 100 % |" in text[f"{BOARD}.md"]
    assert "Friedman's test needs at least three methods" in text["README.md"]


def test_a_run_of_one_method_of_full_information_has_pages(toy):
    text = pages(toy, toy.world({"relaxation": [8]}, deterministic=True, ranking_class="full information"))
    assert "## Ranking over all problems" not in text["README.md"]
    assert "**relaxation** reads the whole table. The run has no random search for comparison." in text["README.md"]


def test_a_run_without_feasible_networks_has_pages(toy):
    text = pages(toy, toy.world({"a": [30] * 10, "random_search": [35] * 10}))
    assert "| 1.5 | a | 10.00 [10.00, 10.00] | 44.00 [44.00, 44.00] | 0 % |" in text[f"{BOARD}.md"]


def test_boards_without_trials_have_a_warning(toy):
    text = pages(toy, usual(toy), toy.board_entry(), toy.board_entry(device="fpga"))
    assert "**No trials** on toy-cifar10-fpga, so it has no page." in text["README.md"]
    assert "toy-cifar10-fpga.md" not in text


def test_nothing_is_written_if_a_result_is_above_the_optimum(toy):
    rows = [*usual(toy), toy.trial("cheat", 0, 8, test=99.0, regret=0.0)]
    with pytest.raises(ValueError, match="above the exact optimum"):
        pages(toy, rows)
    assert not (toy.folder / "out").exists()


def test_a_hypervolume_above_that_of_the_exact_front_is_refused(toy):
    entry = toy.board_entry()
    entry["front"] = entry["front"][5:]
    with pytest.raises(ValueError, match="hypervolume"):
        pages(toy, usual(toy), entry)


def test_the_csv_file_has_all_rows_in_full_precision(toy):
    lines = pages(toy, usual(toy))[f"{BOARD}.csv"].splitlines()
    assert len(lines) == 1 + 2 * 4
    header = lines[0].split(",")
    row = dict(zip(header, lines[1].split(","), strict=True))
    assert (row["method"], row["verdict"], row["test"], row["simulated_gpu_hours"]) == ("evolution", "beats", "54.0", "2.0")
    assert row["ranking_class"] == "queries"
    assert lines[-1].split(",")[header.index("ranking_class")] == "full information"


def test_a_limit_that_no_cell_keeps_is_on_the_page(toy):
    entry = toy.board_entry(limits={"latency_ms@q25": 10.5})
    empty = {
        "problem": "latency_ms<=0.5",
        "limits_text": "latency_ms<=0.5",
        "limits": [{"resource": "latency_ms", "lower": 0, "upper": 0.5}],
    }
    entry["problems"].append(empty | {"feasible": 0, "share": 0.0, "best_by_test": None, "best_by_validation": None})
    rows = [toy.trial(method, seed, cell, "latency_ms@q25") for seed in range(5) for method, cell in (("random_search", 3), ("rival", 8))]
    rows += [toy.trial(method, seed, None, "latency_ms<=0.5") for seed in range(5) for method in ("random_search", "rival")]
    text = pages(toy, rows, entry)[f"{BOARD}.md"]
    assert "`latency_ms<=0.5`. No connected, supported cell keeps it, so no method can deliver a network, and all tie." in text
    assert "| 1.5 | rival | 10.00 [10.00, 10.00] | 0.00 [0.00, 0.00] | 0 % |" in text


def test_a_feasible_network_is_refused_if_no_cell_keeps_the_limit(toy):
    entry = toy.board_entry(limits={"latency_ms@q25": 10.5})
    entry["problems"][0] |= {"feasible": 0, "best_by_test": None, "best_by_validation": None}
    with pytest.raises(LeaderboardError, match="is feasible, but the context has no feasible cell"):
        pages(toy, [toy.trial("random_search", 0, 3)], entry)


def test_a_run_with_a_tie_on_its_only_problem_has_pages(toy):
    rows = [toy.trial(method, seed, cell) for seed in range(3) for method, cell in (("random_search", 3), ("twin", 3), ("rival", 8))]
    assert "twin" in pages(toy, rows, toy.board_entry(limits={"latency_ms@q25": 10.5}))["README.md"]


def test_a_folder_that_cannot_be_written_is_a_one_line_error(toy):
    (toy.folder / "file").write_text("in the way")
    with pytest.raises(LeaderboardError, match=r"cannot write the pages into .*choose another folder"):
        pages(toy, [toy.trial("random_search", 0, 3)], toy.board_entry(limits={"latency_ms@q25": 10.5}), folder="file/out")
