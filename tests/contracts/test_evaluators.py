"""The contract of an evaluator. It runs for several evaluators over a table: means or one seed, metered or not."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, Evaluator, Need
from budgetnas.harness.trials.meter import Meter
from budgetnas.spaces.space import Architecture, InvalidArchitecture, sample
from budgetnas.spaces.tables.accuracy import accuracy
from budgetnas.spaces.tables.columnar import Table

ON_DEVICE = tabulated_space_of("nasbench201", "closed-form", "closed-form")
WITHOUT_DEVICE = tabulated_space_of("nasbench201", "closed-form")
SHIPPED = tabulated_space_of("nasbench201", "digits201", "amd-epyc")
SPACE = ON_DEVICE.space


def metered(tabulated: TabulatedSpace) -> Meter:
    return Meter(TableEvaluator(tabulated), tabulated.training_seconds.tolist(), tabulated.space, Allowance(None))


EVALUATORS: dict[str, tuple[Callable[[TabulatedSpace], Evaluator], TabulatedSpace]] = {
    "table": (TableEvaluator, ON_DEVICE),
    "table without a device": (TableEvaluator, WITHOUT_DEVICE),
    "table of one seed": (lambda tabulated: TableEvaluator(tabulated, search_seed=3), ON_DEVICE),
    "metered table": (metered, ON_DEVICE),
    "table that ships with the project": (TableEvaluator, SHIPPED),
}
EVERY = pytest.mark.parametrize(("make", "tabulated"), EVALUATORS.values(), ids=list(EVALUATORS))


def some(count: int = 100) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [sample(SPACE, rng) for _ in range(count)]


@EVERY
def test_it_declares_what_it_offers(make: Callable[[TabulatedSpace], Evaluator], tabulated: TabulatedSpace) -> None:
    evaluator = make(tabulated)
    assert isinstance(evaluator, Evaluator)
    assert isinstance(evaluator.offers, frozenset) and evaluator.offers <= set(Need) and evaluator.offers


@EVERY
def test_costs_hold_every_known_resource_as_plain_numbers(make: Callable[[TabulatedSpace], Evaluator], tabulated: TabulatedSpace) -> None:
    evaluator = make(tabulated)
    for arch in some():
        cost = evaluator.cost(arch)
        expected = tabulated.cost_at(SPACE.index(arch))
        assert tuple(cost) == tabulated.resources
        assert all(type(value) is float for value in cost.values())
        assert all(cost[name] == value or (math.isnan(cost[name]) and math.isnan(value)) for name, value in expected.items())


@EVERY
def test_accuracies_are_validation_accuracies_asked_one_by_one_or_together(
    make: Callable[[TabulatedSpace], Evaluator], tabulated: TabulatedSpace
) -> None:
    archs = some()
    one_by_one = [make(tabulated).accuracy(arch) for arch in archs[:10]]
    together = make(tabulated).accuracies(archs)
    assert together[:10] == one_by_one
    assert together == [float(tabulated.validation[SPACE.index(arch)]) for arch in archs]
    assert all(type(value) is float for value in together)
    assert make(tabulated).accuracies([]) == []


def test_a_search_seed_uses_one_training_seed_of_the_shipped_table() -> None:
    evaluator = TableEvaluator(SHIPPED, search_seed=4)  # 4 modulo the 3 training seeds is 1
    second = accuracy(SHIPPED.table, "digits201", "validation", seed=1)
    assert evaluator.accuracies(some()) == [second[SPACE.index(arch)] for arch in some()]


@EVERY
def test_the_same_question_has_the_same_answer(make: Callable[[TabulatedSpace], Evaluator], tabulated: TabulatedSpace) -> None:
    evaluator, (arch, *_) = make(tabulated), some(1)
    assert evaluator.accuracy(arch) == evaluator.accuracy(arch)
    assert dict(evaluator.cost(arch)) == dict(evaluator.cost(arch))


@EVERY
def test_an_invalid_architecture_is_refused(make: Callable[[TabulatedSpace], Evaluator], tabulated: TabulatedSpace) -> None:
    evaluator = make(tabulated)
    for bad in (
        Architecture("elsewhere", (0,) * 6),
        Architecture("nasbench201", (0,) * 5),
        Architecture("nasbench201", (0, 0, 0, 0, 0, 9)),
    ):
        for question in (evaluator.cost, evaluator.accuracy, lambda arch: evaluator.accuracies([arch])):
            with pytest.raises(InvalidArchitecture):
                question(bad)


@EVERY
def test_a_question_that_is_not_offered_is_refused(make: Callable[[TabulatedSpace], Evaluator], tabulated: TabulatedSpace) -> None:
    evaluator = make(tabulated)
    if Need.RELAXATION not in evaluator.offers:
        with pytest.raises(NotImplementedError, match="offers accuracy only"):
            evaluator.relaxation({})


@EVERY
def test_it_does_not_hold_test_accuracy(make: Callable[[TabulatedSpace], Evaluator], tabulated: TabulatedSpace) -> None:
    """No object that it holds is a table or a tabulated, which know test accuracy, or an array of test accuracies."""
    waiting, seen = [make(tabulated)], set()
    while waiting:
        kept = waiting.pop()
        if id(kept) in seen:
            continue
        seen.add(id(kept))
        assert not isinstance(kept, (TabulatedSpace, Table))
        if isinstance(kept, (list, tuple, np.ndarray)) and len(kept) == tabulated.space.size:
            assert not np.array_equal(np.asarray(kept), tabulated.test)
        elif isinstance(kept, (list, tuple, dict)):
            waiting += kept.values() if isinstance(kept, dict) else kept
        elif isinstance(kept, (TableEvaluator, Meter)):
            waiting += vars(kept).values()
        waiting += [kept.__self__] if hasattr(kept, "__self__") else []
    assert len(seen) > 3


def test_a_search_seed_is_answered_from_its_training_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {seed: ON_DEVICE.validation + seed for seed in range(3)}
    monkeypatch.setattr(TabulatedSpace, "validation_of_seed", lambda self, search_seed: values[search_seed % 3])
    for search_seed in range(4):
        answers = TableEvaluator(ON_DEVICE, search_seed).accuracies(some(20))
        assert answers == [float(values[search_seed % 3][SPACE.index(arch)]) for arch in some(20)]
