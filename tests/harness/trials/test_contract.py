"""The check of the contract: each clause is broken by a method written for it, and sound methods pass."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from budgetnas.harness.catalogue.catalogue import MethodError, find_method
from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.trials.contract import (
    CORNERS,
    DATASET,
    DEVICE,
    FALSE_ALARM_RATE,
    LIMITS,
    Clause,
    ContractBroken,
    check_method,
    check_reference,
    p_value,
)

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).parent.parent / "plugins"
ERROR, FEASIBLE, REPEATABLE = (
    "ends without an error",
    "recommends something feasible whenever it asked about something feasible",
    "does the same again for the same seed",
)
DETERMINISTIC, RANDOM = "is deterministic, as declared", "is no worse than random search at the same allowance"


@pytest.fixture(scope="module")
def breaking() -> ModuleType:
    spec = importlib.util.spec_from_file_location("breaking_methods", PLUGINS / "breaking.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["breaking_methods"] = module
    spec.loader.exec_module(module)
    return module


def broken(clauses: tuple[Clause, ...]) -> dict[str, str]:
    return {clause.text: clause.broken for clause in clauses if clause.broken}


def test_sound_method_passes_every_clause(breaking: ModuleType) -> None:
    clauses = check_method(breaking.Sound)
    assert [clause.text for clause in clauses] == [ERROR, FEASIBLE, REPEATABLE, RANDOM]
    assert broken(clauses) == {}


@pytest.mark.parametrize(
    ("name", "clause", "reason"),
    [
        ("IgnoresLimits", FEASIBLE, r"seed \d+, it asked about feasible architectures and recommended an infeasible one"),
        ("UsesGlobalGenerator", REPEATABLE, "draw from the given `rng` alone"),
        ("Remembers", REPEATABLE, "a second run asked or recommended something else"),
        ("TakesTheFirst", RANDOM, r"its mean regrets are .* against .* points; a method as good as random search does so with probability"),
        ("Raises", ERROR, "ZeroDivisionError: at the end"),
        ("RaisesAtOnce", ERROR, "ZeroDivisionError: at the start"),
        ("SaysDeterministic", DETERMINISTIC, "two seeds asked different questions"),
        ("AsksForMore", "needs nothing that a table lacks", "it needs relaxation with trained weights, which the check's benchmark"),
    ],
)
def test_broken_clause_is_named(breaking: ModuleType, name: str, clause: str, reason: str) -> None:
    with pytest.raises(ContractBroken, match=rf"breaking_methods:{name} breaks 1 of \d clauses: {clause}: .*{reason}"):
        check_method(getattr(breaking, name))
    assert list(broken(check_method(getattr(breaking, name), raising=False))) == [clause]


@pytest.mark.parametrize(
    ("name", "message"),
    [("NotADataclass", "is not a dataclass"), ("NoNeeds", "needs the class attribute `needs`"), ("NoSearch", "has no method `search")],
)
def test_class_that_is_not_a_method_is_refused(breaking: ModuleType, name: str, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        check_method(getattr(breaking, name))
    with pytest.raises(MethodError, match="is not a dataclass"):
        check_method(getattr(breaking, name)())  # an instance instead of a class


def test_settings_are_checked_and_used(breaking: ModuleType) -> None:
    with pytest.raises(MethodError, match="has no setting 'draw'; it has draws"):
        check_method(breaking.Sound, {"draw": 3})
    # Two draws are too few to be as good as random search, or to find anything if little is feasible.
    assert list(broken(check_method(breaking.Sound, {"draws": 2}, raising=False))) == [RANDOM]


def test_reference_is_resolved_in_the_folder(breaking: ModuleType) -> None:
    assert list(broken(check_reference("breaking.py:RaisesAtOnce", PLUGINS, {}))) == [ERROR]


def test_global_generators_of_the_caller_are_restored(breaking: ModuleType) -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    check_method(breaking.Sound, raising=False, seeds=2, queries=10)
    assert (random.random(), np.random.random()) == expected


def test_limits_match_their_comment() -> None:
    tabulated = tabulated_space_of("nasbench201", DATASET, DEVICE)
    feasible = [resolve(tabulated, limits).feasible for limits in (*LIMITS, *CORNERS)]
    eligible = int(tabulated.eligible.sum())
    assert 0.4 < feasible[0] / eligible < 0.6 and 0.05 < feasible[1] / eligible < 0.15
    assert 0 < feasible[2] < eligible and 0 < feasible[3] < feasible[0] and feasible[4] == eligible
    assert 10 <= feasible[5] <= 20 and feasible[6:] == [1, 0]
    # Each of several limits in a group excludes something.
    assert all(feasible[2] < resolve(tabulated, [text]).feasible for text in LIMITS[2])


def simulated_regrets(rng: np.random.Generator, limits: tuple[str, ...], runs: int, queries: int) -> np.ndarray[Any, Any]:
    """Return the regrets of many simulated random searches; each recommends the best by validation of `queries` feasible cells."""
    tabulated = tabulated_space_of("nasbench201", DATASET, DEVICE)
    feasible = np.flatnonzero(tabulated.admitted(resolve(tabulated, limits).limits))
    drawn = rng.choice(feasible, size=(runs, queries))
    chosen = drawn[np.arange(runs), np.argmax(tabulated.validation[drawn], axis=1)]
    return tabulated.test[feasible].max() - tabulated.test[chosen]


@pytest.mark.slow
def test_random_search_is_rarely_found_worse_than_itself() -> None:
    # 1,000 checks: at the stated rate of 0.001, more than 7 false alarms happen once in 100,000 such tests; at the level of 0.05, the share
    # must be within four standard deviations. The draws are fixed, so the result is the same every time.
    rng, checks, seeds = np.random.default_rng(1), 1000, 20
    samples = [simulated_regrets(rng, limits, checks * 2 * seeds, 60).reshape(checks, 2, seeds).tolist() for limits in LIMITS]
    p_values = np.array([p_value([s[check][0] for s in samples], [s[check][1] for s in samples]) for check in range(checks)])
    assert (p_values < FALSE_ALARM_RATE).sum() <= 7
    assert (p_values < 0.05).mean() <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / checks)


def test_statistical_test_detects_a_search_with_a_quarter_of_the_queries() -> None:
    rng, checks, seeds = np.random.default_rng(2), 50, 20
    rivals = [simulated_regrets(rng, limits, checks * seeds, 60).reshape(checks, seeds).tolist() for limits in LIMITS]
    weaker = [simulated_regrets(rng, limits, checks * seeds, 15).reshape(checks, seeds).tolist() for limits in LIMITS]
    caught = [p_value([w[check] for w in weaker], [r[check] for r in rivals]) < FALSE_ALARM_RATE for check in range(checks)]
    assert np.mean(caught) > 0.8


def test_equal_regrets_have_the_p_value_of_one_half() -> None:
    assert p_value([[1.0] * 5], [[1.0] * 20]) == pytest.approx(0.5)
    assert p_value([[9.0] * 20] * 5, [[1.0] * 20] * 5) < 1e-9
    assert p_value([[1.0] * 20] * 5, [[9.0] * 20] * 5) > 1 - 1e-9


def test_simulation_equals_random_search() -> None:
    from budgetnas.harness.trials import contract as check

    tabulated = tabulated_space_of("nasbench201", DATASET, DEVICE)
    found = find_method("random_search")
    trials = check._trials(tabulated, LIMITS[1], found, found.settings({}), 60, 60)
    real = check._regrets(tabulated, [check.conduct(found, trial) for trial in trials])
    drawn = simulated_regrets(np.random.default_rng(3), LIMITS[1], 4000, 60)
    assert np.mean(real) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / np.sqrt(60))


def test_method_over_a_relaxation_has_fewer_clauses() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from budgetnas.methods.darts import DARTS

    clauses = check_method(DARTS, {"steps": 50})
    assert [clause.text for clause in clauses] == [ERROR, "recommends something, feasible or not", REPEATABLE]
    assert broken(clauses) == {}
