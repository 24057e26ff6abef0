"""Which networks are retrained: each once, what is disconnected not at all."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from budgetnas.harness.comparison.candidates import methods_of, of_searches, of_table
from budgetnas.harness.comparison.searches import last_figures
from budgetnas.harness.training.images.dataset import MissingImages
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


def test_every_search_s_network_is_there_once_and_knows_who_found_it() -> None:
    records = pd.DataFrame(
        [
            row(OTHER), row(int(CANONICAL[OTHER]), method="rc_darts", seed=3, feasible=False), row(DISCONNECTED), row(None, seed=1),
            row(15624, seed=2),
        ]
    )  # fmt: skip
    found = of_searches(records, lambda identity: {"loss": 2.0 if identity.endswith(str(OTHER)) else 1.0})
    assert sorted(SPACE.index(each.arch) for each in found) == sorted({int(CANONICAL[OTHER]), int(CANONICAL[15624])})
    shared = next(each for each in found if SPACE.index(each.arch) == CANONICAL[OTHER])
    assert list(methods_of(shared)) == ["darts", "rc_darts"] and shared.search_loss == 1.5
    assert [finding.seed for finding in shared.findings] == [0, 3]
    assert 0.0 < shared.queried < 100.0 and math.isnan(shared.early_stopped) and math.isnan(shared.search_accuracy)


def test_early_stopped_scores_are_of_searches_that_train_their_candidates() -> None:
    rows = [row(15624, validation=60.0, ranking_class="training"), row(15624, validation=70.0, ranking_class="training", seed=1)]
    assert of_searches(pd.DataFrame(rows), lambda identity: {})[0].early_stopped == 65.0


def test_nothing_to_retrain_is_said() -> None:
    with pytest.raises(CannotRetrain, match="nothing to retrain"):
        of_searches(pd.DataFrame([row(None), row(DISCONNECTED)]), lambda identity: {})


def test_of_a_table_the_best_by_validation_and_only_where_images_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.setenv("BUDGETNAS_IMAGES", str(tmp_path))
    table = [row(10, validation=90.0, ranking_class="queries"), row(11, validation=95.0, ranking_class="queries", seed=1)]
    found, left_out = of_table(pd.DataFrame([*table, row(10, validation=90.0, dataset="cifar10", ranking_class="queries")]))
    assert [SPACE.index(each.arch) for each in found] == [int(CANONICAL[11])] and math.isnan(found[0].early_stopped)
    assert len(left_out) == 1 and left_out[0].startswith("cifar10 is left out: ")
    with pytest.raises(MissingImages, match="cifar"):
        of_table(pd.DataFrame([row(10, validation=90.0, dataset="cifar10", ranking_class="queries")]))


def test_last_figures_leave_out_what_is_not_known() -> None:
    steps: list[dict[str, float | None]] = [{"step": step, "loss": None if step > 18 else float(step), "a": None} for step in range(20)]
    assert last_figures(steps) == {"loss": 18.0, "step": 18.5}
    assert last_figures([]) == {}
