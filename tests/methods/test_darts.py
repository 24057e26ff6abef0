"""DARTS on the exact relaxation: Adam's steps, its recommendations, it ignores limits, and repair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.oracle import oracle
from budgetnas.harness.costs.tabulated_space import Landscape, landscape_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Allowance, Architecture, Limit, Need, Problem, SupernetOptions
from budgetnas.methods.darts import DARTS

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.slow
DIGITS = landscape_of("nasbench201", "digits201", "amd-epyc")
SHORT = 400  # steps, after which the recommended operations on digits201 no longer change


def run(
    method: Any, limits: tuple[Limit, ...] = (), seed: int = 0, landscape: Landscape = DIGITS
) -> tuple[list[Architecture], Mapping[str, float]]:
    """Return the recommendations, in order, and the figures at the end."""
    problem = Problem(landscape.space, landscape.task, landscape.device, limits, Allowance(200))
    search, found = method.search(problem, TableEvaluator(landscape), np.random.default_rng(seed)), []
    while True:
        try:
            (arch,) = next(search)
        except StopIteration as end:
            return found, end.value
        found.append(arch)


def settled(landscape: Landscape, decay: float, count: int, seed: int = 0) -> Any:
    """Return the relaxation after `count` steps of Adam as in its paper, in plain numpy, with the gradient of the relaxation."""
    relaxation: Any = TableEvaluator(landscape).relaxation(SupernetOptions(), np.random.default_rng(seed), 1e-3)
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
    found, figures = run(DARTS(steps=60))
    assert found[-1] == reference.discretise()
    p = torch.softmax(reference.alphas[0], 1)
    assert figures["entropy"] == pytest.approx(-(p * p.log()).sum().item() / 6, rel=1e-9)


def test_each_change_is_recommended_once_and_the_seed_decides_the_search() -> None:
    first, again, other = (run(DARTS(steps=SHORT), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first[0] != other[0]
    assert len(first[0]) > 1 and all(a != b for a, b in zip(first[0], first[0][1:], strict=False))


def test_on_digits201_it_ends_with_convolutions_only_for_every_seed() -> None:
    (best,) = {run(DARTS(steps=SHORT), seed=seed)[0][-1] for seed in range(3)}
    assert best.genes == (3,) * 6
    test = DIGITS.test[DIGITS.space.index(best)]
    assert DIGITS.test[cast(int, oracle(DIGITS, ()).best_by_test)] - test == pytest.approx(0.8048, abs=1e-4)


def test_limits_are_ignored() -> None:
    limits = resolve(DIGITS, ["latency_ms@q10"]).limits
    found, figures = run(DARTS(steps=SHORT), limits)
    assert found == run(DARTS(steps=SHORT))[0]
    assert not DIGITS.admitted(limits)[DIGITS.space.index(found[-1])]
    assert figures["expected_latency_ms"] > limits[0].upper


@pytest.mark.parametrize("text", ["latency_ms@q10", "latency_ms@q50", "params<=2000"])
def test_repair_recommends_the_feasible_cell_that_keeps_the_most_strength(text: str) -> None:
    limits = resolve(DIGITS, [text]).limits
    plain, _ = run(DARTS(steps=SHORT), limits)
    found, figures = run(DARTS(steps=SHORT, repair=True), limits)
    assert found[:-1] == plain and figures["repaired"] == 1.0
    logs = torch.log_softmax(settled(DIGITS, 1e-3, SHORT).alphas[0], 1).detach().numpy()
    admitted = [DIGITS.space.at(int(index)) for index in np.flatnonzero(DIGITS.admitted(limits))]
    kept = [sum(logs[edge, gene] for edge, gene in enumerate(arch.genes)) for arch in admitted]
    assert found[-1] == admitted[int(np.argmax(kept))]


def test_repair_keeps_a_feasible_recommendation_and_one_under_impossible_limits() -> None:
    loose, _ = run(DARTS(steps=50, repair=True), (Limit("params", 1e9),))
    assert loose[-1] == run(DARTS(steps=50))[0][-1]
    found, figures = run(DARTS(steps=50, repair=True), (Limit("params", 1.0),))
    assert found == run(DARTS(steps=50))[0] and figures["repaired"] == 0.0


def test_on_a_table_second_order_changes_nothing_and_is_reported_as_not_modelled() -> None:
    first, second = run(DARTS(steps=30)), run(DARTS(steps=30, unrolled=True))
    assert first[0] == second[0]
    assert second[1] == {**first[1], "not_modelled_unrolled": 1.0}


def test_figures_are_loss_entropy_skip_share_and_expected_costs() -> None:
    found, figures = run(DARTS(steps=1), (Limit("params", 1e9), Limit("latency_ms", 1.0)))
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
def test_on_nas_bench_201_it_ends_close_to_the_best(real_tables: Path, dataset: str, regret: float) -> None:
    landscape = landscape_of("nasbench201", dataset, "pixel3")
    found, _ = run(DARTS(steps=3000), landscape=landscape)
    assert found[-1].genes == (3, 3, 3, 1, 3, 3)
    best = landscape.test[cast(int, oracle(landscape, ()).best_by_test)]
    assert best - landscape.test[landscape.space.index(found[-1])] == pytest.approx(regret, abs=1e-3)
