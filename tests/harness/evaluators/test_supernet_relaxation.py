"""The loop of a search in a supernet, on a very small space: one cell with two edges, and a supernet of matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from budgetnas.harness.evaluators.supernet_inputs import SupernetInputs  # noqa: E402
from budgetnas.harness.evaluators.supernet_relaxation import CannotSearch, Diverged, SupernetRelaxation  # noqa: E402
from budgetnas.harness.problem import Architecture, Step, SupernetOptions  # noqa: E402
from budgetnas.harness.records.store import RunError  # noqa: E402
from budgetnas.harness.training.images.load import load  # noqa: E402
from budgetnas.harness.training.recipes.recipe import Optimiser, Subset  # noqa: E402
from budgetnas.harness.training.recipes.search_recipe import SearchRecipe  # noqa: E402
from budgetnas.spaces.space import Relaxable, SearchedCell  # noqa: E402
from budgetnas.spaces.task import task_of  # noqa: E402

COSTS = np.array([[0.0, 1.0, 10.0], [0.0, 2.0, 20.0]])


class Matrices(torch.nn.Module):
    """A supernet whose logits are mixtures of three maps of the pixels, summed over two edges; the first map is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = torch.nn.Parameter(0.01 * torch.randn(2, 2, 10, 64))
        self.derived: list[Architecture] = []

    def forward(self, images: torch.Tensor, strengths: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.einsum("eo,eoij,nj->ni", strengths[0][:, 1:], self.maps, images.flatten(1))

    def derive(self, arch: Architecture) -> None:
        self.derived.append(arch)


@dataclass(frozen=True)
class Two:
    """A space with two edges into one node, and three operations on each."""

    name: str = "two"
    arity: tuple[int, ...] = (3, 3)

    @property
    def searched(self) -> tuple[SearchedCell, ...]:
        return (SearchedCell("cell", ((0, 2), (1, 2)), ("none", "narrow", "wide")),)

    def connected(self, arch: Architecture) -> bool:
        return any(arch.genes)

    def strongest(self, strengths: Sequence[np.ndarray]) -> Architecture:
        return Architecture(self.name, tuple(int(row.argmax()) for row in strengths[0]))

    def kept_edges(self, strengths: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [strengths[0].argmax(1) > 0]

    def edge_costs(self, resource: str, task: object, channels: int | None = None, cells: int | None = None) -> list[np.ndarray]:
        return [COSTS * (1 if channels is None else channels)]

    def fixed_cost(self, resource: str, task: object, channels: int | None = None, cells: int | None = None) -> float:
        return 100.0

    def supernet(self, task: object, options: SupernetOptions) -> Matrices:
        return Matrices()


RECIPE = SearchRecipe(
    name="tiny", version=1, source="none", kind="search", epochs=4, batch=16, optimiser=Optimiser(learning_rate=0.1, clip=5.0),
    channels=3, images=Subset(train=96),
)  # fmt: skip


def inputs(folder: Path | None = None, watch: Any = None, by: SearchRecipe = RECIPE, **identity: Any) -> SupernetInputs:
    task = task_of("digits")
    whose = {"space": "two", "recipe": "tiny", "method": "descends", "seed": 0} | identity
    return SupernetInputs(cast(Relaxable, Two()), task, by, load(task), ("params",), None, whose, folder, watch)


def made(on: SupernetInputs, options: SupernetOptions | None = None, seed: int = 0) -> SupernetRelaxation:
    return SupernetRelaxation(on, options or SupernetOptions(), np.random.default_rng(seed), 1e-3)


class Counter:
    """The state of a method."""

    def __init__(self) -> None:
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


def searched(relaxation: SupernetRelaxation, unrolled: bool = False, stop_at: int | None = None) -> tuple[list[torch.Tensor], Counter]:
    """Run the search of DARTS; return the alphas after every step."""
    optimiser, counter, path = torch.optim.Adam(relaxation.parameters(), 0.01, (0.5, 0.999)), Counter(), []
    for step in relaxation.steps([optimiser, counter]):
        if step.index == stop_at:
            break
        optimiser.zero_grad()
        relaxation.backward(unrolled=unrolled)
        optimiser.step()
        counter.steps += 1
        path.append(relaxation.alphas[0].detach().clone())
    return path, counter


@pytest.mark.parametrize("unrolled", [False, True])
def test_weights_and_alphas_are_trained_on_halves_of_the_training_images(unrolled: bool) -> None:
    relaxation = made(inputs())
    path, counter = searched(relaxation, unrolled)
    rows = relaxation.history.rows()
    assert counter.steps == len(path) == len(rows) == 4 * 3  # 96 images, halves of 48, batches of 16
    assert cast(float, rows[-1]["training_loss"]) < 0.9 * cast(float, rows[0]["training_loss"])
    assert set(rows[0]) == {"step", "loss", "training_loss", "training_accuracy", "entropy", "expected_params"}
    assert relaxation.discretise() == Two().strongest([path[-1].numpy()])


@pytest.mark.parametrize("count", [0, -3])
def test_a_search_of_no_steps_is_refused(count: int) -> None:
    with pytest.raises(
        CannotSearch, match=f"a search cannot have {count} steps; give 1 or more, or leave it out for the recipe's 4 epochs"
    ):
        next(iter(made(inputs()).steps([], count)))


def test_second_order_gives_other_alphas() -> None:
    assert not torch.equal(searched(made(inputs()), unrolled=True)[0][-1], searched(made(inputs()))[0][-1])


def test_search_is_repeatable_with_the_same_generator_only() -> None:
    first, again, other = (searched(made(inputs(), seed=seed))[0][-1] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("stop_at", [1, 3, 4, 11])
def test_resumed_search_ends_with_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    whole, counted = searched(made(inputs()))
    searched(made(inputs(tmp_path)), stop_at=stop_at)
    resumed = made(inputs(tmp_path), seed=0)
    path, counter = searched(resumed)
    assert counter.steps == counted.steps
    assert torch.equal(path[-1], whole[-1])
    assert len(path) == 12 - 3 * (stop_at // 3)  # resumed from the last complete epoch
    uninterrupted = made(inputs())
    searched(uninterrupted)
    assert resumed.history.rows() == uninterrupted.history.rows()
    assert resumed.history.stages() == uninterrupted.history.stages()
    assert [stage["step"] for stage in resumed.history.stages()] == list(range(12))


def test_derived_cells_are_restored_when_a_search_is_resumed(tmp_path: Path) -> None:
    options = SupernetOptions(derived=True)
    first = made(inputs(tmp_path), options)
    for step in first.steps([]):
        first.derive()
        if step.epoch == 2:
            break
    second = made(inputs(tmp_path), options)
    next(iter(second.steps([])))
    assert cast(Any, second)._supernet.derived == [cast(Any, first)._supernet.derived[-1]]
    with torch.no_grad():
        first.alphas[0].copy_(torch.tensor([[9.0, 0.0, 0.0]] * 2))  # `none` on both edges: no path would lead through such cells
    before = list(cast(Any, first)._supernet.derived)
    first.derive()
    assert cast(Any, first)._supernet.derived == before
    plain = made(inputs())
    plain.derive()
    assert cast(Any, plain)._supernet.derived == []


@pytest.mark.parametrize("change", [{"space": "three"}, {"recipe": "other"}, {"method": "ascends"}, {"seed": 1}])
def test_checkpoint_of_another_search_is_refused_and_kept(tmp_path: Path, change: Mapping[str, Any]) -> None:
    searched(made(inputs(tmp_path)), stop_at=4)
    before = (tmp_path / "search.pt").read_bytes()
    with pytest.raises(RunError, match=f"its {next(iter(change))} is"):
        searched(made(inputs(tmp_path, **change)))
    assert (tmp_path / "search.pt").read_bytes() == before


def test_truncated_checkpoint_is_refused_and_kept(tmp_path: Path) -> None:
    searched(made(inputs(tmp_path)), stop_at=4)
    path = tmp_path / "search.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"cut off|damaged"):
        searched(made(inputs(tmp_path)))
    assert path.exists()


def test_expected_costs_are_sums_over_kept_edges_in_the_evaluation_network() -> None:
    relaxation = made(inputs())
    alphas = [torch.tensor([[0.0, 1.0, 0.0], [5.0, 0.0, 0.0]], requires_grad=True)]  # the second edge is `none`, so it is not kept
    shares = torch.softmax(alphas[0][0].double(), 0).detach().numpy()
    cost = relaxation.expected_cost("params", alphas)
    assert cost.item() == pytest.approx(100.0 + float(shares @ COSTS[0]))
    cost.backward()
    assert torch.count_nonzero(alphas[0].grad[0]) == 3 and torch.count_nonzero(alphas[0].grad[1]) == 0  # type: ignore[index]
    one_hot = [torch.tensor([[-1e9, -1e9, 0.0], [-1e9, 0.0, -1e9]])]
    assert relaxation.expected_cost("params", one_hot).item() == 100.0 + 10.0 + 2.0
    assert torch.equal(relaxation.edge_costs("params", "search")[0], torch.from_numpy(3.0 * COSTS))  # with the channels of the recipe
    with pytest.raises(CannotSearch, match="needs a table of the device"):
        relaxation.expected_cost("latency_ms")


def test_edge_weights_share_a_node_and_are_trained() -> None:
    relaxation = made(inputs(), SupernetOptions(edge_weights=True))
    assert [tuple(p.shape) for p in relaxation.parameters()] == [(2, 3), (2,)]
    (strengths,) = relaxation.strengths()
    assert strengths.sum().item() == pytest.approx(1.0)  # both edges lead into the same node
    before = relaxation.parameters()[1].detach().clone()
    searched(relaxation)
    assert not torch.equal(relaxation.parameters()[1], before)


def test_a_penalty_adds_its_gradient() -> None:
    gradients = []
    for weight in (0.0, 1e3):
        relaxation = made(inputs())
        next(iter(relaxation.steps([])))
        relaxation.backward(weight * (relaxation.alphas[0] ** 2).sum())
        gradients.append((relaxation.alphas[0].grad, relaxation.alphas[0].detach()))
    (plain, alphas), (penalised, _) = gradients
    assert plain is not None and penalised is not None
    assert torch.allclose(penalised - plain, 2e3 * alphas, atol=1e-4)


def test_loss_that_depends_on_no_variable_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Matrices, "forward", lambda self, images, strengths: torch.zeros(len(images), 10))
    relaxation = made(inputs())
    next(iter(relaxation.steps([])))
    assert relaxation.backward() == pytest.approx(np.log(10.0))
    assert relaxation.alphas[0].grad is not None and not relaxation.alphas[0].grad.any()


def test_loss_that_is_not_finite_ends_the_search_and_names_the_step() -> None:
    wild = RECIPE.model_copy(update={"optimiser": Optimiser(learning_rate=1e38)})
    with pytest.raises(Diverged, match=r"loss is (nan|inf).*lower the learning rate"):
        searched(made(inputs(by=wild)))


def test_watch_is_called_after_every_step_with_the_noted_figures() -> None:
    seen: list[tuple[int, float]] = []

    def watch(step: Step, figures: Mapping[str, float]) -> None:
        seen.append((step.index, figures["multiplier"]))

    relaxation = made(inputs(watch=watch))
    steps: Iterator[Step] = relaxation.steps([], 5)
    for step in steps:
        relaxation.note(multiplier=2.0 * step.index)
    assert seen == [(i, 2.0 * i) for i in range(5)]
    assert (step.total, step.epochs) == (5, 2)


def test_a_gradient_outside_the_loop_is_refused() -> None:
    with pytest.raises(CannotSearch, match="within `for step in"):
        made(inputs()).backward()
