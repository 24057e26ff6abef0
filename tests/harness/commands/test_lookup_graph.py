"""`budgetnas lookup-graph STUDY`: graphs are made once, files are written, and a wrong study is a one-line error."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from budgetnas.harness.lookup.files import read_graphs
from budgetnas.harness.records.store import Store

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]
STUDY = """
name = "small"
seeds = 2
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms<=3", "latency_ms<=4,params>=2k", "unlimited"]
[[method]]
name = "dca_nas"
steps = 20
{lookup}
"""


def test_the_graphs_of_a_study_are_made_once_and_written(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    (tmp_path / "small.toml").write_text(STUDY.format(lookup='lookup = "made/graphs.json"'))
    arguments = ("lookup-graph", "small.toml", "--points", "2", "--seeds", "1", "--workers", "1")
    first = command(*arguments)
    assert (first.returncode, first.stderr) == (0, "")
    assert "dca_nas in nasbench201, latency_ms on closed-form, closed-form: covers limits from " in first.stdout
    assert "; 2 searches, 40 steps, " in first.stdout
    (graph,) = read_graphs(tmp_path / "made" / "graphs.json")
    assert [limit for limit, _ in graph.nodes] == [1.5, 8.0]
    assert {path.suffix for path in (tmp_path / "made").iterdir()} == {".json", ".csv", ".png"}
    records = {row.identity: row.timing for row in Store(tmp_path / "runs" / "small-lookup").rows()}
    assert command("run", "small.toml", "--workers", "1").returncode == 0
    assert command("leaderboard", "runs/small").returncode == 0
    page = (tmp_path / "runs" / "small" / "leaderboards" / "README.md").read_text()
    assert (
        "\nbudgetnas lookup-graph small.toml --points 2 --seeds 1 && budgetnas run small.toml && budgetnas leaderboard runs/small\n" in page
    )
    sentence = (
        "read its search limits from look-up graphs, for which earlier searches were needed: up to 2 searches with 40 steps per problem."
    )
    assert sentence in page
    assert " s in total, or " in page and "](lookup-graphs.png)" in page
    assert (tmp_path / "runs" / "small" / "leaderboards" / "lookup-graphs.png").read_bytes().startswith(b"\x89PNG")
    assert read_graphs(tmp_path / "runs" / "small" / "graphs.json") == [graph]
    shares = json.loads((tmp_path / "runs" / "small" / "plan.json").read_text())["graph_seconds"]
    assert list(shares.values()) == pytest.approx([graph.seconds / 4] * 4, abs=1e-3)  # two seeds under two of the three limits
    (tmp_path / "runs" / "small" / "graphs.json").write_text("{")
    damaged = command("leaderboard", "runs/small")
    assert damaged.returncode == 1 and damaged.stderr.count("\n") == 1 and "graphs.json is damaged; run the study again" in damaged.stderr
    one = ("search", "dca_nas", "nasbench201", "--dataset", "closed-form", "--device", "closed-form", "--limit", "latency_ms<=3")
    one += ("--setting", "steps=20", "--setting", "lookup=made/graphs.json", "--json")
    found = json.loads(command(*one).stdout)
    assert found["status"] == "ok" and found["report"]["lookup_searches"] == 2.0  # a single search also reads the graphs of a study
    assert command(*arguments).returncode == 0
    assert records == {row.identity: row.timing for row in Store(tmp_path / "runs" / "small-lookup").rows()}


@pytest.mark.parametrize(
    ("study", "reason"),
    [
        (STUDY.format(lookup=""), 'names no look-up graphs; write lookup = "FILE.json" under a [[method]]'),
        (STUDY.replace("dca_nas", "darts").format(lookup='lookup = "x.json"'), "method 'darts' reads no look-up graphs; remove lookup"),
        (
            STUDY.replace('"latency_ms<=3", "latency_ms<=4,params>=2k", ', "").format(lookup='lookup = "x.json"'),
            "no problem has an upper limit, so there is nothing to look up",
        ),
        (STUDY.format(lookup='lookup = "."'), "cannot read look-up graphs from"),
    ],
    ids=["no graphs named", "reads no graphs", "no limit", "a folder"],
)
def test_a_study_without_graphs_is_a_one_line_error(study: str, reason: str, command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    (tmp_path / "small.toml").write_text(study)
    done = command("lookup-graph", "small.toml", "--workers", "1")
    assert done.returncode == 1 and reason in done.stderr and done.stderr.count("\n") == 1
