"""The registry of evaluators: modules define what their entries promise, and a new evaluator needs only one entry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from budgetnas.harness.evaluators.registry import (
    EVALUATORS,
    EvaluatorEntry,
    UnknownEvaluator,
    entry_of,
    offers,
    ranking_class_of,
    search_network_of,
)
from budgetnas.harness.problem import Need
from budgetnas.harness.records.store import Store
from budgetnas.harness.records.trial import TrainingSpec
from budgetnas.harness.studies.board_context import board
from budgetnas.harness.studies.plan import expand
from budgetnas.harness.studies.study import Study, StudyError, read_study
from budgetnas.leaderboards.searches.page import searched_text
from budgetnas.spaces.registry import space_of

Command = Callable[..., "subprocess.CompletedProcess[str]"]
PLUGINS = Path(__file__).resolve().parent.parent / "plugins"
PROXY = EvaluatorEntry("parameters", "parameter_count", "proxies")


@pytest.mark.parametrize("entry", EVALUATORS.values(), ids=list(EVALUATORS))
def test_a_module_defines_what_its_entry_promises(entry: EvaluatorEntry) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    module = sys.modules[entry.module] if entry.module in sys.modules else __import__(entry.module, fromlist=["offers"])
    wanted = {"offers", "evaluation"}
    wanted |= {"training_spec", "figures"} if entry.recipe else set()
    wanted |= {"search_network"} if entry.shares_weights else set()
    optional = {"training_spec", "figures", "search_network"}
    assert {name for name in wanted | optional if callable(getattr(module, name, None))} == wanted
    assert offers(entry.name, space_of("nasbench201")) <= set(Need)


def test_error_for_an_unknown_evaluator_lists_the_known_ones() -> None:
    with pytest.raises(UnknownEvaluator, match="unknown evaluator 'tabel'; choose one of table, supernet, training"):
        entry_of("tabel")


def test_ranking_class_is_that_of_the_entry_except_for_relaxations_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVALUATORS, PROXY.name, PROXY)
    monkeypatch.setitem(EVALUATORS, "other table", replace(PROXY, name="other table", reads_table=True))
    asks, relaxes = frozenset({Need.ACCURACY}), frozenset({Need.RELAXATION})
    found = {name: (ranking_class_of(name, asks), ranking_class_of(name, relaxes)) for name in EVALUATORS}
    assert found == {
        "table": ("queries", "full information"), "supernet": ("supernet", "supernet"), "training": ("training", "training"),
        "parameters": ("proxies", "proxies"), "other table": ("proxies", "full information"),
    }  # fmt: skip


# --- a new evaluator, registered in one place ---------------------------------------------------------------------------------------------

STUDY = """
name = "counted"
seeds = 2
[problem]
datasets = ["digits201"]
devices = ["amd-epyc"]
limits = ["latency_ms@q25", "params<=8k"]
allowance = {{ queries = 20 }}
evaluator = "{evaluator}"
{more}
[[method]]
name = "random_search"
[[method]]
name = "rcas"
[[method]]
name = "darts"
"""
# Every process of the command runs this first, as if the entry were in the registry.
SITE = f"""
import sys
sys.path.append({str(PLUGINS)!r})
from budgetnas.harness.evaluators.registry import EVALUATORS, EvaluatorEntry
EVALUATORS["parameters"] = {PROXY!r}
"""


@pytest.fixture
def with_proxy(command: Command, tmp_path: Path) -> Command:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    paths = os.pathsep.join([str(tmp_path / "site"), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
    return lambda *arguments: command(*arguments, PYTHONPATH=paths)


@pytest.mark.slow
def test_study_with_a_new_evaluator_runs_and_has_pages(with_proxy: Command, tmp_path: Path) -> None:
    (tmp_path / "counted.toml").write_text(STUDY.format(evaluator="parameters", more=""))
    result = with_proxy("run", "counted.toml", "--out", "out")
    assert result.returncode == 0, result.stderr
    # A deterministic method runs with both seeds; a method that needs a relaxation is skipped.
    assert "8 trials" in result.stdout
    assert "method 'darts': it needs relaxation, which the evaluator 'parameters' does not offer here" in result.stderr
    records = [row.record() for row in Store(tmp_path / "out").rows()]
    assert {(record["ranking_class"], record["trial"]["evaluator"], record["status"]) for record in records} == {
        ("proxies", "parameters", "ok")
    }
    for record in records:
        best = record["final"]
        assert best["validation"] == pytest.approx(100.0 * best["cost"]["params"] / (best["cost"]["params"] + 5_000.0))
    shown = with_proxy("leaderboard", "out")
    assert shown.returncode == 0, shown.stderr
    page = (tmp_path / "out" / "leaderboards" / "README.md").read_text()
    assert "The evaluator `parameters` answered each search" in page and "| random_search | 2 |" in page


@pytest.mark.slow
def test_search_with_a_new_evaluator_runs(with_proxy: Command, tmp_path: Path) -> None:
    words = ("search", "random_search", "nasbench201", "--device", "amd-epyc", "--limit", "latency_ms@q25", "--queries", "20")
    result = with_proxy(*words, "--evaluator", "parameters", "--seed", "1", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    (tmp_path / "counted.toml").write_text(STUDY.format(evaluator="parameters", more=""))
    study = with_proxy("run", "counted.toml", "--out", "out")
    assert answer["identity"] in Store(tmp_path / "out").done(), study.stderr  # the trial with seed 1
    refused = with_proxy(*words, "--evaluator", "parameters", "--recipe", "smoke")
    assert "the evaluator 'parameters' takes no --recipe; leave it out, or choose --evaluator supernet or training" in refused.stderr
    assert "[table|supernet|training|parameters]" in with_proxy("search", "--help").stdout
    methods = json.loads(with_proxy("list", "methods", "--json").stdout)
    assert next(row for row in methods if row["method"] == "random_search")["evaluators"].endswith(", parameters")


RECIPE = TrainingSpec("mine.toml", "c" * 64, "d" * 64)
FIGURES = {"recipe": "mine", "epochs": 3, "batch": 7, "images_trained": 21, "images_judged": 14}


@pytest.fixture
def with_recipe(monkeypatch: pytest.MonkeyPatch) -> str:
    """An evaluator that needs a recipe and shares weights; planning and pages know only its entry."""
    module: Any = ModuleType("shared_by_all")
    module.offers = lambda space: frozenset({Need.ACCURACY})
    module.training_spec = lambda recipe, task: replace(RECIPE, recipe=recipe)
    module.figures = lambda training, dataset: FIGURES
    module.search_network = lambda trial: (trial.seed, None)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = EvaluatorEntry("shared", module.__name__, "shared", recipe="recipe of a hypernetwork", shares_weights=True)
    monkeypatch.setitem(EVALUATORS, entry.name, entry)
    return entry.name


def study_of(folder: Path, evaluator: str, more: str) -> Study:
    (folder / "counted.toml").write_text(STUDY.format(evaluator=evaluator, more=more))
    return read_study(str(folder / "counted.toml"))[0]


def test_recipe_of_a_new_evaluator_is_planned_and_shown(with_recipe: str, tmp_path: Path) -> None:
    plan = expand(study_of(tmp_path, with_recipe, 'recipe = "mine.toml"'), tmp_path, "counted")
    assert len(plan.trials) == 8
    for trial in plan.trials:
        assert trial.payload()["training"] == {"evaluator": "shared", "recipe": "c" * 64, "images": "d" * 64}
        assert trial.training is not None and trial.training.recipe == str(tmp_path / "mine.toml")
        assert search_network_of(trial) == (trial.seed, None)
    context = board(plan.boards[0])
    assert context["training"].items() >= FIGURES.items()
    text = searched_text(context)
    assert "Each search trains a supernet, in which all architectures share" in text and "recipe mine: 3 epochs" in text


def test_errors_about_recipes_name_the_new_evaluator(with_recipe: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="with evaluator = 'supernet', 'training' or 'shared', and only there"):
        study_of(tmp_path, with_recipe, "")
    with pytest.raises(StudyError, match="with evaluator = 'supernet', 'training' or 'shared', and only there"):
        study_of(tmp_path, "table", 'recipe = "mine.toml"')
    with pytest.raises(StudyError, match=r"problem\.evaluator: expected 'table', 'supernet', 'training' or 'shared', not 'share'"):
        study_of(tmp_path, "share", "")
