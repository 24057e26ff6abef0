"""`budgetnas compare RUN`: the networks of runs on a table and of runs that trained, retrained and compared."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]
GOLDEN = Path(__file__).resolve().parents[2] / "golden"
STUDY = """
name = "small"
seeds = 2
[problem]
datasets = ["{dataset}"]
devices = ["{device}"]
limits = ["latency_ms@q50"]
allowance = {{ queries = 5 }}
[[method]]
name = "random_search"
"""


def run_small(command: Command, tmp_path: Path, dataset: str, device: str) -> None:
    (tmp_path / "small.toml").write_text(STUDY.format(dataset=dataset, device=device))
    done = command("run", "small.toml", "--out", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr


def test_the_winner_of_a_small_run_is_retrained(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    run_small(command, tmp_path, "digits201", "amd-epyc")
    done = command("compare", "out", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert first.startswith("digits201: 1 network, ") and " of 6 accuracies equal to the table's precision; retrained minus" in first
    assert last == "see out/leaderboards/compare.md"
    rows = comparison(tmp_path / "out")
    assert [row["evaluation_seed"] for row in rows] == ["0", "1", "2"] and len({row["index"] for row in rows}) == 1
    assert "| won |" in (tmp_path / "out" / "leaderboards" / "compare.md").read_text()
    assert (tmp_path / "out" / "leaderboards" / "compare.png").stat().st_size > 1000
    kept = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (kept["recipe"], kept["command"]) == ("digits201", "budgetnas compare out") and kept["networks"][0]["seeds"] == [0, 1, 2]
    assert kept["networks"][0]["test"] == pytest.approx([float(row["test_retrained"]) for row in rows], rel=1e-5)
    done = command("compare", "out", "--workers", "1", "--seeds", "2")
    assert done.returncode == 0 and " of 4 accuracies equal" in done.stdout
    assert [row["evaluation_seed"] for row in comparison(tmp_path / "out")] == ["0", "1"]
    (tmp_path / "tiny.toml").write_text(RECIPE)
    done = command("compare", "out", "--workers", "1", "--recipe", "tiny.toml", "--seeds", "1")
    assert done.returncode == 0 and "digits201: 1 network retrained by tiny\n  1 of 1 network have both figures; " in done.stdout
    assert [(row["evaluation_seed"], row["test_queried_same_seed"]) for row in comparison(tmp_path / "out")] == [("1000000", "")]


def comparison(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "leaderboards" / "compare.csv").open()))


def test_a_run_on_another_dataset_is_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    run_small(command, tmp_path, "closed-form", "closed-form")
    done = command("compare", "out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "networks of nasbench201 cannot be retrained on closed-form yet; choose one of digits201" in done.stderr


def test_a_folder_without_a_run_is_a_one_line_error(command: Command, tmp_path: Path) -> None:
    done = command("compare", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "holds no run" in done.stderr


RECIPE = """
name = "tiny"
version = 1
source = "made up"
epochs = 1
batch = 64
[optimiser]
learning_rate = 0.05
[schedule]
kind = "cosine"
[images]
train = 128
validation = 64
test = 128
"""
TRAINED = """
name = "trained"
seeds = 2
[problem]
space = "rcnet[positions=6,width=13]"
datasets = ["digits"]
limits = ["params@q90"]
allowance = { queries = 2 }
evaluator = "training"
recipe = "tiny.toml"
[selection]
of = 2
recipe = "tiny.toml"
[[method]]
name = "random_search"
"""


@pytest.mark.long
def test_a_run_that_trains_with_a_selection_is_compared_and_shown(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "trained.toml").write_text(TRAINED)
    done = command("run", "trained.toml", "--out", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "1 networks chosen, each from 2 searches" in done.stdout
    refused = command("compare", "out")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "has no default recipe; give --recipe, the path of a TOML file or one of darts-cifar10, " in refused.stderr
    for _ in range(2):  # the second time nothing is trained, and everything is the same
        done = command("compare", "out", "--recipe", "tiny.toml", "--seeds", "2", "--workers", "1")
        assert (done.returncode, done.stderr) == (0, "") and "networks retrained by tiny" in done.stdout
    rows = comparison(tmp_path / "out")
    assert {row["evaluation_seed"] for row in rows} == {"1000000", "1000001"} and all(row["validation_early_stopped"] for row in rows)
    done = command("leaderboard", "out")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "leaderboards" / "README.md").read_text()
    assert "random\\_search (best of 2 by brief retraining)" in page or "random_search (best of 2 by brief retraining)" in page
    assert (
        "\nbudgetnas run trained.toml --out out && budgetnas compare out --recipe tiny.toml --seeds 2 && budgetnas leaderboard out\n"
        in page
    )
    assert "early-stopped validation [%]" in page and "retrained test [%]" in page


def test_a_run_of_version_02_is_compared_again(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    run = tmp_path / "searched"
    shutil.copytree(GOLDEN / "runs" / "searched", run)
    for file in run.rglob("*.json"):
        file.chmod(0o644)  # the fixture may be read-only
    before = json.loads((run / "compare.json").read_text())
    shown = command("leaderboard", "searched")
    assert (
        shown.returncode == 0
        and "4 networks retrained from scratch by the recipe short" in (run / "leaderboards" / "README.md").read_text()
    )
    done = command("compare", "searched", "--recipe", str(GOLDEN / "studies" / "recipes" / "short.toml"), "--seeds", "1", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "digits201: 4 networks retrained by short\n  4 of 4 networks have both figures; " in done.stdout
    after = json.loads((run / "compare.json").read_text())
    same = ("space", "dataset", "genes", "seeds", "epochs", "diverged")
    assert [[each[name] for name in same] for each in after["networks"]] == [[each[name] for name in same] for each in before["networks"]]
    assert set(after) == set(before) and after["recipe"] == before["recipe"]
    assert {row["found_by"].split(" on ")[0] for row in comparison(run)} >= {"darts", "rc_darts, exact"}
