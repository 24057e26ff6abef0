"""Pages of searches that trained: figures, flags and texts, on made-up runs."""

from __future__ import annotations

import csv
import json
import math
import re

import pytest
from scipy.stats import ttest_1samp

from budgetnas.leaderboards.searches.history_pictures import figures_of, over_seeds
from budgetnas.leaderboards.searches.pages import write_search_pages
from budgetnas.leaderboards.searches.rows import flags, over_searches, search_rows
from budgetnas.leaderboards.shared.curves import best_so_far, curve, most_limited
from budgetnas.leaderboards.shared.documents import LeaderboardError

pytestmark = pytest.mark.slow

TRAINING = {
    "evaluator": "supernet", "recipe": "search-smoke", "epochs": 6, "batch": 32, "images_trained": 512, "images_judged": 512,
    "images_of_training_set": 60_000, "images_of_test_set": 10_000, "selection_recipe": "",
}  # fmt: skip
STEPS = [{"step": step, "loss": 2.0 - step / 10, "entropy": 1.6, "expected_latency_ms": 20.0 - step} for step in range(5)]


def searches(toy, methods, **changes):
    """Return the rows of `toy.world` with the columns that the harness adds. Retrained accuracies are the test accuracy and 1 around it."""
    rows = toy.world(methods, ranking_class="supernet")
    for row in rows:
        row |= {
            "search_seconds": 60.0, "search_memory_bytes": 2.0**30, "machine": "cpu", "history": STEPS, "early_stopped": math.nan,
            "queried": row["test"], "network": row["recommendation"], "connected": bool(row["recommendation"]), "skip_share": 0.25,
            "retrained_test": [row["test"] + shift for shift in (-1.0, 0.0, 1.0)] if row["recommendation"] else [],
            "retrained_validation": [row["test"]] * 3 if row["recommendation"] else [],
        } | changes  # fmt: skip
    return rows


def pages(toy, rows, comparison=None, graphs="", **changes):
    entry = {**toy.board_entry(), "counted_over": 40, "training": TRAINING} | changes
    found = {"recipe": "smoke", "networks": [{"seeds": [1, 2, 3], "epochs": 3, "diverged": 0}]} if comparison is None else comparison
    out = toy.folder / "out"
    paths = write_search_pages(toy.frame(rows), toy.write(entry), found, out, "Searches", "budgetnas run s", "budgetnas compare s", graphs)
    assert sorted(paths) == sorted(out.iterdir())
    return {path.name: path.read_bytes() if path.suffix == ".png" else path.read_text(encoding="utf-8") for path in paths}


def test_a_page_describes_the_searches_and_links_to_its_files(toy):
    text = pages(toy, searches(toy, {"darts": [8, 12, 30], "rc": [4, 6, 8]}))
    page = text["README.md"]
    assert "12 searches of 2 methods on 2 problems; 9 delivered a network within all limits." in page
    schedule = "recipe search-smoke: 6 epochs, batches of 32): the weights on 512 and the architecture variables on 512 of 60,000 training"
    assert schedule in page
    assert "trained on 3,072 images (6 epochs of 512)" in page and "1 network retrained from scratch by the recipe smoke" in page
    assert "| rc | 3 | 3 | 100 % |" in page and "| darts | 3 | 3 | 33.3 % |" in page
    assert set(re.findall(r"\]\(([^)]+)\)", page)) <= set(text)
    assert {name for name in text if name.endswith(".png")} == {
        "toy-cifar10-edgegpu-cost.png", "toy-cifar10-edgegpu-limits.png", "toy-cifar10-edgegpu-history-darts.png",
        "toy-cifar10-edgegpu-history-rc.png",
    }  # fmt: skip
    assert "GDAS" in page and "No search failed" in page
    rows = list(csv.DictReader(text["searches.csv"].splitlines()))
    assert len(rows) == 12 and {row["retrained_test_seeds"] for row in rows} == {"3"}


