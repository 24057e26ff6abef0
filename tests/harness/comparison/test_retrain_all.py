"""The recipes and seeds with which a run's networks are retrained; nothing is trained twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from budgetnas.harness.comparison import retrain_all as module
from budgetnas.harness.comparison.candidates import Candidate, Finding
from budgetnas.harness.comparison.queried import queried_of
from budgetnas.harness.comparison.retrain_all import FIRST_EVALUATION_SEED, evaluation_seeds, recipes_of, retrain_all
from budgetnas.harness.comparison.rows import comparison_rows
from budgetnas.harness.training.images.dataset import MissingImages
from budgetnas.harness.training.job import CannotRetrain, trainer_of
from budgetnas.harness.training.recipes.recipe import RecipeError, read_recipe
from budgetnas.spaces.nasbench201.space import NASBench201

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

SPACE = NASBench201()
OWN = ("nasbench201", "digits201")
CIFAR10 = ("nasbench201", "cifar10")
DIGITS = ("darts[cells=5,channels=8]", "digits")
INDEX = 1_462


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the images of scikit-learn are available."""
    monkeypatch.setenv("BUDGETNAS_IMAGES", str(tmp_path / "images"))


def test_without_a_recipe_the_trainer_of_a_table_is_used() -> None:
    assert recipes_of([OWN, OWN], None) == ({OWN: None}, [])
    assert recipes_of([OWN], "digits201") == ({OWN: None}, [])
    found, left_out = recipes_of([OWN, CIFAR10, DIGITS], None)
    assert found == {OWN: None}
    assert [line.split("; give --recipe")[0] for line in left_out] == [
        "digits is left out: darts[cells=5,channels=8] on digits has no default recipe",
        "cifar10 is left out: nasbench201 on cifar10 has no default recipe",
    ]


def test_without_any_trainer_the_error_lists_recipes_or_datasets() -> None:
    with pytest.raises(RecipeError, match="give --recipe, the path of a TOML file or one of darts-cifar10, "):
        recipes_of([CIFAR10], None)
    with pytest.raises(CannotRetrain, match="networks of nasbench201 cannot be retrained on closed-form yet; choose one of digits201"):
        recipes_of([("nasbench201", "closed-form")], None)


def test_with_a_recipe_datasets_without_images_are_left_out() -> None:
    smoke = read_recipe("smoke")
    found, left_out = recipes_of([OWN, CIFAR10], "smoke")
    assert found == {OWN: smoke} and len(left_out) == 1 and left_out[0].startswith("cifar10 is left out: ")
    with pytest.raises(MissingImages, match="cifar"):
        recipes_of([CIFAR10], "smoke")
    with pytest.raises(RecipeError, match="there is no recipe smok;"):
        recipes_of([OWN], "smok")


def test_evaluation_seeds_are_never_search_seeds_except_with_the_table_s_trainer() -> None:
    assert evaluation_seeds(*OWN, None, None) == [0, 1, 2] and evaluation_seeds(*OWN, None, 2) == [0, 1]
    assert evaluation_seeds(*OWN, None, 9) == [0, 1, 2]  # a table has no more
    assert evaluation_seeds(*OWN, read_recipe("smoke"), None) == [1_000_000, 1_000_001, 1_000_002]
    assert evaluation_seeds(*DIGITS, read_recipe("smoke"), 1) == [FIRST_EVALUATION_SEED] == [1_000_000]


def candidate(index: int = INDEX) -> Candidate:
    arch = SPACE.canonical(SPACE.at(index))
    findings = (Finding("latency_ms@q10, amd-epyc", "rcas", 3), Finding("latency_ms@q50, amd-epyc", "rcas", 0))
    return Candidate(*OWN, arch, SPACE.encode(arch), SPACE.index(arch), findings, queried_of(*OWN, arch))


def never(*arguments: Any) -> None:
    raise AssertionError("a kept training was repeated")


@pytest.mark.slow
def test_the_table_s_trainer_trains_all_seeds_at_once_and_never_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    trainer = trainer_of(*OWN)
    expected = trainer.retrain(INDEX)
    monkeypatch.setattr(trainer, "retrain_seed", never)
    shown: list[tuple[int, int]] = []
    (found,) = retrain_all([candidate()], {OWN: None}, None, 1, lambda done, total: shown.append((done, total)))
    assert [(each.test, each.validation) for each in found.trainings] == [(one.test, one.validation) for one in expected]
    assert [each.identity["seed"] for each in found.trainings] == [0, 1, 2] and shown[0] == (0, 3) and shown[-1] == (3, 3)
    monkeypatch.setattr(trainer, "retrain", never)
    (again,) = retrain_all([candidate()], {OWN: None}, None, 1, lambda done, total: None)
    assert all(each.kept for each in again.trainings) and [each.test for each in again.trainings] == [each.test for each in found.trainings]


@pytest.mark.slow
def test_with_a_recipe_each_seed_is_a_training_that_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    smoke = read_recipe("smoke")
    images = smoke.images.model_copy(update={"train": 60, "validation": 30, "test": 30})
    tiny = smoke.model_copy(update={"name": "tiny", "epochs": 1, "images": images})
    (first,) = retrain_all([candidate()], {OWN: tiny}, 1, 1, lambda done, total: None)
    (found,) = retrain_all([candidate()], {OWN: tiny}, 2, 1, lambda done, total: None)
    assert [(each.identity["seed"], each.kept) for each in found.trainings] == [(1_000_000, True), (1_000_001, False)]
    assert found.trainings[0].test == first.trainings[0].test
    table = comparison_rows([found], won=False)
    assert table["test_queried_same_seed"].isna().all() and table["test_difference"].isna().all() and table["won"].isna().all()
    assert set(table["recipe"]) == {"tiny"} and table["protocol"].str.startswith("Trained here: epochs 1, not 6").all()
    monkeypatch.setattr(module, "run_job", never)
    retrain_all([candidate()], {OWN: tiny}, 2, 1, lambda done, total: None)
