"""Trainings by name: their identity, they are done once, and their errors."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from budgetnas.harness.training.retrain import run_job

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.training import stages
from budgetnas.harness.training.checkpoint import BadCheckpoint
from budgetnas.harness.training.images.dataset import MissingImages
from budgetnas.harness.training.job import CannotRetrain, default_recipe, job_of, kept_in, trainer_of
from budgetnas.harness.training.progress import Progress, silent
from budgetnas.harness.training.recipes.recipe import Recipe, RecipeError, Validation, read_recipe
from budgetnas.harness.training.result import BadResult
from budgetnas.harness.training.retrain import retrain
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.space import Architecture

pytestmark = pytest.mark.slow

SPACE = NASBench201()
ARCH = SPACE.decode("|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|skip_connect~2|")


def tiny(**changes: object) -> Recipe:
    smoke = read_recipe("smoke")
    images = smoke.images.model_copy(update={"train": 60, "validation": 30, "test": 30})
    return smoke.model_copy(update={"name": "tiny", "epochs": 2, "images": images, **changes})


class Interrupted(BaseException):
    pass


def interrupting(progress: Progress) -> None:
    if progress.epoch == 1 and progress.ended is None:
        raise Interrupted


def test_a_network_is_trained_once_and_a_resumed_training_has_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = retrain("nasbench201", ARCH, "digits201", tiny(), 3, tmp_path / "straight")
    with pytest.raises(Interrupted):
        retrain("nasbench201", ARCH, "digits201", tiny(), 3, tmp_path / "broken", interrupting)
    (folder,) = (tmp_path / "broken").iterdir()
    (folder / ".checkpoint.pt.abc.partial").touch()  # as a killed process leaves it
    assert (folder / "checkpoint.pt").exists() and not (folder / "result.json").exists()
    second = retrain("nasbench201", ARCH, "digits201", tiny(), 3, tmp_path / "broken")
    assert (second.epochs, second.validation, second.test) == (first.epochs, first.validation, first.test)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "result.json"]
    assert 0 <= first.test <= 100 and first.validation is not None and len(first.epochs) == 2 and not first.kept

    def never(*arguments: object) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr(stages, "fit", never)
    again = retrain("nasbench201", ARCH, "digits201", tiny(), 3, tmp_path / "broken")
    assert again.kept and (again.epochs, again.test, again.identity) == (second.epochs, second.test, second.identity)


def test_identical_networks_have_the_same_identity() -> None:
    other = SPACE.decode("|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|avg_pool_3x3~1|skip_connect~2|")
    same = SPACE.decode("|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|skip_connect~2|")
    assert SPACE.canonical(same) == SPACE.canonical(SPACE.decode("|none~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|skip_connect~2|"))
    jobs = [job_of("nasbench201", arch, "digits201", tiny(), 0) for arch in (ARCH, same, other)]
    assert jobs[0].identity == jobs[1].identity != jobs[2].identity


def test_the_identity_has_everything_that_affects_the_result() -> None:
    jobs = [
        job_of("nasbench201", ARCH, "digits201", tiny(), 0),
        job_of("nasbench201", ARCH, "digits201", tiny(), 1),
        job_of("nasbench201", ARCH, "digits", tiny(), 0),
        job_of("nasbench201", ARCH, "digits201", tiny(batch=16), 0),
        job_of("nasbench201", SPACE.at(15), "digits201", tiny(), 0),
        job_of("nasbench201", ARCH, "digits201", "digits201", 0),
    ]
    assert len({identity_of(job.identity) for job in jobs}) == len(jobs)
    assert set(jobs[0].identity) == {"schema", "space", "arch", "genes", "dataset", "images", "recipe", "recipe_values", "seed"}


def test_the_recipe_of_the_table_uses_the_trainer_of_the_table(tmp_path: Path) -> None:
    assert default_recipe("nasbench201", "digits201") == "digits201"
    found = retrain("nasbench201", ARCH, "digits201", "digits201", 1, tmp_path)
    index = SPACE.index(SPACE.canonical(ARCH))
    expected = trainer_of("nasbench201", "digits201").retrain_seed(index, 1)
    assert (found.validation, found.test, found.epochs) == (expected.validation, expected.test, ())
    assert retrain("nasbench201", ARCH, "digits201", "digits201", 1, tmp_path).kept


def test_with_test_on_all_a_second_network_is_trained_and_tested(tmp_path: Path) -> None:
    chosen = tiny(validation=Validation(part="train", share=0.1, per_class=3, test_on_all=True))
    seen: list[Progress] = []
    with pytest.raises(Interrupted):
        retrain("nasbench201", ARCH, "digits201", chosen, 0, tmp_path / "broken", lambda each: interrupting_third(each))
    broken = retrain("nasbench201", ARCH, "digits201", chosen, 0, tmp_path / "broken")
    straight = retrain("nasbench201", ARCH, "digits201", chosen, 0, tmp_path / "straight", seen.append)
    assert (broken.epochs, broken.validation, broken.test) == (straight.epochs, straight.validation, straight.test)
    assert [(each.epoch, each.epochs) for each in seen if each.ended] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [epoch.validation is None for epoch in straight.epochs] == [False, False, True, True]


def interrupting_third(progress: Progress) -> None:
    if progress.epoch == 3 and progress.ended is None:
        raise Interrupted


def test_a_folder_of_another_training_is_refused_and_unchanged(tmp_path: Path) -> None:
    job, other = (job_of("nasbench201", ARCH, "digits201", tiny(), seed) for seed in (0, 1))
    with pytest.raises(Interrupted):
        run_job(job, tmp_path, interrupting)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(BadCheckpoint, match="is the checkpoint of another training: its seed is 0, here it is 1; choose another folder"):
        run_job(other, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept
    announced: list[float] = []
    assert run_job(job, tmp_path, silent, announced.append, keep=True).epochs
    assert (tmp_path / "checkpoint.pt").exists() and len(announced) == 1 and announced[0] > 0
    with pytest.raises(BadResult, match=r"result.json is the result of another training: its seed is 0, here it is 1"):
        run_job(other, tmp_path)
    for text in ("", "{}", "[]", '{"identity": {}, "epochs": 3}'):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(BadResult, match=r"result.json is damaged or no result; move it away, or delete it, to train again"):
            run_job(job, tmp_path)
        assert (tmp_path / "result.json").read_text() == text


def test_simultaneous_requests_for_a_training_train_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, trained = stages.fit, []

    def counted(*arguments: object) -> object:
        trained.append(os.getpid())
        return fit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "fit", counted)
    results = []
    asking = [
        threading.Thread(target=lambda: results.append(retrain("nasbench201", ARCH, "digits201", tiny(), 0, tmp_path))) for _ in range(3)
    ]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert len(results) == 3 and len(trained) == 1 and len({result.test for result in results}) == 1


def test_a_diverged_training_is_a_result(tmp_path: Path) -> None:
    smoke = read_recipe("smoke")
    wild = tiny(optimiser=smoke.optimiser.model_copy(update={"learning_rate": 1e30, "clip": None}))
    job = job_of("nasbench201", ARCH, "digits201", wild, 0)
    found = run_job(job, tmp_path)
    assert found.diverged and found.validation == found.test == 10.0
    assert json.loads((tmp_path / "result.json").read_text())["epochs"][-1]["loss"] is None
    again = run_job(job, tmp_path)
    assert again.kept and again.diverged and again.epochs[-1].loss != again.epochs[-1].loss


def test_impossible_trainings_are_one_line_errors(tmp_path: Path) -> None:
    with pytest.raises(CannotRetrain, match=r"the seed is -1; choose 0 to 2\^63 - 1"):
        job_of("nasbench201", ARCH, "digits201", tiny(), -1)
    with pytest.raises(MissingImages, match="CIFAR-10 is not in"):
        job_of("nasbench201", ARCH, "cifar10", "nasbench201-200", 0, tmp_path)
    with pytest.raises(RecipeError, match=r"there is no recipe unheard; give the path of a TOML file, or one of .*smoke"):
        job_of("nasbench201", ARCH, "digits201", "unheard", 0)
    with pytest.raises(RecipeError, match=r"nasbench201 on digits has no default recipe; give --recipe, .* or one of darts-cifar10, "):
        default_recipe("nasbench201", "digits")
    with pytest.raises(ValueError, match="the architecture belongs to the space 'darts'"):
        job_of("nasbench201", Architecture("darts", (0,)), "digits", tiny(), 0)
    job = job_of("nasbench201", ARCH, "digits201", tiny(), 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRetrain, match=r"cannot write into .*file/run: Not a directory; choose another folder with --out"):
        run_job(job, tmp_path / "file" / "run")
    assert kept_in(job, tmp_path).parent == tmp_path