def test_equal_input_gives_equal_bytes(toy):
    rows = searches(toy, {"darts": [8, 12], "rc": [4, 6]})
    assert pages(toy, rows) == pages(toy, list(reversed(rows)))


def test_without_a_comparison_the_page_has_the_command_for_it(toy):
    rows = searches(toy, {"darts": [8]}, retrained_test=[], retrained_validation=[], queried=math.nan)
    page = pages(toy, rows, {"recipe": "", "networks": []})["README.md"]
    assert "The networks have not been retrained yet. `budgetnas compare s` retrains them" in page
    assert "retrained test [%]" not in page and "queried test [%]" not in page and "-cost.png" not in page


def test_networks_found_after_the_comparison_are_counted(toy):
    rows = searches(toy, {"darts": [8, 6]})
    rows[0] |= {"retrained_test": [], "retrained_validation": []}
    assert "**Not retrained yet: 1 network** found later; `budgetnas compare s` retrains them." in pages(toy, rows)["README.md"]


def test_a_long_training_has_no_warning(toy):
    changes = {"training": TRAINING | {"epochs": 50, "images_trained": 25_000}}
    assert "[!WARNING]" not in pages(toy, searches(toy, {"darts": [8]}), **changes)["README.md"]


def test_searches_by_training_have_a_picture_of_their_paths(toy):
    rows = searches(toy, {"rcas": [8]}, early_stopped=61.0)
    for row in rows:
        front = [{**row["front"][0], "params": 100.0 * n, "macs": 1e4 * n, "validation": 50.0 + n} for n in (1, 2, 3)]
        row |= {"ranking_class": "training", "front": front}
    text = pages(toy, rows, training=TRAINING | {"evaluator": "training"})
    assert "toy-cifar10-edgegpu-path.png" in text and "early-stopped validation [%]" in text["README.md"]
    assert "trains its candidates from scratch with early stopping" in text["README.md"]


def test_failed_collapsed_and_disconnected_searches_are_listed(toy):
    rows = searches(toy, {"darts": [8, 8, 8, 8]})
    rows[0] |= {"status": "failed", "failure": "Diverged: the training loss is nan", "network": "", "connected": False, "feasible": False}
    rows[1] |= {"skip_share": 0.5}
    rows[2] |= {"connected": False}
    rows[3] |= {"network": "", "connected": False}
    flagged = {(seed, text) for _, _, seed, text in flags(toy.frame(rows))}
    assert flagged == {
        (0, "failed: Diverged: the training loss is nan"), (1, "skip connections are 50 % of the kept edges"),
        (2, "recommended a disconnected network"), (3, "recommended no network"),
    }  # fmt: skip
    assert "failed: Diverged" in pages(toy, rows)["README.md"]


def test_an_interval_is_over_searches_or_over_seeds_if_all_found_the_same_network():
    found = over_searches([("a", [80.0, 82.0]), ("b", [84.0, 84.0]), ("a", [80.0, 82.0])], 10.0)
    expected = ttest_1samp([81.0, 84.0, 81.0], 0).confidence_interval(0.95)
    assert found.value == pytest.approx(82.0)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    wide = over_searches([("a", [99.0]), ("b", [10.0]), ("c", [98.0])], 10.0).interval
    assert (wide.low, wide.high) == (0.0, 100.0)  # an accuracy cannot be outside
    one = over_searches([("a", [80.0, 82.0, 84.0])] * 5, 10.0)
    expected = ttest_1samp([80.0, 82.0, 84.0], 0).confidence_interval(0.95)
    assert one.value == 82.0 and (one.interval.low, one.interval.high) == pytest.approx((expected.low, expected.high))


def test_a_search_without_a_network_counts_with_chance_and_one_not_retrained_does_not_count():
    assert over_searches([("a", [90.0]), ("", [])], 10.0).value == 50.0
    assert over_searches([("a", [90.0]), ("b", [])], 10.0).value == 90.0
    assert math.isnan(over_searches([("", []), ("b", [])], 10.0).value)
    assert over_searches([("a", [90.0]), ("b", [80.0])], 10.0).interval is None


