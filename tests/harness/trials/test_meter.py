"""The meter logs every question in order, charges every new accuracy, and answers none beyond the allowance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, AllowanceSpent, Need
from budgetnas.harness.trials import meter as metering
from budgetnas.harness.trials.meter import MOST_REFUSALS, Meter, Runaway
from budgetnas.spaces.space import Architecture, InvalidArchitecture, SupernetOptions

LANDSCAPE = tabulated_space_of("nasbench201", "closed-form", "closed-form")
SPACE = LANDSCAPE.space
EVALUATOR = TableEvaluator(LANDSCAPE)
SECONDS = LANDSCAPE.training_seconds.tolist()
VALIDATION = LANDSCAPE.validation.tolist()


def meter(queries: int | None = None, seconds: float | None = None) -> Meter:
    return Meter(EVALUATOR, SECONDS, SPACE, Allowance(queries, seconds))


def at(*indices: int) -> list[Architecture]:
    return [SPACE.at(index) for index in indices]


def spent(asked: Meter) -> tuple[int, int, float, int]:
    return asked.queries, asked.repeats, asked.seconds, len(asked.log)


def test_every_question_is_recorded_in_order() -> None:
    asked = meter()
    first, second, third = at(5, 6, 7)
    asked.cost(first)
    asked.accuracy(second)
    asked.accuracies([third, second])
    asked.cost(third)
    asked.cost(third)
    assert asked.log == [(False, 5), (True, 6), (True, 7), (True, 6), (False, 7), (False, 7)]
    assert list(asked.questions()) == [("cost", [5]), ("accuracy", [6, 7, 6]), ("cost", [7, 7])]


def test_answers_equal_those_of_the_evaluator() -> None:
    asked = meter()
    for index in (0, 9_999, 15_624):
        (arch,) = at(index)
        assert asked.accuracy(arch) == asked.accuracy(arch) == VALIDATION[index]
        assert asked.cost(arch) == asked.cost(arch) == EVALUATOR.cost(arch)
    assert asked.answers == {index: VALIDATION[index] for index in (0, 9_999, 15_624)}
    assert asked.offers == EVALUATOR.offers >= {Need.ACCURACY}


def test_a_new_accuracy_costs_one_query_and_its_training_time() -> None:
    asked = meter()
    asked.accuracies(at(3, 14, 159))
    assert asked.queries == 3
    assert asked.seconds == pytest.approx(SECONDS[3] + SECONDS[14] + SECONDS[159], abs=1e-9)
    assert asked.repeats == 0


def test_a_repeat_is_free_and_recorded() -> None:
    asked = meter(queries=1)
    (arch,) = at(3)
    assert asked.accuracy(arch) == asked.accuracy(arch) == asked.accuracies([arch, arch])[1]
    assert (asked.queries, asked.repeats, asked.seconds) == (1, 3, SECONDS[3])
    assert asked.log == [(True, 3)] * 4


def test_costs_are_always_free() -> None:
    asked = meter(queries=1, seconds=1.0)
    for _ in range(5):
        asked.cost(SPACE.at(3))
    assert spent(asked) == (0, 0, 0.0, 5)


def test_identical_networks_are_not_merged() -> None:
    one = SPACE.decode("|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|skip_connect~1|skip_connect~2|")
    other = SPACE.decode("|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|")
    assert SPACE.canonical(one) == SPACE.canonical(other)
    asked = meter(queries=2)
    asked.accuracies([one, other])
    assert (asked.queries, asked.repeats) == (2, 0)


def test_question_beyond_the_queries_is_refused_and_leaves_no_trace() -> None:
    asked = meter(queries=2)
    asked.accuracies(at(1, 2))
    before = spent(asked)
    for _ in range(3):
        with pytest.raises(AllowanceSpent, match="2 queries"):
            asked.accuracy(SPACE.at(3))
    assert spent(asked) == before
    assert set(asked.answers) == {1, 2}
    # Charged answers can still be repeated, and costs can still be asked for.
    assert asked.accuracy(SPACE.at(1)) == VALIDATION[1]
    assert asked.cost(SPACE.at(3)) == EVALUATOR.cost(SPACE.at(3))


def test_a_batch_is_refused_at_the_first_question_that_is_not_covered() -> None:
    asked = meter(queries=3)
    with pytest.raises(AllowanceSpent):
        asked.accuracies(at(1, 2, 1, 3, 4, 5))
    assert asked.log == [(True, 1), (True, 2), (True, 1), (True, 3)]
    assert (asked.queries, asked.repeats) == (3, 1)


def test_seconds_can_be_spent_completely() -> None:
    asked = meter(seconds=SECONDS[1] + SECONDS[2])
    asked.accuracies(at(1, 2))
    with pytest.raises(AllowanceSpent):
        asked.accuracy(SPACE.at(3))
    assert (asked.queries, asked.seconds) == (2, SECONDS[1] + SECONDS[2])


def test_cheaper_question_can_be_covered_after_an_expensive_one_was_refused() -> None:
    dear, cheap = int(np.argmax(SECONDS)), int(np.argmin(SECONDS))
    asked = meter(seconds=(SECONDS[dear] + SECONDS[cheap]) / 2)
    with pytest.raises(AllowanceSpent):
        asked.accuracy(SPACE.at(dear))
    assert asked.accuracy(SPACE.at(cheap)) == VALIDATION[cheap]


def test_without_training_times_only_queries_are_charged() -> None:
    asked = Meter(EVALUATOR, None, SPACE, Allowance(2, 1.0))
    asked.accuracies(at(1, 2))
    assert (asked.queries, asked.seconds) == (2, 0.0)


def test_empty_allowance_covers_nothing() -> None:
    with pytest.raises(AllowanceSpent):
        meter(queries=0).accuracy(SPACE.at(0))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["cost", "accuracy"]), st.integers(0, 6)), max_size=40), st.integers(0, 5), st.floats(0, 900))
def test_charges_equal_those_of_a_plain_ledger(questions: list[tuple[str, int]], queries: int, seconds: float) -> None:
    asked = meter(queries, seconds)
    known: set[int] = set()
    log, spent_seconds, repeats = [], 0.0, 0
    for kind, index in questions:
        new = kind == "accuracy" and index not in known
        if new and (len(known) == queries or spent_seconds + SECONDS[index] > seconds):
            with pytest.raises(AllowanceSpent):
                asked.accuracy(SPACE.at(index))
            continue
        getattr(asked, kind)(SPACE.at(index))
        repeats += kind == "accuracy" and not new
        if new:
            known.add(index)
            spent_seconds += SECONDS[index]
        log.append((kind == "accuracy", index))
    assert (asked.log, asked.queries, asked.repeats, asked.seconds) == (log, len(known), repeats, spent_seconds)
    assert [(kind, key) for kind, keys in asked.questions() for key in keys] == [("accuracy" if a else "cost", i) for a, i in log]


GENES = (0, 0, 0, 3, 0, 0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Architecture("elsewhere", GENES), "the architecture belongs to the space 'elsewhere'"),
        (Architecture("nasbench201", GENES[:-1]), "5 genes given; 'nasbench201' has 6"),
        (Architecture("nasbench201", (*GENES, 0)), "7 genes given"),
        (Architecture("nasbench201", ()), "0 genes given"),
        # As digits in base five, each of these would be the index of another cell.
        (Architecture("nasbench201", (0, 0, 0, 3, 0, 5)), "gene 5 is 5; 'nasbench201' allows 0 to 4"),
        (Architecture("nasbench201", (0, 0, 0, 3, 1, -1)), "gene 5 is -1"),
        (Architecture("nasbench201", (-1, 0, 0, 0, 0, 0)), "gene 0 is -1"),
        (Architecture("nasbench201", (0, 0, 0, 10**30, 0, 0)), "gene 3 is"),
        (Architecture("nasbench201", (0, 0, 0, 0.5, 0, 0)), "gene 3 is 0.5"),  # type: ignore[arg-type]
        (Architecture("nasbench201", list(GENES)), "the genes are a list"),  # type: ignore[arg-type]
        (GENES, "is not an Architecture"),
        (3, "3 is not an Architecture"),
        ("|none~0|", "is not an Architecture"),
        (None, "None is not an Architecture"),
    ],
)
def test_invalid_architecture_is_refused_without_a_charge(bad: Any, message: str) -> None:
    asked = meter()
    for question in (asked.key, asked.cost, asked.accuracy, lambda arch: asked.accuracies([arch])):
        with pytest.raises(InvalidArchitecture, match=message):
            question(bad)
    assert spent(asked) == (0, 0, 0.0, 0)


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint8])
def test_numpy_integers_are_valid_genes(kind: type[np.integer[Any]]) -> None:
    asked = meter(queries=1)
    for genes in ((4, 4, 4, 4, 4, 4), (0, 1, 2, 3, 4, 0)):
        arch = Architecture("nasbench201", genes)
        same = Architecture("nasbench201", tuple(kind(gene) for gene in genes))
        assert asked.key(same) == asked.key(arch) == SPACE.index(arch)
        assert type(asked.key(same)) is int
    asked.accuracy(arch)
    assert asked.accuracy(same) == VALIDATION[SPACE.index(arch)]
    assert (asked.queries, asked.repeats) == (1, 1)


# --- Methods that do not stop -------------------------------------------------------------------------------------------------------------


def test_method_that_keeps_asking_is_ended() -> None:
    asked = meter(queries=1)
    asked.accuracy(SPACE.at(0))
    for _ in range(MOST_REFUSALS):
        with pytest.raises(AllowanceSpent):
            asked.accuracy(SPACE.at(1))
    with pytest.raises(Runaway, match="1001 questions after its allowance was spent"):
        asked.accuracy(SPACE.at(1))
    assert MOST_REFUSALS == 1_000
    assert asked.queries == 1


def test_a_method_that_asks_free_questions_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "MOST_QUESTIONS", 100)
    asked = meter(queries=1)
    asked.accuracy(SPACE.at(0))
    with pytest.raises(Runaway, match="the method asked 100 questions and does not end"):
        for _ in range(200):
            asked.accuracy(SPACE.at(0))
    assert len(asked.log) == 101


def test_a_search_that_asks_only_free_questions_ends_as_if_its_allowance_were_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "MOST_FREE_IN_A_ROW", 10)
    asked = meter()
    asked.accuracy(SPACE.at(0))
    for index in range(5):
        asked.cost(SPACE.at(index))
        asked.accuracy(SPACE.at(0))
    before = spent(asked)
    for question in (asked.cost, asked.accuracy):
        with pytest.raises(AllowanceSpent):
            question(SPACE.at(0))
    assert spent(asked) == before == (1, 5, SECONDS[0], 11)
    # A new, charged accuracy restarts the count.
    asked.accuracy(SPACE.at(1))
    for index in range(10):
        asked.cost(SPACE.at(index))
    with pytest.raises(AllowanceSpent):
        asked.cost(SPACE.at(0))


def test_refusals_of_both_kinds_end_a_method_that_ignores_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "MOST_FREE_IN_A_ROW", 0)
    asked = meter(queries=0)
    for _ in range(MOST_REFUSALS // 2):
        for question in (asked.cost, asked.accuracy):
            with pytest.raises(AllowanceSpent):
                question(SPACE.at(0))
    with pytest.raises(Runaway):
        asked.cost(SPACE.at(0))


# --- A space that cannot be listed --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Large:
    """A space without an index, with only what a meter needs."""

    name: str = "large"
    arity: tuple[int, ...] = (2,) * 100


class Constant:
    """An evaluator that always gives the same answer."""

    offers = frozenset({Need.ACCURACY})

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        return {"params": math.pi}

    def accuracy(self, arch: Architecture) -> float:
        return 50.0

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        return [50.0 for _ in archs]

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> str:
        return f"a relaxation with {options.channels} channels, deviation {deviation}"


def test_without_an_index_the_key_is_the_genes() -> None:
    asked = Meter(Constant(), None, Large(), Allowance(2))  # type: ignore[arg-type]
    zeros, ones = Architecture("large", (0,) * 100), Architecture("large", tuple(np.ones(100, int)))
    asked.accuracies([zeros, ones, zeros])
    assert (asked.queries, asked.repeats) == (2, 1)
    assert asked.log == [(True, (0,) * 100), (True, (1,) * 100), (True, (0,) * 100)]
    assert all(type(gene) is int for _, key in asked.log for gene in key)  # type: ignore[union-attr]
    for bad in (Architecture("large", (0,) * 99), Architecture("large", (2, *(0,) * 99)), Architecture("box", (0,) * 100), zeros.genes):
        with pytest.raises(InvalidArchitecture):
            asked.key(bad)  # type: ignore[arg-type]


def test_relaxation_comes_from_the_evaluator() -> None:
    asked = Meter(Constant(), None, Large(), Allowance(2))  # type: ignore[arg-type]
    found = asked.relaxation(SupernetOptions(channels=4), np.random.default_rng(0), 0.5)
    assert found == "a relaxation with 4 channels, deviation 0.5"  # type: ignore[comparison-overlap]
    assert asked.relaxations == [found] and (asked.queries, asked.seconds) == (0, 0.0)


def test_relaxation_of_a_table_is_charged_once_as_one_query_per_architecture() -> None:
    asked = Meter(Constant(), [2.0] * 10, Large(), Allowance(3))  # type: ignore[arg-type]
    for _ in range(2):
        asked.relaxation(SupernetOptions(), np.random.default_rng(0))
    assert (asked.queries, asked.seconds) == (10, 20.0)
    with pytest.raises(AllowanceSpent):
        asked.accuracy(Architecture("large", (0,) * 100))


class Trains(Constant):
    """An evaluator that trains. Afterwards it knows the seconds of each training and the batches that it received."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        self.batches.append(len(archs))
        return [50.0 + arch.genes[0] for arch in archs]

    def seconds_of(self, arch: Architecture) -> float:
        return 3.0


def test_batch_trained_in_parallel_is_charged_one_by_one() -> None:
    evaluator = Trains()
    asked = Meter(evaluator, None, Large(), Allowance(2, 100.0))  # type: ignore[arg-type]
    zeros, ones = Architecture("large", (0,) * 100), Architecture("large", (1,) * 100)
    assert asked.accuracies([zeros, ones, zeros]) == [50.0, 51.0, 50.0]
    assert (asked.queries, asked.repeats, asked.seconds, evaluator.batches) == (2, 1, 6.0, [2])
    with pytest.raises(AllowanceSpent):
        asked.accuracies([Architecture("large", (0,) * 99 + (1,))])
    assert evaluator.batches == [2]
