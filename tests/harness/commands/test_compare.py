"""`budgetnas compare RUN`."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]
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


@pytest.mark.slow
def test_the_winner_of_a_small_run_is_retrained(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    run_small(command, tmp_path, "digits201", "amd-epyc")
    done = command("compare", "out", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits201: 1 networks" in done.stdout and "see out/leaderboards/compare.md" in done.stdout
    rows = list(csv.DictReader((tmp_path / "out" / "leaderboards" / "compare.csv").open()))
    assert [row["seed"] for row in rows] == ["0", "1", "2"] and len({row["arch"] for row in rows}) == 1
    assert "# Queried against retrained" in (tmp_path / "out" / "leaderboards" / "compare.md").read_text()


def test_a_run_on_another_dataset_is_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    run_small(command, tmp_path, "closed-form", "closed-form")
    done = command("compare", "out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "networks of nasbench201 cannot be retrained on closed-form yet; choose one of digits201" in done.stderr


def test_no_run_is_one_line(command: Command, tmp_path: Path) -> None:
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


def test_a_run_that_trains_is_selected_from_retrained_by_a_recipe_and_shown(command: Command, tmp_path: Path) -> None:
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
    rows = list(csv.DictReader((tmp_path / "out" / "leaderboards" / "compare.csv").open()))
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