def test_rows_are_means_over_searches_with_the_best_first(toy):
    rows = [row for row in searches(toy, {"low": [2, 4], "high": [8, 30]}) if row["problem"] == "latency_ms@q25"]
    first, second = search_rows(toy.frame(rows), 10.0)
    assert (first.method, second.method) == ("high", "low")
    assert first.feasible_share == 0.5 and first.costs["latency_ms"] == (toy.cost_of(8) + toy.cost_of(30)) / 2
    assert first.violation == pytest.approx(toy.cost_of(30) / 10.5 - 1.0) and math.isnan(second.violation)
    assert first.test.value == (toy.test_of(8) + toy.test_of(30)) / 2 and first.regret == 0.0


def test_the_searches_and_seconds_of_look_up_graphs_are_shown(toy):
    rows = searches(toy, {"dca": [8, 6]}, report={"lookup_searches": 24.0}) + searches(toy, {"rc": [4, 6]}, report={"lookup_searches": 0.0})
    for row in rows[: len(rows) // 2]:
        row["graph_seconds"] = 41.5
    page = pages(toy, rows)["README.md"]
    assert page.count("graph searches | graph seconds per search |") == 2
    assert "| 1,024 | 24 | 41.5 |" in page and "| 1,024 | — | — |" in page
    assert page.count("| seconds per search | graph seconds per search |") == 1 and "| 60 | 42 |" in page and "| 60 | — |" in page
    assert "graph seconds per search |" not in pages(toy, searches(toy, {"dca": [8, 6], "rc": [4, 6]}))["README.md"]


def test_the_picture_of_look_up_graphs_is_shown_if_there_is_one(toy):
    assert "## Look-up graphs" not in pages(toy, searches(toy, {"dca": [8, 6]}))["README.md"]
    page = pages(toy, searches(toy, {"dca": [8, 6]}), graphs="lookup-graphs.png")["README.md"]
    assert "## Look-up graphs" in page and "](lookup-graphs.png)" in page


def test_histories_have_median_and_range_over_seeds():
    steps, median, low, high = over_seeds([STEPS, [{"step": 0, "loss": 4.0}, {"step": 1, "loss": None}], STEPS[:1]], "loss")
    assert steps.tolist() == [0, 1, 2, 3, 4]
    assert (median[0], low[0], high[0]) == (2.0, 2.0, 4.0) and median[1] == low[1] == high[1] == 1.9
    assert figures_of([STEPS], ["latency_ms", "macs"]) == ["loss", "entropy", "expected_latency_ms"]


def test_a_curve_has_a_point_per_limit(toy):
    points = curve(toy.frame(toy.world({"a": [2, 4]})), "latency_ms", "test")
    assert len(points) == 2 and points[0].cost == 4.0 and points[0].accuracy == 51.5
    assert points[0].accuracy_deviation == pytest.approx(math.sqrt(0.5)) and points[0].cost_deviation == pytest.approx(math.sqrt(2.0))
    problems = [
        {"problem": name, "limits": [{"resource": resource}]} for name, resource in (("p", "macs"), ("q", "params"), ("r", "params"))
    ]
    assert most_limited(problems) == ("params", ["q", "r"]) and most_limited([]) == ("", [])
    assert best_so_far([1.0, 1.0, 2.0], [50.0, 60.0, 60.0]) == ([1.0], [60.0])


def test_missing_columns_and_keys_are_refused(toy):
    rows = searches(toy, {"darts": [8]})
    with pytest.raises(LeaderboardError, match="lack the columns connected"):
        pages(toy, [{key: value for key, value in row.items() if key != "connected"} for row in rows])
    path = toy.folder / "old.json"
    path.write_text(json.dumps(toy.board_entry()))
    with pytest.raises(LeaderboardError, match="the key 'counted_over' is missing"):
        write_search_pages(toy.frame(rows), [path], {"recipe": "", "networks": []}, toy.folder / "o", "t", "c", "d")
