"""A trial: its identity, and how a search becomes a record. Each method here is written for one behaviour."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from budgetnas.harness.catalogue.catalogue import FoundMethod
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.problem import Allowance, Architecture, Limit, Need
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.records.trial import TrainingSpec, Trial, reason_of
from budgetnas.harness.trials.conduct import conduct, failed_record, run_trial
from budgetnas.spaces.tables.columnar import TableError

pytestmark = pytest.mark.slow

TABLE = "a" * 64
TRIAL = Trial(
    space="nasbench201",
    dataset="cifar10",
    device="edgegpu",
    limits=(Limit("latency_ms", upper=3.5), Limit("params", lower=1000.0)),
    allowance=Allowance(200, 1e6),
    validation="mean",
    method="random_search",
    settings=(("patience", 100_000),),
    version="1",
    table=TABLE,
    seed=7,
)


def test_identity_of_a_trial_does_not_change() -> None:
    # If this fails, all existing records lose their trials: undo the change, or raise trial.SCHEMA on purpose.
    assert TRIAL.identity == "cb1a72dacaacc2bfee1adde68113241e3efa6e7f8be718385765e6fc6d51ae61"


CHANGES: dict[str, Any] = {
    "space": "darts",
    "dataset": "cifar100",
    "device": None,
    "limits": (Limit("latency_ms", upper=3.5000000000000004), Limit("params", lower=1000.0)),
    "allowance": Allowance(200, None),
    "validation": "seed",
    "method": "local_search",
    "settings": (("patience", 100_001),),
    "version": "2",
    "table": "b" * 64,
    "seed": 8,
    "training": TrainingSpec("smoke", "c" * 64, "d" * 64),
    "evaluator": "supernet",
}


def test_every_field_but_the_folder_is_part_of_the_identity() -> None:
    assert set(CHANGES) | {"folder"} == {field.name for field in dataclasses.fields(Trial) if field.init}
    identities = {dataclasses.replace(TRIAL, **{name: value}).identity for name, value in CHANGES.items()}
    assert len(identities | {TRIAL.identity}) == len(CHANGES) + 1
    assert dataclasses.replace(TRIAL, folder=Path("/elsewhere")).identity == TRIAL.identity


def test_checksums_of_a_recipe_are_part_of_the_identity_but_its_name_is_not() -> None:
    training = TrainingSpec("smoke", "c" * 64, "d" * 64)
    trial = dataclasses.replace(TRIAL, training=training, evaluator="supernet")
    changes = ({"recipe_checksum": "e" * 64}, {"images": "e" * 64})
    each = [dataclasses.replace(trial, training=dataclasses.replace(training, **change)).identity for change in changes]
    assert len({TRIAL.identity, trial.identity, dataclasses.replace(trial, evaluator="training").identity, *each}) == 5
    renamed = dataclasses.replace(training, recipe="elsewhere/smoke.toml")
    assert dataclasses.replace(trial, training=renamed).identity == trial.identity


def test_an_evaluator_without_a_recipe_is_named_in_the_identity_unless_it_is_the_table() -> None:
    assert not {"evaluator", "training"} & set(TRIAL.payload())
    assert dataclasses.replace(TRIAL, evaluator="proxy").payload() == TRIAL.payload() | {"evaluator": "proxy"}


def test_limits_without_an_upper_bound_are_plain_json() -> None:
    assert TRIAL.payload()["limits"] == [
        {"resource": "latency_ms", "lower": 0.0, "upper": 3.5},
        {"resource": "params", "lower": 1000.0, "upper": None},
    ]
    assert json.loads(canonical_json(TRIAL.payload())) == TRIAL.payload()


def test_the_generator_is_seeded_with_the_identity() -> None:
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(TRIAL.identity, 16)))).random(5)
    assert TRIAL.rng().random(5).tolist() == TRIAL.rng().random(5).tolist() == expected.tolist()
    assert dataclasses.replace(TRIAL, seed=8).rng().random() != TRIAL.rng().random()


def tabulated() -> TabulatedSpace:
    return tabulated_space_of("nasbench201", "closed-form", "closed-form")


def trial_of(limits: tuple[Limit, ...] = (Limit("latency_ms", upper=3.0),), **changes: Any) -> Trial:
    fixed = {
        "dataset": "closed-form",
        "device": "closed-form",
        "limits": limits,
        "allowance": Allowance(20),
        "table": tabulated().table.checksum,
    }
    return dataclasses.replace(TRIAL, **(fixed | changes))


Search = Callable[[Any, Any, Any], Any]


def record_of(search: Search, **changes: Any) -> dict[str, Any]:
    @dataclass(frozen=True)
    class Written:
        needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

        def search(self, problem: Any, evaluator: Any, rng: Any) -> Any:
            return search(problem, evaluator, rng)

    record = conduct(FoundMethod("written", Written, "1", plugin=True), trial_of(settings=(), **changes))
    assert json.loads(canonical_json(record)) == record  # every value survives JSON unchanged
    return record


def by_quality() -> tuple[list[int], list[int]]:
    """Return the feasible and the infeasible indices, the best by validation first."""
    admitted = tabulated().admitted(trial_of().limits)
    order = np.argsort(-tabulated().validation, kind="stable")
    return [int(i) for i in order if admitted[i]], [
        int(i) for i in order if not admitted[i] and tabulated().space.connected(tabulated().space.at(int(i)))
    ]


def asking(*indices: int, recommend: tuple[int, ...] | None = None) -> Search:
    def search(problem: Any, evaluator: Any, rng: Any) -> Iterator[Any]:
        for index in indices:
            evaluator.accuracy(problem.space.at(index))
        if recommend is not None:
            yield tuple(problem.space.at(index) for index in recommend)

    return search


def test_complete_record_of_a_search() -> None:
    feasible, _ = by_quality()
    first, second, third = feasible[5], feasible[3], feasible[4]

    def search(problem: Any, evaluator: Any, rng: Any) -> Any:
        at = problem.space.at
        evaluator.cost(at(first))
        evaluator.cost(at(second))
        evaluator.accuracy(at(first))
        yield (at(first),)
        yield (at(first),)
        evaluator.accuracies([at(second), at(first), at(third)])
        yield at(second)
        return {"asked": 3, "odd": math.inf}

    record = record_of(search)
    seconds = [float(tabulated().training_seconds[index]) for index in (first, second, third)]
    assert record["status"] == "ok" and record["failure"] == ""
    assert record["questions"] == [["cost", [first, second]], ["accuracy", [first, second, first, third]]]
    assert (record["queries"], record["repeats"]) == (3, 1)
    assert record["simulated_seconds"] == seconds[0] + seconds[1] + seconds[2]
    assert record["recommendations"] == [
        {"queries": 1, "simulated_seconds": seconds[0], "architectures": [first]},
        {"queries": 3, "simulated_seconds": seconds[0] + seconds[1] + seconds[2], "architectures": [second]},
    ]
    assert record["report"] == {"asked": 3.0, "odd": None}
    final = record["final"]
    assert record["front"] == [final]
    assert (final["architecture"], final["feasible"], final["violation"], final["asked"]) == (second, True, 0.0, True)
    assert final["text"] == tabulated().space.encode(tabulated().space.at(second))
    assert (final["validation"], final["test"]) == (float(tabulated().validation[second]), float(tabulated().test[second]))
    assert final["cost"] == {name: float(tabulated().resource(name)[second]) for name in tabulated().resources}
    best = max(feasible, key=lambda index: float(tabulated().test[index]))
    assert record["oracle"]["best_by_test"] == {
        "architecture": best,
        "test": float(tabulated().test[best]),
        "validation": float(tabulated().validation[best]),
    }
    assert record["oracle"]["best_by_validation"]["architecture"] == feasible[0]
    assert record["oracle"]["feasible"] == len(feasible)
    assert record["regret"] == float(tabulated().test[best]) - final["test"]


def test_without_a_recommendation_the_best_feasible_answer_is_final() -> None:
    feasible, infeasible = by_quality()
    record = record_of(asking(infeasible[0], feasible[9], feasible[4], feasible[6]))
    assert record["recommendations"] == []
    assert record["final"]["architecture"] == feasible[4]
    assert record_of(asking(infeasible[0], infeasible[3]))["final"] is None
    assert record_of(asking())["final"] is None


def test_infeasible_recommendation_is_final_and_counts_as_infeasible() -> None:
    feasible, infeasible = by_quality()
    record = record_of(asking(feasible[0], infeasible[0], recommend=(infeasible[0],)))
    latency = float(tabulated().resource("latency_ms")[infeasible[0]])
    assert record["final"]["feasible"] is False
    assert record["final"]["violation"] == (None if math.isnan(latency) else (latency - 3.0) / 3.0)
    assert record["regret"] is None
    assert record["status"] == "ok"


def test_a_disconnected_recommendation_breaks_the_limits_infinitely() -> None:
    record = record_of(asking(recommend=(tabulated().space.index(Architecture("nasbench201", (0,) * 6)),)))
    assert (record["final"]["feasible"], record["final"]["violation"], record["final"]["asked"]) == (False, None, False)


def test_front_has_no_duplicates_and_its_best_feasible_by_validation_is_final() -> None:
    feasible, infeasible = by_quality()
    record = record_of(asking(recommend=(infeasible[0], feasible[8], feasible[2], feasible[8])))
    assert [entry["architecture"] for entry in record["front"]] == [infeasible[0], feasible[8], feasible[2]]
    assert record["final"]["architecture"] == feasible[2]
    assert record["recommendations"][0]["architectures"] == [infeasible[0], feasible[8], feasible[2], feasible[8]]


def test_equal_validation_goes_to_the_lowest_index() -> None:
    disconnected = np.flatnonzero(~tabulated().eligible & (tabulated().validation == 10.0))[:3].tolist()
    assert record_of(asking(recommend=tuple(reversed(disconnected))))["final"]["architecture"] == disconnected[0]


def test_nothing_feasible_is_a_result() -> None:
    record = record_of(asking(3, 4), limits=(Limit("latency_ms", upper=0.5),))
    assert record["oracle"] == {"feasible": 0, "best_by_test": None, "best_by_validation": None}
    assert (record["status"], record["final"], record["regret"]) == ("ok", None, None)


def test_the_end_of_the_allowance_is_a_normal_end() -> None:
    record = record_of(asking(*range(30)))
    assert (record["status"], record["queries"], record["questions"]) == ("ok", 20, [["accuracy", list(range(20))]])


def test_a_search_may_be_any_iterable() -> None:
    feasible, _ = by_quality()
    record = record_of(lambda problem, evaluator, rng: [(problem.space.at(feasible[1]),), [problem.space.at(feasible[0])]])
    assert [entry["architectures"] for entry in record["recommendations"]] == [[feasible[1]], [feasible[0]]]


def test_an_empty_recommendation_changes_nothing() -> None:
    def search(problem: Any, evaluator: Any, rng: Any) -> Iterator[Any]:
        yield ()
        yield (problem.space.at(2),)
        yield ()

    assert [entry["architectures"] for entry in record_of(search)["recommendations"]] == [[2]]


@pytest.mark.parametrize("need", list(Need))
def test_early_failure_has_the_ranking_class_of_the_method(need: Need) -> None:
    @dataclass(frozen=True)
    class Written:
        needs: ClassVar[frozenset[Need]] = frozenset({need})

        def search(self, problem: Any, evaluator: Any, rng: Any) -> Any:
            raise RuntimeError("before anything was asked")

    record = conduct(FoundMethod("written", Written, "1", plugin=False), trial_of(settings=()))
    assert record["status"] == "failed"
    assert record.get("ranking_class") == ("full information" if need is Need.RELAXATION else None)


def raising(error: BaseException) -> Search:
    def search(problem: Any, evaluator: Any, rng: Any) -> Iterator[Any]:
        evaluator.accuracy(problem.space.at(by_quality()[0][0]))
        raise error
        yield

    return search


def yielding(value: Any) -> Search:
    def search(problem: Any, evaluator: Any, rng: Any) -> Iterator[Any]:
        yield value

    return search


@pytest.mark.parametrize(
    ("search", "failure"),
    [
        (raising(RuntimeError("first line\nsecond line")), "RuntimeError: first line"),
        (raising(ValueError()), "ValueError"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(MemoryError()), "MemoryError"),
        (raising(KeyError("\udc80")), "KeyError: '\\udc80'"),
        (raising(ValueError("x" * 1000)), "ValueError: " + "x" * 488),
        (
            lambda problem, evaluator, rng: None,
            "TypeError: search returned None; expected a generator, or another iterable, of recommendations",
        ),
        (yielding(None), "TypeError: search yielded None; expected a tuple of architectures"),
        (yielding(3), "TypeError: search yielded 3; expected a tuple of architectures"),
        (yielding("ab"), "InvalidArchitecture: 'a' is not an Architecture; .*"),
        (yielding((object(),)), "InvalidArchitecture: <object object> is not an Architecture; .*"),
        (yielding((Architecture("another", (0,) * 6),)), "InvalidArchitecture: the architecture belongs to the space 'another'; .*"),
        (yielding((Architecture("nasbench201", (0,) * 5),)), "InvalidArchitecture: 5 genes given; .*"),
        (yielding((Architecture("nasbench201", (0, 0, 0, 0, 0, 5)),)), "InvalidArchitecture: gene 5 is 5; .*"),
        (yielding((Architecture("nasbench201", (-1, 0, 0, 0, 0, 0)),)), "InvalidArchitecture: gene 0 is -1; .*"),
    ],
)
def test_error_in_a_method_gives_a_failed_record_with_the_reason(search: Search, failure: str) -> None:
    record = record_of(search)
    assert record["status"] == "failed"
    reason = re.sub(r" \(test_trial.py:\d+\)$", "", record["failure"])  # without the line, given if the error is in the method's file
    assert reason == failure or (failure.endswith(".*") and reason.startswith(failure[:-2]))
    assert (reason != record["failure"]) == (getattr(search, "__name__", "") == "search" and "raising" in search.__qualname__)
    assert "\n" not in record["failure"]


def test_questions_before_a_failure_are_recorded() -> None:
    record = record_of(raising(RuntimeError("no")))
    assert (record["queries"], record["final"]["architecture"]) == (1, by_quality()[0][0])


@pytest.mark.parametrize("report", [3, "text", {"a": "b"}, {"a": None}, [1]])
def test_report_that_is_not_a_mapping_of_numbers_is_a_failure(report: Any) -> None:
    def search(problem: Any, evaluator: Any, rng: Any) -> Any:
        yield (problem.space.at(2),)
        return report

    record = record_of(search)
    assert record["status"] == "failed"
    assert record["final"]["architecture"] == 2


def test_method_that_rejects_its_settings_fails_with_its_own_message() -> None:
    trial = trial_of(settings=(("patience", 3), ("unknown", 1)))
    record, _ = run_trial(trial)
    assert record["status"] == "failed"
    assert "refuses its settings" in record["failure"] and "unknown" in record["failure"]


class NoText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_reason_is_one_line_without_addresses() -> None:
    assert reason_of(ValueError(f"{object()} and {object()}")) == "ValueError: <object object> and <object object>"
    assert reason_of(NoText()) == "NoText: (its text cannot be had)"
    assert reason_of(ValueError("\n\n")) == "ValueError"


def test_trial_run_twice_gives_the_same_bytes_and_a_separate_timing() -> None:
    trial = trial_of()
    (first, timing), (second, _) = run_trial(trial), run_trial(trial)
    assert canonical_json(first) == canonical_json(second)
    assert first["identity"] == trial.identity and first["trial"] == trial.payload()
    assert timing["trial_seconds"] > 0 and "trial_seconds" not in canonical_json(first)


def test_global_generators_have_the_same_state_in_every_run_of_a_trial() -> None:
    drawn = []

    @dataclass(frozen=True)
    class Draws:
        needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

        def search(self, problem: Any, evaluator: Any, rng: Any) -> Iterator[Any]:
            drawn.append(np.random.random())
            yield (problem.space.at(1),)

    for _ in range(2):
        run_trial(trial_of())
        conduct(FoundMethod("draws", Draws, "1", plugin=True), trial_of(settings=()))
    assert drawn[0] == drawn[1]


def test_a_trial_planned_with_another_table_or_source_is_refused() -> None:
    with pytest.raises(TableError, match="the table of closed-form changed since the run was planned; start the run again"):
        run_trial(trial_of(table=TABLE))
    with pytest.raises(TableError, match="the source of method 'random_search' changed"):
        run_trial(trial_of(version="0"))


def test_validation_of_one_seed_is_the_mean_if_the_table_has_no_seeds() -> None:
    assert record_of(asking(4), validation="seed")["final"] == record_of(asking(4))["final"]


def test_record_of_a_dead_process_has_the_usual_fields() -> None:
    died = failed_record(trial_of(), "its process was killed by SIGKILL")
    assert set(died) == set(record_of(asking(3)))
    assert (died["status"], died["failure"], died["identity"]) == ("failed", "its process was killed by SIGKILL", trial_of().identity)
