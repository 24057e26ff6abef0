"""Copies of a trial with other seeds: their identities, computed together, equal those of trials made one by one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from budgetnas.harness.problem import Allowance, Limit
from budgetnas.harness.records.trial import TrainingSpec, Trial

TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(['"seed":0', '",', "{}", "\\", "é\u2028", '","seed":1,"space":"', "🙂"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
SETTINGS = st.dictionaries(TEXTS, VALUES, max_size=4).map(lambda settings: tuple(sorted(settings.items(), key=lambda item: item[0])))
TRAININGS = st.none() | st.builds(TrainingSpec, TEXTS, TEXTS, TEXTS)
LIMITS = st.lists(st.builds(Limit, TEXTS, st.floats(0, allow_nan=False), st.floats(0, 1)), max_size=3).map(tuple)
TRIALS = st.builds(
    Trial,
    space=TEXTS,
    dataset=TEXTS,
    device=st.none() | TEXTS,
    limits=LIMITS,
    allowance=st.builds(Allowance, st.none() | st.integers(0), st.none() | st.floats(0, allow_nan=False, allow_infinity=False)),
    validation=st.sampled_from(["mean", "seed"]),
    method=TEXTS,
    settings=SETTINGS,
    version=TEXTS,
    table=TEXTS,
    seed=st.integers(),
    folder=st.none() | st.just(Path("/somewhere")),
    training=TRAININGS,
    evaluator=st.sampled_from(["table", "supernet"]) | TEXTS,
)


@given(trial=TRIALS, seeds=st.lists(st.integers(-(2**70), 2**70), max_size=5))
def test_identities_equal_those_of_trials_made_one_by_one(trial: Trial, seeds: list[int]) -> None:
    made = trial.with_seeds(seeds)
    alone = [replace(trial, seed=seed) for seed in seeds]
    assert made == alone
    assert [each.identity for each in made] == [each.identity for each in alone]
    for each in made:  # the definition of the identity
        text = json.dumps(each.payload(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert each.identity == hashlib.sha256(text.encode()).hexdigest()


@given(trial=TRIALS)
def test_copy_of_a_trial_computes_a_new_identity(trial: Trial) -> None:
    first = trial.identity
    assert trial.with_seeds([trial.seed])[0].identity == first
    other: Any = trial.with_seeds([trial.seed + 1])[0]
    assert other.identity != first and replace(other, seed=trial.seed).identity == first
    assert replace(trial, method=trial.method + "x").identity != first
