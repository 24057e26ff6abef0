"""One search is a study of one trial: it has the same identity and the requested seed, and an impossible request gives one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from budgetnas.harness.studies.one_search import SearchError, SearchRequest, trial_of
from budgetnas.harness.studies.plan import expand
from budgetnas.harness.studies.study import StudyError, read_study

REQUEST = SearchRequest("random_search", "nasbench201", "digits201", "amd-epyc", ["latency_ms@q25", "params>=2k"], "table", None, 1, 20, {})
STUDY = """
name = "one"
seeds = 2
[problem]
datasets = ["digits201"]
devices = ["amd-epyc"]
limits = [["latency_ms@q25", "params>=2k"]]
allowance = {{ queries = 20 }}
{more}
[[method]]
name = "{method}"
"""
PLUG_IN = """
from dataclasses import dataclass
from typing import ClassVar
from budgetnas.harness.problem import Need

@dataclass(frozen=True)
class Mine:
    label: str = ""
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def check_problem(self, problem):
        if problem.device is None:
            raise ValueError("give it a device")

    def search(self, problem, evaluator, rng):
        yield from ()
"""
RECIPE = """
name = "tiny"
version = 1
source = "these tests"
kind = "search"
epochs = 2
batch = 16
images = { train = 96 }
optimiser = { learning_rate = 0.05, clip = 5.0 }
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PLUG_IN)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, ""),
        ({"method": "mine.py:Mine"}, ""),
        ({"method": "darts"}, ""),
        ({"method": "darts", "evaluator": "supernet", "recipe": "tiny.toml"}, 'evaluator = "supernet"\nrecipe = "tiny.toml"'),
        ({"evaluator": "training", "recipe": "smoke"}, 'evaluator = "training"\nrecipe = "smoke"'),
    ],
    ids=["on a table", "a plug-in", "relaxed", "in a supernet", "by training"],
)
def test_search_is_the_same_trial_as_in_a_study(changes: dict[str, Any], more: str, here: Path) -> None:
    if {"darts", "training"} & set(changes.values()):
        pytest.importorskip("torch", reason="torch is not installed")
    request = replace(REQUEST, **changes)
    (here / "one.toml").write_text(STUDY.format(method=request.method, more=more))
    study, folder = read_study("one.toml")
    of_study = next(trial for trial in expand(study, folder, "one.toml").trials if trial.seed == request.seed)
    trial, bounds = trial_of(request)
    assert trial == of_study
    assert bounds.limits == trial.limits and bounds.text.endswith(",params>=2000")


def test_deterministic_method_has_the_requested_seed() -> None:
    trial, _ = trial_of(replace(REQUEST, method="rcas", seed=5))
    assert trial.seed == 5 and trial.identity != trial_of(replace(REQUEST, method="rcas", seed=0))[0].identity


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no recipe": ({"evaluator": "training"}, "the evaluator 'training' needs --recipe, the name or path of a training recipe"),
    "a recipe too many": ({"recipe": "smoke"}, "takes no --recipe; leave it out, or choose --evaluator supernet or training"),
    "a resource that the device lacks": (
        {"limits": ["energy_mj<=3"]},
        "the device has no energy_mj; limit a resource that it has (latency_ms), or",
    ),
    "a setting that a study cannot have": ({"settings": {"label": "x"}}, "a setting cannot be called 'label'"),
    "a space without a name": ({"space": ""}, "space: expected the name of a space"),
    "no allowance": ({"queries": 0}, "queries: Input should be greater than or equal to 1, not 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_search_gives_one_line_with_the_remedy(case: str) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(SearchError) as refused:
        trial_of(replace(REQUEST, **changes))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_error_names_an_evaluator_that_offers_what_the_method_needs() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(SearchError, match=r"which the evaluator 'table' does not offer here; choose --evaluator supernet$"):
        trial_of(replace(REQUEST, method="pc_darts"))


def test_error_of_check_problem_does_not_name_a_study() -> None:
    with pytest.raises(StudyError, match=r"^'mine.py:Mine': give it a device$"):
        trial_of(replace(REQUEST, method="mine.py:Mine", device=None, limits=[]))


def test_error_for_a_space_without_a_table_names_the_other_evaluators() -> None:
    with pytest.raises(StudyError, match=r"^'darts' has no table, .* choose another evaluator: 'supernet' or 'training'$"):
        trial_of(replace(REQUEST, space="darts", dataset="cifar10", device=None, limits=[]))
