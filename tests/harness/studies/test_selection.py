"""The selection of DARTS: groups of searches, the choice from each, its charges, and its rows in a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from budgetnas.harness.problem import Allowance, Limit
from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.records.store import Store
from budgetnas.harness.records.trial import TrainingSpec, Trial
from budgetnas.harness.studies import selection
from budgetnas.harness.studies.selection import SEED, groups_of, planned, select, with_selections
from budgetnas.harness.studies.study import StudyError, read_study
from budgetnas.spaces.nasbench201.identity import canonical_indices
from budgetnas.spaces.nasbench201.space import NASBench201

SPACE = NASBench201()
# Indices of connected architectures that represent their identical networks.
OWN = [i for i in range(9_000, 15_625, 50) if canonical_indices()[i] == i and SPACE.connected(SPACE.at(i))]
STUDY = """
name = "four"
seeds = {seeds}
[problem]
datasets = ["digits201"]
limits = ["params<=50k"]
{evaluator}
[selection]
of = {of}
recipe = "smoke"
[[method]]
name = "darts"
"""
SUPERNET = 'evaluator = "supernet"\nrecipe = "search-smoke"'


def trial(seed: int) -> Trial:
    limits, training = (Limit("params", 5e4),), TrainingSpec("search-smoke", "recipe", "images")
    return Trial(
        "nasbench201", "digits201", None, limits, Allowance(), "mean", "darts", (), "v", "", seed, None, training, "supernet"
    )  # fmt: skip


def plan_of(seeds: int, of: int) -> Any:
    trials = tuple(trial(seed) for seed in range(seeds))
    board = SimpleNamespace(
        costed=SimpleNamespace(task=SimpleNamespace(dataset="digits201"), device=None),
        selection=TrainingSpec("smoke", "r", "i"),
    )
    return SimpleNamespace(
        study=SimpleNamespace(selection=SimpleNamespace(of=of)),
        trials=trials,
        boards=(board,),
        labels={t.identity: "DARTS" for t in trials},
    )


def put(store: Store, seed: int, index: int | None, feasible: bool = True) -> None:
    of = trial(seed)
    final = None if index is None else {"text": SPACE.encode(SPACE.at(index)), "feasible": feasible}
    record = {"identity": of.identity, "trial": of.payload(), "status": "ok", "failure": "", "final": final}
    store.put(record, {"search_seconds": 100.0, "search_memory_bytes": 10 + seed, "device": "cpu"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path)
    found.create()
    return found


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace training: the validation accuracy is the index over 200. Return the list of trained items."""
    seen: list[Any] = []

    def train(items: Any, recipe: Any, workers: int, found: dict[Any, Any], show: Callable[[], None]) -> None:
        for item in items:
            seen.append(item)
            found[item] = SimpleNamespace(validation=SPACE.index(item[1]) / 200.0, seconds=7.0, peak_memory_bytes=5)
            show()

    monkeypatch.setattr(selection, "train", train)
    return seen


def test_groups_have_consecutive_seeds_and_labels() -> None:
    groups = groups_of(plan_of(8, 4))
    assert [[each.seed for each in group.trials] for group in groups] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert groups[0].label == "DARTS (best of 4 by brief retraining)"
    assert groups[0].identity == identity_of(
        {"schema": 1, "trials": [each.identity for each in groups[0].trials], "recipe": "r", "images": "i", "seed": SEED}
    )


def test_best_feasible_network_by_validation_is_chosen_and_everything_is_charged(store: Store, trained: list[Any]) -> None:
    indices = [OWN[0], OWN[1], OWN[3], None]
    for seed, index in enumerate(indices):
        put(store, seed, index, feasible=seed != 2)
    plan = plan_of(4, 4)
    shown: list[tuple[int, int]] = []
    assert select(plan, store, 1, lambda done, in_all: shown.append((done, in_all))) == 1
    assert shown[-1] == (3, 3) and {item[3] for item in trained} == {SEED}
    identity = groups_of(plan)[0].identity
    choice = json.loads((store.root / "selections" / f"{identity}.json").read_text())
    assert choice["chosen"] == trial(1).identity  # the third has a better validation accuracy, but is infeasible
    assert [each["validation"] is None for each in choice["candidates"]] == [False, False, False, True]
    timing = store.read(store.timings / f"{identity}.json")
    assert timing == {"search_seconds": 421.0, "selection_seconds": 21.0, "search_memory_bytes": 13.0, "device": "cpu"}
    before = len(trained)
    select(plan, store, 1, lambda done, in_all: None)
    assert len(trained) == before  # the choice is kept
    put(store, 3, OWN[2])  # as if a failed search had run again
    select(plan, store, 1, lambda done, in_all: None)
    assert json.loads((store.root / "selections" / f"{identity}.json").read_text())["chosen"] == trial(3).identity


def test_choices_are_rows_beside_the_searches(store: Store, trained: list[Any]) -> None:
    for seed, index in enumerate([OWN[0], OWN[1], None, None]):
        put(store, seed, index)
    plan = plan_of(4, 2)
    select(plan, store, 1, lambda done, in_all: None)
    rows = [
        {
            "identity": trial(seed).identity, "method": "DARTS", "space": "nasbench201", "dataset": "digits201", "device": "",
            "problem": "p", "seed": seed, "queries": 3, "simulated_seconds": 1.0,
            "recommendation": f"network {seed}" if seed < 2 else "", "feasible": True,
            "violation": 0.0, "test": 1.0, "validation": 1.0, "front": [1], "report": {"loss": 1.0},
        }
        for seed in range(4)
    ]  # fmt: skip
    found = with_selections(store, {"selections": planned(plan)}, pd.DataFrame(rows))
    chosen = found[found["method"] == "DARTS (best of 2 by brief retraining)"].sort_values("seed")
    assert chosen["recommendation"].tolist() == ["network 1", ""] and chosen["feasible"].tolist() == [True, False]
    assert chosen["queries"].tolist() == [6, 6] and chosen["seed"].tolist() == [0, 1] and len(found) == 6
    assert with_selections(store, {}, pd.DataFrame(rows)).equals(pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("seeds", "of", "evaluator", "message"),
    [
        (4, 4, "", "evaluator = 'supernet' or 'training' only"),
        (6, 4, SUPERNET, "expected a multiple of selection.of = 4 seeds, not 6"),
        (4, 1, SUPERNET, "selection.of: .*greater than or equal to 2"),
    ],
)
def test_impossible_selection_gives_one_line(tmp_path: Path, seeds: int, of: int, evaluator: str, message: str) -> None:
    path = tmp_path / "four.toml"
    path.write_text(STUDY.format(seeds=seeds, of=of, evaluator=evaluator))
    with pytest.raises(StudyError, match=message):
        read_study(str(path))
