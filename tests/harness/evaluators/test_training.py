"""Answers by training: each network is trained once, even if a search is killed; limits that no network meets are refused in advance."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budgetnas.harness.records.store import Store

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from budgetnas.harness.costs.costed_space import costed_space_of
from budgetnas.harness.evaluators import registry, training
from budgetnas.harness.evaluators.registry import evaluation_of, offers
from budgetnas.harness.evaluators.training import TrainingEvaluator, require_validation
from budgetnas.harness.problem import Evaluator, Need, Step, SupernetOptions
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.studies.plan import expand
from budgetnas.harness.studies.study import StudyError, read_study
from budgetnas.harness.training import retrain as retraining
from budgetnas.harness.training.images.load import load
from budgetnas.harness.training.job import CannotRetrain, Job
from budgetnas.harness.training.recipes.recipe import read_recipe
from budgetnas.harness.training.result import Trained
from budgetnas.harness.trials.conduct import run_trial
from budgetnas.harness.trials.meter import Timed
from budgetnas.spaces.darts import DARTS
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, InvalidArchitecture
from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.task import task_of

NAME = "rcnet[positions=12,width=25]"
SPACE = space_of(NAME)
TEST_ACCURACY = 12.34
SECONDS = 2.5
RECIPE = """\
name = "tiny"
version = 1
source = "this test"
epochs = 1
batch = 16
[optimiser]
learning_rate = 0.05
[schedule]
kind = "cosine"
[images]
train = 64
validation = 40
test = 40
"""
STUDY = f"""\
name = "mine"
seeds = 1
[problem]
space = "{NAME}"
datasets = ["digits"]
limits = ["params<=12k,macs<=60k"]
allowance = {{ queries = 60 }}
evaluator = "training"
recipe = "tiny.toml"
[[method]]
name = "rcas"
merge_identical = true
"""


class Killed(BaseException):
    """Raised to simulate the end of a process."""


class StandIn:
    """A stand-in for training: accuracies follow from the genes. It records each network, and raises after `most` of them."""

    def __init__(self, most: int = 10**6):
        self.trained: list[tuple[int, ...]] = []
        self.most = most

    def __call__(self, job: Job, folder: Path, show: object, announce: object) -> Trained:
        if len(self.trained) == self.most:
            raise Killed
        self.trained.append(job.arch.genes)
        filled = [gene for gene in job.arch.genes if gene]
        accuracy = 50.0 + 3.0 * len(filled) - 0.1 * sum(filled) + job.seed
        return Trained(job.identity, accuracy, TEST_ACCURACY, (), SECONDS, 0, False, "cpu", 1, "none")


Standing = Callable[..., StandIn]


@pytest.fixture
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standing:
    """Replace training by a stand-in, and use a temporary folder as the data home."""
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(training, "_processes", lambda: 1)  # another process would not have the stand-in

    def put(most: int = 10**6) -> StandIn:
        stand_in = StandIn(most)
        monkeypatch.setattr(retraining, "_by_recipe", lambda *arguments: stand_in(*arguments))
        return stand_in

    return put


def evaluator(folder: Path, seed: int = 0) -> TrainingEvaluator:
    return TrainingEvaluator(costed_space_of(NAME, "digits"), read_recipe("smoke"), seed, folder)


def chain(*codes: int) -> Architecture:
    return Architecture(NAME, (*codes, *(0,) * (12 - len(codes))))


def trials_of(folder: Path, text: str = STUDY) -> tuple[Trial, ...]:
    (folder / "tiny.toml").write_text(RECIPE)
    (folder / "study.toml").write_text(text)
    return expand(*read_study(str(folder / "study.toml")), "study.toml").trials


def test_evaluator_offers_accuracy_and_the_seconds_of_a_training(standing: Standing, tmp_path: Path) -> None:
    standing()
    asked = evaluator(tmp_path)
    assert isinstance(asked, Evaluator) and isinstance(asked, Timed)
    assert asked.offers == {Need.ACCURACY}
    complexity = SPACE.complexity(chain(1, 5), asked._costed.task)
    assert asked.cost(chain(1, 5)) == {"params": complexity.params, "macs": complexity.macs}
    assert asked.accuracies([chain(1), chain(1, 5), chain(1)]) == [asked.accuracy(chain(1)), 50 + 6 - 0.6, 50 + 3 - 0.1]
    assert asked.accuracies([]) == []
    assert asked.seconds_of(chain(1)) == SECONDS
    assert evaluator(tmp_path, seed=7).accuracy(chain(1)) == asked.accuracy(chain(1)) + 7
    with pytest.raises(NotImplementedError, match="offers accuracy only"):
        asked.relaxation(SupernetOptions(), np.random.default_rng(0))
    for question in (asked.cost, asked.accuracy, lambda arch: asked.accuracies([arch])):
        with pytest.raises(InvalidArchitecture):
            question(Architecture(NAME, (9,) * 12))


def test_no_network_is_trained_twice(standing: Standing, tmp_path: Path) -> None:
    stand_in = standing()
    first = evaluator(tmp_path)
    # A block in the second position of a stage is the same network as that block in the first position.
    first.accuracies([chain(3), chain(0, 3), chain(0, 0, 3), chain(3)])
    assert stand_in.trained == [chain(3).genes, chain(0, 0, 3).genes]
    again = evaluator(tmp_path)
    assert again.accuracies([chain(0, 3), chain(4)]) == [first.accuracy(chain(3)), 50 + 3 - 0.4]
    assert stand_in.trained[2:] == [chain(4).genes]
    assert again.timing() == {"networks_trained": 1, "networks_kept": 1}
    assert again.seconds_of(chain(3)) == SECONDS  # the seconds of the training, not of reading its result
    evaluator(tmp_path, seed=1).accuracy(chain(4))
    assert len(stand_in.trained) == 4


def test_test_accuracy_is_discarded(standing: Standing, tmp_path: Path) -> None:
    standing()
    asked = evaluator(tmp_path)
    asked.accuracy(chain(3))
    waiting: list[Any] = [vars(asked)]
    figures = []
    while waiting:
        kept = waiting.pop()
        if isinstance(kept, dict):
            waiting += kept.values()
        elif isinstance(kept, (list, tuple)):
            waiting += kept
        elif isinstance(kept, float):
            figures.append(kept)
    assert 50 + 3 - 0.3 in figures and TEST_ACCURACY not in figures


def test_offers_depend_on_the_space_and_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offers("training", SPACE) == offers("training", DARTS()) == {Need.ACCURACY}
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    assert offers("training", SPACE) == frozenset()


@pytest.mark.parametrize("method", ["rcas", "random_search", "local_search"])
def test_killed_search_resumes_without_training_a_network_again(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    text = STUDY.replace('"rcas"\nmerge_identical = true', f'"{method}"').replace("queries = 60", "queries = 20")
    text = text.replace("params<=12k,macs<=60k", "params<=60k,macs<=200k")
    (trial,) = trials_of(tmp_path, text)
    killed = standing(most=9)
    with pytest.raises(Killed):
        run_trial(trial, tmp_path)
    resumed = standing()
    record, timing = run_trial(trial, tmp_path)
    assert len(killed.trained) == 9
    assert not set(killed.trained) & set(resumed.trained)
    assert (timing["networks_trained"], timing["networks_kept"]) == (len(resumed.trained), 9)
    assert len(set(resumed.trained)) == len(resumed.trained)
    # The record equals that of an uninterrupted search, and that of a search whose results are all kept.
    assert record["status"] == "ok" and record["queries"] == 20 and record["simulated_seconds"] == 20 * SECONDS
    idle = standing()
    assert run_trial(trial, tmp_path)[0] == record and idle.trained == []
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path / "another home"))
    straight = standing()
    assert run_trial(trial, tmp_path)[0] == record
    assert straight.trained == killed.trained + resumed.trained


def test_rcas_meets_the_limits_saves_questions_and_reports_changed_gains(standing: Standing, tmp_path: Path) -> None:
    (trial,) = trials_of(tmp_path)
    stand_in = standing()
    record, _ = run_trial(trial, tmp_path)
    report, final = record["report"], record["final"]
    assert final["feasible"] and final["asked"] and final["test"] is None
    assert final["cost"]["params"] <= 12_000 and final["cost"]["macs"] <= 60_000
    assert report["evaluations"] == record["queries"] == len(stand_in.trained) < 60
    assert report["evaluations_saved"] > 0
    # Here the accuracy is a sum over blocks, so no gain grows.
    assert report["reevaluations"] > 0 and report["reevaluations_rising"] == report["largest_rise_percent"] == 0.0


def test_without_a_folder_nothing_is_saved(standing: Standing, tmp_path: Path) -> None:
    (trial,) = trials_of(tmp_path)
    stand_in = standing()
    first, _ = run_trial(trial)
    assert run_trial(trial)[0] == first
    assert len(stand_in.trained) == 2 * first["queries"]
    assert not (tmp_path / "home").exists()


def test_recipe_changed_since_planning_is_refused(standing: Standing, tmp_path: Path) -> None:
    (trial,) = trials_of(tmp_path)
    (tmp_path / "tiny.toml").write_text(RECIPE.replace("epochs = 1", "epochs = 2"))
    with pytest.raises(TableError, match=r"the recipe .*tiny\.toml changed since the run was planned; start the run again"):
        evaluation_of(trial, tmp_path)


def test_a_limit_below_the_smallest_network_is_refused_with_its_cost(tmp_path: Path) -> None:
    """The smallest RCNet is the empty chain; the smallest NASBench201 cell is found in the list of all cells, without a table."""
    for limit, least in (("params<=5465", "params 5466"), ("macs<=20k", "macs 21888"), ("params<=9k,macs<=20k", "macs 21888")):
        with pytest.raises(StudyError, match=rf"study\.toml: nothing can meet .*: the smallest network of .* on digits has {least}; allow"):
            trials_of(tmp_path, STUDY.replace("params<=12k,macs<=60k", limit))
    cells = STUDY.replace(NAME, "nasbench201").replace('"digits"', '"fashion-mnist"')
    with pytest.raises(StudyError, match="the smallest network of nasbench201 on fashion-mnist has params 73018; allow that much or more"):
        trials_of(tmp_path, cells.replace("params<=12k,macs<=60k", "params<=70k"))


def test_limit_that_no_sampled_network_meets_is_accepted(tmp_path: Path) -> None:
    text = STUDY.replace("params<=12k,macs<=60k", "params<=5466,macs<=21888")
    (trial,) = trials_of(tmp_path, text)
    assert not costed_space_of(NAME, "digits").admitted(trial.limits).any()


def test_a_recipe_without_validation_images_is_refused() -> None:
    recipe = read_recipe("smoke")
    blind = recipe.model_copy(update={"validation": recipe.validation.model_copy(update={"share": 0.0})})
    images = load(task_of("digits"))
    require_validation(blind, images)  # these images include a validation set
    require_validation(recipe, replace(images, validation=None))
    with pytest.raises(CannotRetrain, match=r"the recipe smoke leaves no images of digits for validation; give it a \[validation\]"):
        require_validation(blind, replace(images, validation=None))


def test_studies_of_the_project_are_planned_or_name_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = expand(*read_study("rcas-digits"), "rcas-digits")
    assert {(plan.labels[trial.identity], trial.seed) for trial in plan.trials} == {
        (label, seed) for label in ("rcas", "random_search") for seed in range(10)
    }
    checks = expand(*read_study("rcas-checks"), "rcas-checks")
    assert set(checks.labels.values()) == {"rcas", "rcas, block type 5 only", "rcas, the last two blocks at random"}
    assert {trial.identity for trial in checks.trials} & {trial.identity for trial in plan.trials}  # the two studies share trials
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    monkeypatch.delenv("BUDGETNAS_IMAGES", raising=False)
    with pytest.raises(StudyError, match=r"rcas-cifar100: CIFAR-100 is not in .*images; get"):
        expand(*read_study("rcas-cifar100"), "rcas-cifar100")
    with pytest.raises(
        StudyError, match=r"rcas-fbnet-pixel3: the costs of FBNet's operators are not on this machine .*budgetnas data import"
    ):
        expand(*read_study("rcas-fbnet-pixel3"), "rcas-fbnet-pixel3")


def test_search_seeds_are_training_seeds(standing: Standing, tmp_path: Path) -> None:
    trials = trials_of(tmp_path, STUDY.replace("seeds = 1", "seeds = [3, 5]"))
    standing()
    reached = [run_trial(trial, tmp_path)[0]["final"]["validation"] for trial in trials]
    assert reached[1] - reached[0] == pytest.approx(2.0)


def test_watch_is_called_after_every_answer(standing: Standing, tmp_path: Path) -> None:
    (trial,) = trials_of(tmp_path, STUDY.replace("queries = 60", "queries = 5"))
    standing()
    calls: list[tuple[Step, Mapping[str, float]]] = []
    run_trial(trial, tmp_path, lambda step, figures: calls.append((step, figures)))
    assert [step for step, _ in calls] == [Step(index, 5, index, 5) for index in range(5)]
    assert [figures["validation"] for _, figures in calls] == [50.0, *(50.0 + 3 - 0.1 * code for code in range(1, 5))]


@pytest.mark.slow
def test_parallel_trainings_give_the_same_figures(tmp_path: Path) -> None:
    recipe = read_recipe("smoke").model_copy(update={"epochs": 1})
    chains = [chain(), chain(1), chain(0, 0, 5)]
    costed = costed_space_of(NAME, "digits")
    alone = TrainingEvaluator(costed, recipe, 0, tmp_path / "alone").accuracies(chains)
    assert TrainingEvaluator(costed, recipe, 0, tmp_path / "together", processes=2).accuracies(chains) == alone
    assert len(set(alone)) > 1


@pytest.mark.slow
def test_diverged_network_has_the_accuracy_of_guessing(tmp_path: Path) -> None:
    smoke = read_recipe("smoke")
    wild = smoke.model_copy(update={"optimiser": smoke.optimiser.model_copy(update={"learning_rate": 1e30, "clip": None})})
    asked = TrainingEvaluator(costed_space_of(NAME, "digits"), wild, 0, tmp_path)
    assert asked.accuracy(chain(1)) == 10.0


@pytest.mark.slow
def test_killed_run_resumes(tmp_path: Path, command: Callable[..., Any], start: Callable[..., Any]) -> None:
    """A real run with real trainings, ended by SIGKILL in the middle of its search."""
    trials_of(tmp_path, STUDY.replace("queries = 60", "queries = 12"))
    arguments, home = ("run", "study.toml", "--workers", "1", "--out", "run"), tmp_path / "home"
    process = start(*arguments, home=home)

    def results() -> dict[str, int]:
        return {path.parent.name: path.stat().st_mtime_ns for path in home.glob("trained/*/result.json")}

    while len(results()) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = results()
    assert len(had) >= 3
    assert command(*arguments, home=home, timeout=600).returncode == 0
    (row,) = Store(tmp_path / "run").rows()
    record = row.record()
    timing = json.loads(row.timing)
    assert record["status"] == "ok" and record["queries"] == len(results()) == 12
    assert {name: results()[name] for name in had} == had
    # The worker may have finished one more training before it noticed that the run had ended.
    assert len(had) <= timing["networks_kept"] <= len(had) + 1
