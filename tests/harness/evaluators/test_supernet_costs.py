"""The costs of a supernet's networks, and the errors of those that are fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import SupernetOptions

torch = pytest.importorskip("torch", reason="torch is not installed")

from budgetnas.harness.evaluators.supernet_costs import CannotSearch, SupernetCosts  # noqa: E402

DIGITS = tabulated_space_of("nasbench201", "digits201", "amd-epyc")


def costs_of(table: Any) -> SupernetCosts:
    space: Any = DIGITS.space
    return SupernetCosts(space, DIGITS.task, ("params", "macs"), table, (None, None), torch.device("cpu"))


def test_error_of_a_device_is_that_of_the_fit_to_the_table() -> None:
    table: Any = TableEvaluator(DIGITS).relaxation(SupernetOptions(), np.random.default_rng(0))
    fit = table.additive_fit("latency_ms")
    known = costs_of(table)
    assert torch.equal(known.edges("latency_ms", "search")[0], torch.tensor(fit.costs))
    assert known.additive_error("latency_ms") == {"variance_explained": fit.variance_explained, "mean_error": fit.mean_relative_error}
    assert known.additive_error("params") == known.additive_error("cycles") == {}


def test_expected_latency_is_exact_and_not_from_the_fit() -> None:
    table: Any = TableEvaluator(DIGITS).relaxation(SupernetOptions(), np.random.default_rng(0))
    known, kept = costs_of(table), [torch.ones(6)]
    alphas = torch.tensor(np.random.default_rng(1).normal(0.0, 2.0, (6, 5)), dtype=torch.float32, requires_grad=True)
    found = known.expected("latency_ms", [alphas], lambda: kept)
    found.backward()
    # By brute force: the mean over all connected cells, each weighted by the product of the probabilities of its six choices.
    p = torch.softmax(alphas.detach().double(), 1).numpy()
    genes = np.array([DIGITS.space.at(index).genes for index in range(15_625)])  # type: ignore[attr-defined]
    weights = np.where(DIGITS.eligible, p[np.arange(6), genes].prod(axis=1), 0.0)
    assert found.item() == pytest.approx((weights * np.nan_to_num(DIGITS.resource("latency_ms"))).sum() / weights.sum(), rel=1e-9)
    fit = known.fixed("latency_ms", "search") + float((known.edges("latency_ms", "search")[0] * torch.tensor(p)).sum())
    assert abs(fit / found.item() - 1.0) > 1e-3 and alphas.grad is not None and alphas.grad.abs().max() > 0


def test_without_a_table_of_the_device_costs_and_errors_are_refused() -> None:
    assert costs_of(None).additive_error("params") == {}
    with pytest.raises(CannotSearch, match="needs a table of the device"):
        costs_of(None).additive_error("latency_ms")
