"""DARTS's search network equals the textbook's, a loop over edges and operations; the options have the expected costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from comparison import copy_weights, gradients, saved_bytes  # noqa: E402
from darts_textbook import Textbook, pairs  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from budgetnas.spaces.darts.mixed_edges import mixed_edges  # noqa: E402
from budgetnas.spaces.darts.order import EDGES, OPERATIONS  # noqa: E402
from budgetnas.spaces.darts.space import DARTS  # noqa: E402
from budgetnas.spaces.darts.supernet import Supernet  # noqa: E402
from budgetnas.spaces.space import SupernetOptions, sample  # noqa: E402
from budgetnas.spaces.supernets.arithmetic import UnknownLayout  # noqa: E402
from budgetnas.spaces.supernets.cell import IndivisibleChannels, NothingDerived  # noqa: E402
from budgetnas.spaces.supernets.edges import ChosenEdges  # noqa: E402
from budgetnas.spaces.task import Task  # noqa: E402

pytestmark = pytest.mark.slow
PLAIN, DEEP = DARTS(), DARTS(groups=2, connection=True)
EVEN, ODD = Task("even", image_size=12, image_channels=3, classes=5), Task("odd", image_size=7, image_channels=1, classes=5)


def supernet(space: DARTS, task: Task, options: SupernetOptions) -> Supernet:
    return Supernet(space, space.groups, space.connection, task, options)


def built(space: DARTS, task: Task, options: SupernetOptions, dtype: torch.dtype = torch.float64) -> tuple[Supernet, Textbook]:
    torch.manual_seed(0)
    textbook, fast = Textbook(space, task, options).to(dtype), supernet(space, task, options).to(dtype)
    copy_weights(pairs(fast, textbook))
    return fast, textbook


def drawn(space: DARTS, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(len(c.edges), len(c.operations), dtype=torch.float64).softmax(1).to(dtype).requires_grad_() for c in space.searched]


def images(task: Task, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(3, task.image_channels, task.image_size, task.image_size, dtype=torch.float64).to(dtype)


def passed(network: torch.nn.Module, task: Task, strengths: Sequence[Tensor], dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the logits, and compute the gradients of a fixed mixture of them."""
    logits: Tensor = network(images(task, dtype), strengths)
    torch.manual_seed(3)
    (logits * torch.randn(logits.shape, dtype=torch.float64).to(dtype)).sum().backward()
    return logits.detach().double()


CASES = {
    "plain": (PLAIN, EVEN, SupernetOptions(cells=3)),
    "grouped": (PLAIN, EVEN, SupernetOptions(cells=3, layout="grouped")),
    "odd sides": (PLAIN, ODD, SupernetOptions(cells=4)),
    "odd sides, grouped": (PLAIN, ODD, SupernetOptions(cells=4, layout="grouped")),
    "partial channels": (PLAIN, EVEN, SupernetOptions(cells=3, partial=4)),
    "partial channels, odd sides": (PLAIN, ODD, SupernetOptions(cells=3, partial=2)),
    "shared weights": (PLAIN, EVEN, SupernetOptions(cells=3, shared=True)),
    "shared weights, grouped": (PLAIN, EVEN, SupernetOptions(cells=3, shared=True, layout="grouped")),
    "bottleneck": (PLAIN, EVEN, SupernetOptions(cells=3, bottleneck=2)),
    "recomputed": (PLAIN, EVEN, SupernetOptions(cells=3, recompute=True)),
    "groups and connection": (DEEP, EVEN, SupernetOptions(cells=5)),
    "everything": (DEEP, ODD, SupernetOptions(cells=5, partial=2, bottleneck=2, shared=True, recompute=True, layout="grouped")),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_textbooks(case: str) -> None:
    space, task, options = CASES[case]
    options = replace(options, channels=8)
    fast, textbook = built(space, task, options)
    mine, theirs = drawn(space), drawn(space)
    torch.testing.assert_close(passed(fast, task, mine), passed(textbook, task, theirs), rtol=0, atol=1e-10)
    torch.testing.assert_close(*gradients(pairs(fast, textbook)), rtol=1e-10, atol=1e-10)
    for one, two in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-10, atol=1e-10)
        # Only the strength of `none` has no influence, since `none` adds nothing.
        assert one.grad is not None and bool(((one.grad != 0) | (two.grad == 0)).all())
    assert sum(p.numel() for p in fast.parameters()) == sum(p.numel() for p in textbook.parameters())


