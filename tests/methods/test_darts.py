"""DARTS on the exact relaxation: Adam's steps, its recommendations, it ignores limits, and repair."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from searching import DIGITS, relax

from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.oracle import oracle
from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Limit, Need, SupernetOptions
from budgetnas.methods.darts import DARTS

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.slow
SHORT = 400  # steps, after which the operations of digits201 are as they stay


def settled(tabulated: TabulatedSpace, decay: float, count: int, seed: int = 0) -> Any:
    """The alphas after `count` steps of Adam as its paper has it, in plain numpy, with the gradient of the relaxation."""
    relaxation: Any = TableEvaluator(tabulated).relaxation(SupernetOptions(), np.random.default_rng(seed), 1e-3)
    (alphas,) = relaxation.alphas
    first, second = np.zeros((6, 5)), np.zeros((6, 5))
    for step in range(1, count + 1):
        alphas.grad = None
        relaxation.backward()
        gradient = alphas.grad.numpy() + decay * alphas.detach().numpy()
        first, second = 0.5 * first + 0.5 * gradient, 0.999 * second + 0.001 * gradient**2
        move = 3e-4 * (first / (1 - 0.5**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        with torch.no_grad():
            alphas -= torch.from_numpy(move)
    return relaxation


def test_a_search_is_adam_on_the_exact_gradient() -> None:
    reference = settled(DIGITS, 1e-3, 60)
    found, figures = relax(DARTS(steps=60))
    assert found[-1] == reference.discretise()
    p = torch.softmax(reference.alphas[0], 1)
    assert figures["entropy"] == pytest.approx(-(p * p.log()).sum().item() / 6, rel=1e-9)


def test_every_change_is_recommended_once_and_a_seed_decides_all() -> None:
    first, again, other = (relax(DARTS(steps=SHORT), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first[0] != other[0]
    assert len(first[0]) > 1 and all(a != b for a, b in zip(first[0], first[0][1:], strict=False))


def test_on_digits201_it_ends_in_convolutions_only_whatever_the_seed() -> None:
    (best,) = {relax(DARTS(steps=SHORT), seed=seed)[0][-1] for seed in range(3)}
    assert best.genes == (3,) * 6
    test = DIGITS.test[DIGITS.space.index(best)]
    assert DIGITS.test[cast(int, oracle(DIGITS, ()).best_by_test)] - test == pytest.approx(0.8048, abs=1e-4)


def test_limits_are_ignored() -> None:
    limits = resolve(DIGITS, ["latency_ms@q10"]).limits
    found, figures = relax(DARTS(steps=SHORT), limits)
    assert found == relax(DARTS(steps=SHORT))[0]
    assert not DIGITS.admitted(limits)[DIGITS.space.index(found[-1])]
    assert figures["expected_latency_ms"] > limits[0].upper


@pytest.mark.parametrize("text", ["latency_ms@q10", "latency_ms@q50", "params<=2000"])
def test_repair_recommends_the_feasible_cell_that_keeps_the_most_strength(text: str) -> None:
    limits = resolve(DIGITS, [text]).limits
    plain, _ = relax(DARTS(steps=SHORT), limits)
    found, figures = relax(DARTS(steps=SHORT, repair=True), limits)
    assert found[:-1] == plain and figures["repaired"] == 1.0
    logs = torch.log_softmax(settled(DIGITS, 1e-3, SHORT).alphas[0], 1).detach().numpy()
    admitted = [DIGITS.space.at(int(index)) for index in np.flatnonzero(DIGITS.admitted(limits))]
    kept = [sum(logs[edge, gene] for edge, gene in enumerate(arch.genes)) for arch in admitted]
    assert found[-1] == admitted[int(np.argmax(kept))]


def test_repair_leaves_what_is_feasible_and_what_nothing_can_mend() -> None:
    loose, _ = relax(DARTS(steps=50, repair=True), (Limit("params", 1e9),))
    assert loose[-1] == relax(DARTS(steps=50))[0][-1]
    found, figures = relax(DARTS(steps=50, repair=True), (Limit("params", 1.0),))
    assert found == relax(DARTS(steps=50))[0] and figures["repaired"] == 0.0


def test_second_order_means_nothing_on_a_table_and_says_so() -> None:
    first, second = relax(DARTS(steps=30)), relax(DARTS(steps=30, unrolled=True))
    assert first[0] == second[0]
    assert second[1] == {**first[1], "not_modelled_unrolled": 1.0}


def test_figures_say_loss_entropy_and_skips() -> None:
    found, figures = relax(DARTS(steps=1), (Limit("params", 1e9), Limit("latency_ms", 1.0)))
    assert set(figures) == {"loss", "entropy", "skip_share", "expected_params", "expected_latency_ms"}
    assert figures["entropy"] == pytest.approx(np.log(5), abs=1e-3)
    genes = found[-1].genes
    assert figures["skip_share"] == genes.count(1) / (6 - genes.count(0))
    assert figures["loss"] == pytest.approx(1.0 - DIGITS.validation.mean() / 100.0, abs=1e-3)


def test_invalid_settings_are_refused() -> None:
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}, {"deviation": -1.0}):
        with pytest.raises(ValueError, match=r"of DARTS|DARTS needs"):
            DARTS(**wrong)
    assert DARTS.needs == {Need.RELAXATION}


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "regret"), [("cifar10", 0.01), ("cifar100", 0.0), ("ImageNet16-120", 0.9667)])
def test_on_nas_bench_201_it_ends_next_to_the_best(real_tables: Path, dataset: str, regret: float) -> None:
    tabulated = tabulated_space_of("nasbench201", dataset, "pixel3")
    found, _ = relax(DARTS(steps=3000), tabulated=tabulated)
    assert found[-1].genes == (3, 3, 3, 1, 3, 3)
    best = tabulated.test[cast(int, oracle(tabulated, ()).best_by_test)]
    assert best - tabulated.test[tabulated.space.index(found[-1])] == pytest.approx(regret, abs=1e-3)
