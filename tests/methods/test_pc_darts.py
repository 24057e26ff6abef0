"""PC-DARTS: the supernet options that it uses, the warm-up of its alphas, and that it does not run on a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from searching import DIGITS, relax

from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Limit, Need, Step, SupernetOptions
from budgetnas.methods.pc_darts import PCDARTS

torch = pytest.importorskip("torch", reason="torch is not installed")

EPOCHS, STEPS_AN_EPOCH = 50, 4


class Weighted:
    """The relaxation of a table, with edge weights and with epochs of several steps."""

    def __init__(self, options: SupernetOptions, rng: np.random.Generator, deviation: float):
        self.options = options
        self.inner: Any = TableEvaluator(DIGITS).relaxation(SupernetOptions(), rng, deviation)
        self.betas = torch.zeros(6, dtype=torch.float64, requires_grad=True)
        self.cells, self.alphas, self.not_modelled = self.inner.cells, self.inner.alphas, ()
        self.asked: list[int] = []
        self.trajectory: list[Any] = []
        self.epoch = -1

    def parameters(self) -> list[Any]:
        return [*self.alphas, self.betas]

    def strengths(self, alphas: Any = None) -> list[Any]:
        (rows,) = self.inner.strengths(alphas)
        return [rows * torch.softmax(self.betas, 0)[:, None]]

    def steps(self, state: Sequence[Any], count: int | None = None) -> Iterator[Step]:
        for index in range(EPOCHS * STEPS_AN_EPOCH):
            self.epoch = index // STEPS_AN_EPOCH
            yield Step(index, EPOCHS * STEPS_AN_EPOCH, self.epoch, EPOCHS)
            self.trajectory.append([p.detach().clone() for p in self.parameters()])

    def backward(self, penalty: Any = None, unrolled: bool = False) -> float:
        assert penalty is None and not unrolled
        self.asked.append(self.epoch)
        self.betas.sum().backward()
        return float(self.inner.backward())

    def discretise(self, alphas: Any = None) -> Any:
        return DIGITS.space.strongest([rows.detach().numpy() for rows in self.strengths(alphas)])  # type: ignore[attr-defined]

    def expected_cost(self, resource: str, alphas: Any = None) -> Any:
        return self.inner.expected_cost(resource, alphas)


class Supernet(TableEvaluator):
    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Any:
        self.made = Weighted(options, rng, deviation)
        return self.made


def run(method: PCDARTS, limits: tuple[Limit, ...] = ()) -> tuple[list[Any], Any, Weighted]:
    evaluator = Supernet(DIGITS)
    return *relax(method, limits, evaluator=evaluator), evaluator.made


def test_its_supernet_has_a_quarter_of_the_channels_and_edge_weights() -> None:
    *_, relaxation = run(PCDARTS(channels=8))
    assert relaxation.options == SupernetOptions(channels=8, partial=4, edge_weights=True)


def test_alphas_and_betas_do_not_change_for_fifteen_of_fifty_epochs_and_are_trained_afterwards() -> None:
    *_, relaxation = run(PCDARTS())
    assert sorted(set(relaxation.asked)) == list(range(15, EPOCHS))
    still, moving = relaxation.trajectory[: 15 * STEPS_AN_EPOCH], relaxation.trajectory[15 * STEPS_AN_EPOCH :]
    assert all(torch.equal(a, b) for each in still for a, b in zip(each, still[0], strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(still[-1], moving[0], strict=True))
    # Adam's first step has the size of the learning rate for any gradient.
    assert torch.allclose(moving[0][1], torch.full((6,), -6e-4, dtype=torch.float64), rtol=1e-6)


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.1, 5), (0.98, 49)])
def test_the_warm_up_is_a_share_of_the_epochs(share: float, first: int) -> None:
    *_, relaxation = run(PCDARTS(warm_up=share))
    assert relaxation.asked[0] == first


def test_it_recommends_by_alphas_and_edge_weights_together() -> None:
    found, figures, relaxation = run(PCDARTS())
    assert found[-1] == relaxation.discretise()
    assert set(figures) == {"loss", "entropy", "skip_share"}
    assert 0.0 < figures["entropy"] < np.log(5) + 1e-9  # over the operations of an edge, divided by the edge's weight


@pytest.mark.slow
def test_repair_makes_the_recommendation_feasible() -> None:
    limits = (Limit("params", 2000.0),)
    assert not DIGITS.admitted(limits)[DIGITS.space.index(run(PCDARTS(), limits)[0][-1])]
    found, figures, _ = run(PCDARTS(repair=True), limits)
    assert DIGITS.admitted(limits)[DIGITS.space.index(found[-1])] and figures["repaired"] == 1.0


def test_it_needs_trained_weights_which_a_table_does_not_have() -> None:
    assert PCDARTS.needs - TableEvaluator(DIGITS).offers == {Need.WEIGHTS}


@pytest.mark.parametrize("wrong", [{"partial": 0}, {"warm_up": 1.0}, {"warm_up": -0.1}])
def test_invalid_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of PC-DARTS is"):
        PCDARTS(**wrong)