@pytest.mark.parametrize("layout", ["edges", "grouped"])
def test_single_precision_is_as_accurate_as_the_textbook(layout: str) -> None:
    options = SupernetOptions(channels=8, cells=4, layout=layout)
    truth = built(PLAIN, EVEN, options)
    single = built(PLAIN, EVEN, options, torch.float32)
    exact, mine, theirs = drawn(PLAIN), drawn(PLAIN, torch.float32), drawn(PLAIN, torch.float32)
    logits = passed(truth[1], EVEN, exact)
    torch.testing.assert_close(passed(single[0], EVEN, mine, torch.float32), logits, rtol=0, atol=1e-5)
    passed(single[1], EVEN, theirs, torch.float32)
    weights = gradients(pairs(*truth))[1]
    fast, textbook = gradients(pairs(*single))
    assert (fast - weights).norm() <= 2 * (textbook - weights).norm()
    for one, two, three in zip(mine, theirs, exact, strict=True):
        assert one.grad is not None and two.grad is not None and three.grad is not None
        assert (one.grad - three.grad).norm() <= 2 * (two.grad - three.grad).norm()


def test_auto_is_the_layout_edges_on_a_cpu_bit_by_bit() -> None:
    strengths = drawn(PLAIN)
    found = [
        built(PLAIN, EVEN, SupernetOptions(channels=4, cells=3, layout=layout))[0](images(EVEN), strengths) for layout in ("auto", "edges")
    ]
    assert torch.equal(*found)


def test_evaluation_mode_equals_training_mode_and_no_averages_are_kept() -> None:
    fast, _ = built(PLAIN, EVEN, SupernetOptions(channels=4, cells=3))
    strengths = drawn(PLAIN)
    assert torch.equal(fast.train()(images(EVEN), strengths), fast.eval()(images(EVEN), strengths))
    assert list(fast.buffers()) == []


def test_images_of_more_than_64_pixels_use_the_stem_of_three_convolutions() -> None:
    task = Task("large", image_size=72, image_channels=3, classes=5)
    fast = supernet(PLAIN, task, SupernetOptions(channels=4, cells=3))
    strengths = drawn(PLAIN, torch.float32)
    fast(images(task, torch.float32), strengths).sum().backward()
    assert [position.first.operations[0].__class__.__name__ for position in fast.cells] == [
        "FactorizedReduce",
        "Sequential",
        "FactorizedReduce",
    ]
    assert all(parameter.grad is not None for parameter in fast.parameters())


def operated(edges: torch.nn.Module, width: int) -> list[dict[int, list[object]]]:
    x = torch.randn(2, width, 6, 6)
    return [edges.prepare(source, x) for source in range(5)]


def test_a_cell_with_shared_weights_evaluates_35_operations_and_a_plain_cell_71() -> None:
    """The textbook evaluates 98. The 42 without weights are equal on all edges that leave a node, so only 15 of them are computed."""

    def evaluations(shared: bool) -> int:
        prepared = operated(mixed_edges(PLAIN.searched[0], 4, False, SupernetOptions(shared=shared)), 4)
        return len({id(term) for leaving in prepared for terms in leaving.values() for term in terms})

    assert len(EDGES) * (len(OPERATIONS) - 1) == 98
    assert evaluations(shared=False) == 14 * 4 + 5 * 3
    assert evaluations(shared=True) == 35


def flops(network: torch.nn.Module, *arguments: object) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*arguments)
    return counter.get_total_flops()


def cell_flops(options: SupernetOptions, width: int = 8, side: int = 6) -> int:
    """Return the multiply-adds of a normal cell without its connections, for one image."""
    fast = supernet(PLAIN, Task("t", side, 3, 5), replace(options, channels=width, cells=3))
    x = torch.randn(1, width, side, side).contiguous(memory_format=torch.channels_last)
    return flops(fast.cells[0].cell, (x, x), torch.rand(14, 8)) // 2


