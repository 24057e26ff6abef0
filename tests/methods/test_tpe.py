"""TPE: it stays within its allowance, queries feasible architectures only, is repeatable, and beats random search."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from searching import LIMITS, SEVEN_CELLS, SPACE, ask, run, validations

from budgetnas.harness.problem import Architecture
from budgetnas.methods.tpe import TPE, _Known, _study, _Suggestions

pytestmark = pytest.mark.slow


def test_suggestions_are_feasible_and_new_where_optunas_own_are_not() -> None:
    waste = {}
    for constrained in (True, False):
        known = _Known(*ask(LIMITS["one"], None))
        study = _study(TPE(), known, np.random.default_rng(0))
        if not constrained:
            study.sampler = optuna.samplers.TPESampler(seed=0, multivariate=True, n_startup_trials=20, constant_liar=False)
        suggestions = _Suggestions(SPACE.arity, study)
        rng = np.random.default_rng(1)
        for _ in range(40):
            genes, trial = suggestions.ask(TPE()._draw(known, rng))
            known.told.add(genes)
            study.tell(trial, *validations([Architecture(SPACE.name, genes)]))
        waste[constrained] = 0
        for _ in range(30):
            genes, trial = suggestions.ask(None)
            waste[constrained] += not known.worth_asking(genes)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert waste[True] == 0
    assert waste[False] > 3


def test_infeasible_trials_lead_to_a_first_feasible_one() -> None:
    # With `draws=1` at most 220 draws are uniform: they alone would meet one of 7 cells among 15,625 in one search of ten.
    assert all(run(TPE(draws=1), SEVEN_CELLS, seed).asked for seed in range(6))


def test_optunas_log_level_is_left_alone() -> None:
    before = optuna.logging.get_verbosity()
    run(TPE(), LIMITS["one"], queries=1)
    assert optuna.logging.get_verbosity() == before
