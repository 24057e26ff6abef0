"""`budgetnas search`: one search on a table or in a supernet, its kept record, its continuation, and its one-line errors."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from budgetnas.harness.records.histories import read_history
from budgetnas.harness.records.store import Store

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
RECIPE = """
name = "tiny"
version = 1
source = "these tests"
kind = "search"
epochs = {epochs}
batch = 16
images = {{ train = 96 }}
optimiser = {{ learning_rate = 0.05, clip = 5.0 }}
"""
IN_SUPERNET = ("search", "darts", "nasbench201", "--dataset", "digits201", "--evaluator", "supernet", "--recipe", "tiny.toml")


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[int], Path]:
    def write(epochs: int) -> Path:
        (tmp_path / "tiny.toml").write_text(RECIPE.format(epochs=epochs))
        return tmp_path

    return write


def record_of(folder: Path, answer: dict[str, Any]) -> dict[str, Any]:
    """Return the record that a search's JSON answer names."""
    found: dict[str, Any] = json.loads(Store((folder / answer["record"]).parent).row(answer["identity"]).json())
    return found


def test_a_search_on_a_table_prints_text_and_json_and_is_not_repeated(command: Command, tmp_path: Path) -> None:
    words = ("search", "random_search", "nasbench201", "--device", "amd-epyc", "--limit", "latency_ms@q25", "--queries", "20")
    first = command(*words, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "feasible under latency_ms<=" in first.stdout and "regret" in first.stdout
    again = json.loads(command(*words, "--json", cwd=tmp_path).stdout)
    assert again["feasible"] and again["test"] > 50.0 and again["arch"] in first.stdout
    record = record_of(tmp_path, again)
    assert record["identity"] == again["identity"] and record["queries"] == 20
    assert "found" in command(*words, cwd=tmp_path).stdout


def test_settings_are_passed_to_the_method(command: Command, tmp_path: Path) -> None:
    words = ("search", "regularized_evolution", "nasbench201", "--queries", "30", "--setting", "population=5", "--json")
    answer = json.loads(command(*words, cwd=tmp_path).stdout)
    assert record_of(tmp_path, answer)["trial"]["method"]["settings"]["population"] == 5


REFUSED = {
    "an unknown method": (("search", "dartz", "nasbench201"), "unknown method 'dartz'"),
    "an unknown space": (("search", "darts", "darts2"), "unknown space 'darts2'"),
    "a supernet without a recipe": (("search", "darts", "nasbench201", "--evaluator", "supernet"), "needs --recipe"),
    "a table with a recipe": (("search", "darts", "nasbench201", "--recipe", "search-smoke"), "takes no --recipe"),
    "an unknown evaluator": (("search", "darts", "nasbench201", "--evaluator", "tabel"), "unknown evaluator 'tabel'; choose one of table"),
    "an unknown recipe": ((*IN_SUPERNET[:-1], "fast"), "there is no search recipe fast"),
    "a recipe of another kind": ((*IN_SUPERNET[:-1], "digits201"), "there is no search recipe digits201"),
    "a table of a space without one": (("search", "random_search", "darts", "--dataset", "cifar10"), "darts"),
    "weights on a table": (("search", "pc_darts", "nasbench201"), "does not offer"),
    "accuracy from a supernet": (("search", "random_search", *IN_SUPERNET[2:-1], "search-smoke"), "needs accuracy"),
    "a limit that cannot be read": (("search", "random_search", "nasbench201", "--limit", "fast"), "limit 'fast' cannot be read"),
    "an unknown device": (("search", "random_search", "nasbench201", "--device", "pixel3"), "device 'pixel3' is not known"),
    "a setting without a value": (("search", "darts", "nasbench201", "--setting", "unrolled"), "is not NAME=VALUE"),
    "an unknown setting": (("search", "darts", "nasbench201", "--setting", "speed=2"), "has no setting 'speed'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_impossible_request_is_a_one_line_error(command: Command, tmp_path: Path, case: str) -> None:
    words, message = REFUSED[case]
    result = command(*words, cwd=tmp_path)
    assert result.returncode in (1, 2)
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1 and "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("records.sqlite"))


def test_a_search_in_a_supernet_shows_its_steps_and_the_table_s_accuracy(command: Command, recipe: Callable[[int], Path]) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    folder = recipe(2)
    result = command(*IN_SUPERNET, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "epoch 1 of 2: loss" in result.stderr and "entropy" in result.stderr and "expected params" in result.stderr
    assert "queried: validation" in result.stdout
    (history,) = (folder / "runs" / "search" / "histories").glob("*.parquet")
    found = read_history(folder / "runs" / "search", history.stem)
    assert found is not None and [row["step"] for row in found["steps"]] == list(range(6))
    assert not list((folder / "runs" / "search").rglob("search.pt"))  # the checkpoint is deleted once there is a record


def test_an_interrupted_search_continues_to_the_same_record(command: Command, start: Start, recipe: Callable[[int], Path]) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    folder = recipe(12)
    whole = json.loads(command(*IN_SUPERNET, "--out", "whole", "--json", cwd=folder).stdout)
    process = start(*IN_SUPERNET, "--out", "cut", cwd=folder)
    while not list((folder / "cut").rglob("search.pt")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    if process.returncode:  # it may have finished before the signal
        assert "run the same command to continue" in errors
    resumed = json.loads(command(*IN_SUPERNET, "--out", "cut", "--json", cwd=folder).stdout)
    records = [Store((folder / answer["record"]).parent).row(answer["identity"]).json() for answer in (whole, resumed)]
    assert records[0] == records[1]