@pytest.mark.parametrize("partial", [1, 2, 4])
@pytest.mark.parametrize("bottleneck", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_the_multiply_adds_of_a_cell_equal_the_closed_form(partial: int, bottleneck: int, shared: bool) -> None:
    width, pixels = 8, 6 * 6
    inner, sets = width // partial // bottleneck, 5 if shared else 14
    depthwise, pointwise = (2 * 9 + 2 * 25 + 9 + 25) * inner, 6 * inner**2
    around = (5 + 4) * width * width // bottleneck if bottleneck > 1 else 0
    found = cell_flops(SupernetOptions(partial=partial, bottleneck=bottleneck, shared=shared))
    assert found == (sets * (depthwise + pointwise) + around) * pixels


def test_recomputation_saves_memory() -> None:
    def kept(recompute: bool) -> int:
        fast, _ = built(PLAIN, EVEN, SupernetOptions(channels=8, cells=3, recompute=recompute))
        return saved_bytes(lambda: fast(images(EVEN), drawn(PLAIN)))

    assert kept(True) < kept(False) / 5


def test_the_network_saves_less_memory_than_the_textbook() -> None:
    fast, textbook = built(PLAIN, EVEN, SupernetOptions(channels=8, cells=3))
    fast_bytes, textbook_bytes = (saved_bytes(lambda network=network: network(images(EVEN), drawn(PLAIN))) for network in (fast, textbook))
    assert fast_bytes < 0.7 * textbook_bytes


class TestDerivedCells:
    OPTIONS = SupernetOptions(channels=8, cells=5, derived=True)
    SPACE = DARTS(groups=2)

    def test_only_the_first_cell_of_every_kind_is_mixed(self) -> None:
        fast = supernet(self.SPACE, EVEN, self.OPTIONS)
        # Normal, reduction, normal, reduction, normal. The last normal cell is in the second group, the other two in the first.
        chosen = [isinstance(position.cell.edges, ChosenEdges) for position in fast.cells]
        assert list(zip(fast._searched, chosen, strict=True)) == [(0, False), (2, False), (0, True), (2, True), (1, False)]

    @pytest.mark.parametrize("partial", [1, 2])
    def test_derived_cells_equal_the_textbooks_with_strengths_of_one(self, partial: int) -> None:
        fast, textbook = built(self.SPACE, ODD, SupernetOptions(channels=8, cells=5, derived=True, partial=partial))
        arch = sample(self.SPACE, np.random.default_rng(0))
        fast.derive(arch)
        mine, theirs = drawn(self.SPACE), drawn(self.SPACE)
        for position, cell in zip(fast.cells, textbook.cells, strict=True):
            if isinstance(position.cell.edges, ChosenEdges):
                cell.searched += len(theirs)
        one_hot = [torch.from_numpy(each) for each in self.SPACE.one_hot(arch)]
        torch.testing.assert_close(passed(fast, ODD, mine), passed(textbook, ODD, [*theirs, *one_hot]), rtol=0, atol=1e-10)
        torch.testing.assert_close(*gradients(pairs(fast, textbook)), rtol=1e-10, atol=1e-10)
        for one, two in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-10, atol=1e-10)

    def test_a_derived_cell_evaluates_its_eight_operations(self) -> None:
        fast = supernet(self.SPACE, EVEN, self.OPTIONS)
        evaluated: list[str] = []
        for position in fast.cells:
            if isinstance(position.cell.edges, ChosenEdges):
                for operations in position.cell.edges.operations:
                    for name, module in operations.items():
                        module.register_forward_hook(lambda *_, name=name: evaluated.append(name))
        arch = sample(self.SPACE, np.random.default_rng(1))
        fast.derive(arch)
        fast(images(EVEN, torch.float32), drawn(self.SPACE, torch.float32))
        edges = self.SPACE.edges(arch)
        assert sorted(evaluated) == sorted(edge.operation for cell in (0, 2) for edge in edges[cell])

    def test_the_optimiser_does_not_change_weights_of_operations_not_chosen(self) -> None:
        fast = supernet(self.SPACE, EVEN, self.OPTIONS)
        optimiser = torch.optim.SGD(fast.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        rng = np.random.default_rng(2)
        first, second = sample(self.SPACE, rng), sample(self.SPACE, rng)
        fast.derive(first)
        before = fast.cells[2].cell.edges.state_dict()
        before = {name: value.clone() for name, value in before.items()}
        used = {f"operations.{EDGES.index((edge.source, edge.node))}.{edge.operation}." for edge in self.SPACE.edges(first)[0]}
        fast(images(EVEN, torch.float32), drawn(self.SPACE, torch.float32)).sum().backward()
        optimiser.step()
        fast.derive(second)
        after = fast.cells[2].cell.edges.state_dict()
        for name, value in before.items():
            assert torch.equal(value, after[name]) != name.startswith(tuple(used)), name

    def test_derive_is_refused_if_all_cells_are_mixed(self) -> None:
        with pytest.raises(NothingDerived, match="build it with derived=True"):
            supernet(PLAIN, EVEN, SupernetOptions(channels=4, cells=3)).derive(PLAIN.identity)


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        (SupernetOptions(layout="fast"), UnknownLayout, "unknown layout 'fast' of a supernet; choose one of auto, edges, grouped"),
        (SupernetOptions(channels=6, partial=4), IndivisibleChannels, "6 channels with partial=4 and bottleneck=1; .* multiple of their"),
        (SupernetOptions(partial=0), IndivisibleChannels, "both must be 1 or more"),
        (SupernetOptions(cells=2), ValueError, "2 cells; a DARTS network has 3 to"),
        (SupernetOptions(channels=0), ValueError, "0 channels; a DARTS network has 1 to"),
    ],
    ids=lambda value: "",
)
def test_options_that_do_not_fit_are_refused(options: SupernetOptions, error: type[Exception], line: str) -> None:
    with pytest.raises(error, match=line):
        PLAIN.supernet(EVEN, options)


def test_connections_that_cannot_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="groups do not divide the channels of a convolution"):
        DARTS(connection=True).supernet(EVEN, SupernetOptions(channels=6, cells=3))
