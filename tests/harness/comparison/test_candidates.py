"""Which networks are retrained, each once: the winners of a run on a table, and the network of every search of other runs."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from budgetnas.harness.comparison.candidates import Candidate, networks_of_searches, winners
from budgetnas.harness.comparison.searches import last_figures
from budgetnas.harness.training.job import CannotRetrain
from budgetnas.spaces.nasbench201.identity import canonical_indices
from budgetnas.spaces.nasbench201.space import NASBench201

SPACE = NASBench201()
CANONICAL = canonical_indices()
OTHER = next(i for i in range(len(CANONICAL)) if CANONICAL[i] != i and SPACE.connected(SPACE.at(i)))
DISCONNECTED = next(i for i in range(SPACE.size) if not SPACE.connected(SPACE.at(i)))


def row(index: int | None, **changes: Any) -> dict[str, Any]:
    text = "" if index is None else SPACE.encode(SPACE.at(index))
    return {
        "identity": f"trial{index}", "space": "nasbench201", "dataset": "digits201", "device": "", "problem": "params@q50",
        "method": "darts", "seed": 0, "feasible": True, "validation": math.nan, "recommendation": text, "ranking_class": "supernet",
    } | changes  # fmt: skip


def of_table(index: int, validation: float, **changes: Any) -> dict[str, Any]:
    return row(index, validation=validation, ranking_class="queries", device="amd-epyc", problem="latency_ms@q10", method="rcas") | changes


def pairs_of(candidate: Candidate) -> list[tuple[str, str]]:
    return [(finding.problem, finding.method) for finding in candidate.findings]


def test_every_search_s_network_is_returned_once_with_the_searches_that_found_it() -> None:
    records = pd.DataFrame(
        [
            row(OTHER), row(int(CANONICAL[OTHER]), method="rc_darts", seed=3, feasible=False), row(DISCONNECTED), row(None, seed=1),
            row(15624, seed=2),
        ]
    )  # fmt: skip
    found = networks_of_searches(records, lambda identity: {"loss": 2.0 if identity.endswith(str(OTHER)) else 1.0})
    assert sorted(SPACE.index(each.arch) for each in found) == sorted({int(CANONICAL[OTHER]), int(CANONICAL[15624])})
    shared = next(each for each in found if each.index == CANONICAL[OTHER])
    assert shared.search_loss == 1.5
    assert [(finding.method, finding.seed) for finding in shared.findings] == [("darts", 0), ("rc_darts", 3)]
    assert 0.0 < shared.queried.mean["test"] < 100.0 and math.isnan(shared.early_stopped) and math.isnan(shared.search_accuracy)


def test_only_searches_that_train_their_candidates_have_early_stopped_accuracies() -> None:
    rows = [row(15624, validation=60.0, ranking_class="training"), row(15624, validation=70.0, ranking_class="training", seed=1)]
    assert networks_of_searches(pd.DataFrame(rows), lambda identity: {})[0].early_stopped == 65.0


def test_nothing_to_retrain_is_an_error() -> None:
    with pytest.raises(CannotRetrain, match="nothing to retrain"):
        networks_of_searches(pd.DataFrame([row(None), row(DISCONNECTED)]), lambda identity: {})
    with pytest.raises(CannotRetrain, match="no method of this run recommended a feasible network"):
        winners(pd.DataFrame([of_table(10, 90.0, feasible=False)]))


def test_the_winner_of_a_problem_and_method_is_feasible_and_best_by_validation() -> None:
    records = pd.DataFrame(
        [
            of_table(10, 90.0), of_table(11, 95.0, seed=1), of_table(12, 99.0, feasible=False), of_table(13, 80.0, method="tpe"),
            of_table(11, 95.0, problem="cycles@q10"),
        ]
    )  # fmt: skip
    found = winners(records)
    eleven, thirteen = (int(CANONICAL[index]) for index in (11, 13))
    assert {winner.index: pairs_of(winner) for winner in found} == {
        eleven: [("cycles@q10, amd-epyc", "rcas"), ("latency_ms@q10, amd-epyc", "rcas")],
        thirteen: [("latency_ms@q10, amd-epyc", "tpe")],
    }
    assert all(SPACE.index(winner.arch) == winner.index and SPACE.encode(winner.arch) == winner.text for winner in found)
    assert all(math.isnan(winner.early_stopped) for winner in found)


def test_of_equal_winners_only_the_lowest_index_counts() -> None:
    """The published index counts: it orders networks differently from their genes."""
    later, earlier = 4_000, 3_000
    assert SPACE.at(int(CANONICAL[earlier])).genes > SPACE.at(int(CANONICAL[later])).genes and CANONICAL[earlier] < CANONICAL[later]
    (found,) = winners(pd.DataFrame([of_table(later, 90.0), of_table(earlier, 90.0, seed=1)]))
    assert found.index == CANONICAL[earlier] and len(found.findings) == 1


def test_identical_networks_are_retrained_once() -> None:
    found = winners(pd.DataFrame([of_table(OTHER, 90.0), of_table(int(CANONICAL[OTHER]), 90.0, method="tpe")]))
    assert [winner.index for winner in found] == [int(CANONICAL[OTHER])]
    assert [method for _, method in pairs_of(found[0])] == ["rcas", "tpe"]


def test_last_figures_leave_out_unknown_figures() -> None:
    steps: list[dict[str, float | None]] = [{"step": step, "loss": None if step > 18 else float(step), "a": None} for step in range(20)]
    assert last_figures(steps) == {"loss": 18.0, "step": 18.5}
    assert last_figures([]) == {}
