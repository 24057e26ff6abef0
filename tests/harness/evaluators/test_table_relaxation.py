"""The exact relaxation of a table, compared with sums over all cells in plain NumPy and with finite differences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.evaluators import registry
from budgetnas.harness.evaluators.table import TableEvaluator, offers
from budgetnas.harness.problem import Need, SupernetOptions
from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.nasbench201.order import all_genes
from budgetnas.spaces.space import Floats
from budgetnas.spaces.task import task_of

torch = pytest.importorskip("torch", reason="torch is not installed")
from budgetnas.harness.evaluators.table_relaxation import STEPS, NotRelaxable, TableRelaxation, relaxation_of_table  # noqa: E402

DIGITS = tabulated_space_of("nasbench201", "digits201", "amd-epyc")
CLOSED = tabulated_space_of("nasbench201", "closed-form", "closed-form")  # with disconnected, unsupported and non-additive cells
BOTH = pytest.mark.parametrize("tabulated", [DIGITS, CLOSED], ids=["digits201", "closed-form"])


def relaxation_of(tabulated: TabulatedSpace, scale: float = 1.0, seed: int = 0, options: SupernetOptions | None = None) -> TableRelaxation:
    made = TableEvaluator(tabulated).relaxation(options or SupernetOptions(), np.random.default_rng(seed), scale)
    assert isinstance(made, TableRelaxation)
    return made


def probabilities(alphas: Any) -> Floats:
    """Return the probability of every cell by index, the slow reference: the product of the softmax of its operations."""
    values = alphas.detach().numpy()
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    return np.array([np.prod([p[edge, operation] for edge, operation in enumerate(genes)]) for genes in all_genes()])


def masked_mean(weights: Floats, values: Floats, mask: NDArray[np.bool_]) -> float:
    return float((weights[mask] * values[mask]).sum() / weights[mask].sum())


@BOTH
@pytest.mark.parametrize("scale", [0.001, 2.0])
def test_expectations_are_sums_over_all_cells(tabulated: TabulatedSpace, scale: float) -> None:
    relaxation = relaxation_of(tabulated, scale)
    weights = probabilities(relaxation.alphas[0])
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert relaxation.backward() == pytest.approx((weights * (1.0 - tabulated.validation / 100.0)).sum(), rel=1e-12)
    for resource in tabulated.resources:
        expected = masked_mean(weights, tabulated.resource(resource), tabulated.eligible)
        assert relaxation.expected_cost(resource).item() == pytest.approx(expected, rel=1e-11)
    connected = cast(Any, tabulated.space).connected_mask()
    assert relaxation.expected_cost("disconnected_share").item() == pytest.approx(weights[~connected].sum(), rel=1e-11)
    shares = weights[connected & ~tabulated.eligible].sum()
    assert relaxation.expected_cost("unsupported_share").item() == pytest.approx(shares, rel=1e-11, abs=1e-15)


def test_resource_that_the_table_lacks_is_a_sum_over_edges() -> None:
    relaxation = relaxation_of(CLOSED)
    assert "cycles" not in CLOSED.resources
    (costs,) = cast(NASBench201, CLOSED.space).edge_costs("cycles", CLOSED.task)
    fixed = cast(NASBench201, CLOSED.space).fixed_cost("cycles", CLOSED.task)
    cycles = np.array([fixed + sum(costs[edge, operation] for edge, operation in enumerate(genes)) for genes in all_genes()])
    expected = masked_mean(probabilities(relaxation.alphas[0]), cycles, CLOSED.eligible)
    assert relaxation.expected_cost("cycles").item() == pytest.approx(expected, rel=1e-11)
    with pytest.raises(ValueError, match="bytes"):
        relaxation.expected_cost("bytes")


@BOTH
@pytest.mark.parametrize("question", ["loss", "latency_ms", "params", "disconnected_share"])
def test_gradients_equal_finite_differences(tabulated: TabulatedSpace, question: str) -> None:
    relaxation = relaxation_of(tabulated)
    (alphas,) = relaxation.alphas

    def value() -> Any:
        if question == "loss":
            return relaxation._expected(relaxation._error, relaxation.alphas)[0]
        return relaxation.expected_cost(question)

    (gradient,) = torch.autograd.grad(value(), [alphas])
    step = 1e-5
    for edge, operation in np.ndindex(*alphas.shape):
        sides = []
        for side in (step, -step):
            with torch.no_grad():
                alphas[edge, operation] += side
                sides.append(value().item())
                alphas[edge, operation] -= side
        slope = (sides[0] - sides[1]) / (2.0 * step)
        assert gradient[edge, operation].item() == pytest.approx(slope, rel=1e-5, abs=1e-7 * max(1.0, abs(sides[0])))


def test_backward_adds_the_gradients_of_loss_and_penalty() -> None:
    relaxation = relaxation_of(DIGITS)
    (alphas,) = relaxation.alphas
    relaxation.backward()
    of_loss = alphas.grad.clone()  # type: ignore[union-attr]
    relaxation.backward()
    assert torch.allclose(alphas.grad, 2.0 * of_loss, rtol=1e-12)  # type: ignore[arg-type]
    alphas.grad = None
    (of_cost,) = torch.autograd.grad(relaxation.expected_cost("latency_ms"), [alphas])
    loss = relaxation.backward(3.0 * relaxation.expected_cost("latency_ms"))
    assert torch.allclose(alphas.grad, of_loss + 3.0 * of_cost, rtol=1e-12)  # type: ignore[arg-type]
    alphas.grad = None
    assert loss == relaxation.backward()  # the penalty is not part of the loss


@BOTH
def test_certain_alphas_have_the_cost_of_their_cell(tabulated: TabulatedSpace) -> None:
    relaxation = relaxation_of(tabulated)
    space = cast(NASBench201, tabulated.space)
    for index in np.flatnonzero(tabulated.eligible)[::2500]:
        certain = [torch.tensor(1000.0 * hot) for hot in space.one_hot(space.at(int(index)))]
        assert relaxation.discretise(certain) == space.at(int(index))
        assert all(kept.all() for kept in relaxation.kept_edges(certain))
        for resource, cost in tabulated.cost_at(int(index)).items():
            assert relaxation.expected_cost(resource, certain).item() == pytest.approx(cost, rel=1e-12)


def test_expected_cost_is_nan_without_any_probability() -> None:
    relaxation = relaxation_of(CLOSED)
    empty = [torch.tensor(1e6 * np.eye(5)[[0] * 6])]
    assert relaxation.expected_cost("disconnected_share", empty).item() == 1.0
    assert np.isnan(relaxation.expected_cost("latency_ms", empty).item())


@BOTH
@pytest.mark.parametrize("resource", ["params", "macs"])
def test_counted_resource_is_a_sum_over_edges(tabulated: TabulatedSpace, resource: str) -> None:
    relaxation = relaxation_of(tabulated)
    (costs,) = relaxation.edge_costs(resource)
    totals = relaxation.fixed_cost(resource) + costs.numpy()[np.arange(6), all_genes()].sum(axis=1)
    np.testing.assert_allclose(totals, tabulated.resource(resource), rtol=1e-12)
    assert torch.equal(costs, relaxation.edge_costs(resource, "search")[0])


def additive_space(noise: float = 0.0) -> tuple[dict[str, Floats], Floats]:
    """Return a latency that is a known sum over edges, plus noise that sums to 0 for every operation on every edge."""
    costs = np.random.default_rng(5).uniform(0.1, 1.0, (6, 5))
    costs[:, 0] = 0.0
    genes = all_genes()
    wave = np.prod(np.array([1.0, -1.0, 0.5, -0.5, 0.0])[genes], axis=1)
    return {"latency_ms": 2.0 + costs[np.arange(6), genes].sum(axis=1) + noise * wave}, costs


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_additive_fit_finds_the_sum_and_states_its_error(noise: float) -> None:
    columns, costs = additive_space(noise)
    everywhere = np.full(15_625, 50.0)

    class AllConnected(NASBench201):
        def connected(self, arch: Any) -> bool:
            return True

    made = TableRelaxation(
        cast(Any, AllConnected()), task_of("digits201"), everywhere, columns, SupernetOptions(), np.random.default_rng(0)
    )
    fit = made.additive_fit("latency_ms")
    np.testing.assert_allclose(fit.costs, costs, atol=1e-9)
    assert fit.fixed == pytest.approx(2.0) == made.fixed_cost("latency_ms")
    assert torch.equal(made.edge_costs("latency_ms")[0], torch.tensor(fit.costs))
    known = columns["latency_ms"]
    fitted = 2.0 + costs[np.arange(6), all_genes()].sum(axis=1)
    assert fit.variance_explained == pytest.approx(1.0 - ((known - fitted) ** 2).sum() / ((known - known.mean()) ** 2).sum())
    relative = np.abs(fitted - known) / known
    assert fit.mean_relative_error == pytest.approx(relative.mean(), abs=1e-12)
    assert fit.largest_relative_error == pytest.approx(relative.max(), abs=1e-12)
    assert made.additive_fit("latency_ms") is fit
    error = {"variance_explained": fit.variance_explained, "mean_error": fit.mean_relative_error}
    assert made.additive_error("latency_ms") == error and made.additive_error("params") == {}


@BOTH
def test_fit_uses_eligible_cells_only(tabulated: TabulatedSpace) -> None:
    fit = relaxation_of(tabulated).additive_fit("latency_ms")
    hot = np.eye(5)[all_genes()].reshape(-1, 30)[tabulated.eligible]
    known = tabulated.resource("latency_ms")[tabulated.eligible]
    fitted = hot @ np.linalg.lstsq(hot, known, rcond=None)[0]
    explained = 1.0 - ((known - fitted) ** 2).sum() / ((known - known.mean()) ** 2).sum()
    assert fit.variance_explained == pytest.approx(explained, rel=1e-9)
    assert 0.4 < explained < 0.999
    with pytest.raises(NotRelaxable, match=r"unknown resource 'bytes'; the table has latency_ms"):
        relaxation_of(tabulated).additive_fit("bytes")


REAL_FITS = {  # variance explained and mean relative error of latency's sum over edges
    ("cifar10", "edgegpu"): (0.9100, 0.0722),
    ("cifar10", "raspi4"): (0.9186, 0.2023),
    ("cifar10", "edgetpu"): (0.9359, 0.0783),
    ("cifar10", "pixel3"): (0.9063, 0.1931),
    ("cifar10", "eyeriss"): (1.0, 0.0),
    ("cifar10", "fpga"): (1.0, 0.0),
    ("cifar100", "edgegpu"): (0.9094, 0.0724),
    ("cifar100", "raspi4"): (0.9199, 0.1979),
    ("cifar100", "edgetpu"): (0.9166, 0.0867),
    ("cifar100", "pixel3"): (0.9046, 0.1915),
    ("cifar100", "eyeriss"): (1.0, 0.0),
    ("cifar100", "fpga"): (1.0, 0.0),
    ("ImageNet16-120", "edgegpu"): (0.9195, 0.0715),
    ("ImageNet16-120", "raspi4"): (0.7757, 0.2195),
    ("ImageNet16-120", "edgetpu"): (0.9005, 0.0713),
    ("ImageNet16-120", "pixel3"): (0.9103, 0.1951),
    ("ImageNet16-120", "eyeriss"): (1.0, 0.0),
    ("ImageNet16-120", "fpga"): (0.9803, 0.0561),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", REAL_FITS, ids=lambda place: "-".join(place))
def test_errors_of_additive_fits_to_real_devices(real_tables: Path, place: tuple[str, str]) -> None:
    fit = relaxation_of(tabulated_space_of("nasbench201", *place)).additive_fit("latency_ms")
    assert (fit.variance_explained, fit.mean_relative_error) == pytest.approx(REAL_FITS[place], abs=6e-5)
    assert fit.largest_relative_error < 1e-12 or REAL_FITS[place] != (1.0, 0.0)


def test_steps_are_counted_and_an_epoch_is_a_step() -> None:
    relaxation = relaxation_of(DIGITS)
    steps = list(relaxation.steps([], 3))
    assert [(step.index, step.total, step.epoch, step.epochs) for step in steps] == [(0, 3, 0, 3), (1, 3, 1, 3), (2, 3, 2, 3)]
    assert next(relaxation.steps([])).total == STEPS
    with pytest.raises(NotRelaxable, match="a search cannot have 0 steps"):
        next(relaxation.steps([], 0))


def test_history_has_loss_entropy_expected_costs_and_notes() -> None:
    relaxation = relaxation_of(DIGITS)
    losses = []
    for step in relaxation.steps([], 500):
        losses.append(relaxation.backward())
        relaxation.note(multiplier=float(step.index))
    rows = relaxation.history.rows()
    assert json.loads(json.dumps(rows)) == rows and 100 < len(rows) <= 201
    assert [row["multiplier"] for row in rows] == [row["step"] for row in rows]
    assert rows[0]["loss"] == losses[0]
    assert rows[0]["expected_latency_ms"] == relaxation.expected_cost("latency_ms").item()
    p = np.exp(relaxation.alphas[0].detach().numpy())
    p /= p.sum(axis=1, keepdims=True)
    assert rows[0]["entropy"] == pytest.approx(-(p * np.log(p)).sum() / 6)


def test_a_note_belongs_to_its_step() -> None:
    relaxation = relaxation_of(DIGITS)
    for step in relaxation.steps([], 4):
        if step.index == 1:
            relaxation.note(penalty=7.0)
    assert [row.get("penalty") for row in relaxation.history.rows()] == [None, 7.0, None, None]


def test_alphas_depend_on_the_generator_only() -> None:
    first, again, other = (relaxation_of(DIGITS, 1e-3, seed).alphas[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (6, 5) and first.dtype == torch.float64 and first.requires_grad
    assert np.array_equal(first.detach().numpy(), np.random.default_rng(1).normal(0.0, 1e-3, (6, 5)))
    assert [parameter is alphas for parameter, alphas in zip(*[relaxation_of(DIGITS).parameters()] * 2, strict=True)] == [True]


def test_not_modelled_lists_options_without_a_meaning_on_a_table() -> None:
    assert relaxation_of(DIGITS).not_modelled == ()
    options = SupernetOptions(partial=4, edge_weights=True, shared=True, bottleneck=2, derived=True, recompute=True)
    relaxation = relaxation_of(DIGITS, options=options)
    assert set(relaxation.not_modelled) == {"partial", "edge_weights", "shared", "bottleneck", "derived", "recompute"}
    relaxation.derive()
    plain = relaxation_of(DIGITS)
    assert torch.equal(plain.alphas[0], relaxation.alphas[0])
    assert [plain.backward(unrolled=True), plain.backward(unrolled=True)] == [relaxation.backward()] * 2
    assert torch.equal(plain.alphas[0].grad, 2.0 * relaxation.alphas[0].grad)  # type: ignore[arg-type, operator]
    assert plain.not_modelled == ("unrolled",)


class TwoCells(NASBench201):
    @property
    def searched(self) -> Any:
        return NASBench201().searched * 2


class OtherArity(NASBench201):
    @property
    def searched(self) -> Any:
        return (replace(NASBench201().searched[0], operations=("none", "skip_connect")),)


@pytest.mark.parametrize("space", [TwoCells(), OtherArity()])
def test_a_space_of_another_form_is_refused(space: Any) -> None:
    with pytest.raises(NotRelaxable, match="needs one searched cell whose edges are the genes"):
        TableRelaxation(space, DIGITS.task, DIGITS.validation, {}, SupernetOptions(), np.random.default_rng(0))


def test_unlisted_space_and_incomplete_table_are_refused() -> None:
    with pytest.raises(NotRelaxable, match="'elsewhere' is not such a space"):
        relaxation_of_table("elsewhere", DIGITS.task, [1.0], {}, SupernetOptions(), np.random.default_rng(0), 1e-3)
    unknown = DIGITS.validation.copy()
    unknown[:2] = np.nan
    with pytest.raises(NotRelaxable, match="lacks the accuracy of 2 architectures"):
        TableRelaxation(cast(Any, DIGITS.space), DIGITS.task, unknown, {}, SupernetOptions(), np.random.default_rng(0))


def test_table_offers_a_relaxation_if_the_space_is_relaxable_and_torch_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TableEvaluator(DIGITS).offers == {Need.ACCURACY, Need.RELAXATION} == offers(DIGITS.space)
    assert Need.WEIGHTS not in offers(DIGITS.space)
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    evaluator = TableEvaluator(DIGITS)
    assert evaluator.offers == {Need.ACCURACY}
    with pytest.raises(NotImplementedError, match="offers accuracy only"):
        evaluator.relaxation(SupernetOptions(), np.random.default_rng(0))
