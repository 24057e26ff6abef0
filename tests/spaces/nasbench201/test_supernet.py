"""NAS-Bench-201's search network equals the textbook's, a loop over edges and operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from comparison import copy_weights, gradients, saved_bytes  # noqa: E402
from nasbench201_textbook import Textbook, TextbookCell, pairs  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from budgetnas.spaces.nasbench201 import NASBench201  # noqa: E402
from budgetnas.spaces.nasbench201.network import IndivisibleImages  # noqa: E402
from budgetnas.spaces.nasbench201.relaxed import WrongSize  # noqa: E402
from budgetnas.spaces.nasbench201.supernet import Supernet  # noqa: E402
from budgetnas.spaces.space import SupernetOptions, sample  # noqa: E402
from budgetnas.spaces.supernets.cell import IndivisibleChannels, MixedCell, NothingDerived  # noqa: E402
from budgetnas.spaces.supernets.edges import ChosenEdges  # noqa: E402
from budgetnas.spaces.task import Task, task_of  # noqa: E402

pytestmark = pytest.mark.slow
SPACE, DIGITS = NASBench201(), task_of("digits201")
# The side of EVEN is even in all stages; the stages of ODD have sides 28, 14 and 7.
EVEN, ODD = Task("even", image_size=12, image_channels=3, classes=5), Task("odd", image_size=28, image_channels=1, classes=5)
SMALL = SupernetOptions(channels=8, cells=2)


def built(task: Task, options: SupernetOptions, dtype: torch.dtype = torch.float64) -> tuple[Supernet, Textbook]:
    torch.manual_seed(0)
    textbook, fast = Textbook(task, options).to(dtype), Supernet(SPACE, task, options).to(dtype)
    copy_weights(pairs(fast, textbook))
    return fast, textbook


def drawn(dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(6, 5, dtype=torch.float64).softmax(1).to(dtype).requires_grad_()


def images(task: Task, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(3, task.image_channels, task.image_size, task.image_size, dtype=torch.float64).to(dtype)


def passed(network: nn.Module, task: Task, strengths: Sequence[Tensor], dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the logits, and compute the gradients of a fixed mixture of them."""
    logits: Tensor = network(images(task, dtype), strengths)
    torch.manual_seed(3)
    (logits * torch.randn(logits.shape, dtype=torch.float64).to(dtype)).sum().backward()
    return logits.detach().double()


CASES = {
    "plain": (EVEN, SMALL),
    "grouped": (EVEN, replace(SMALL, layout="grouped")),
    "odd sides": (ODD, SupernetOptions(channels=4, cells=1)),
    "the small network": (DIGITS, SupernetOptions()),
    "the small network, larger": (DIGITS, SMALL),
    "partial channels": (EVEN, replace(SMALL, partial=4)),
    "shared weights": (EVEN, replace(SMALL, shared=True)),
    "bottleneck": (EVEN, replace(SMALL, bottleneck=2)),
    "recomputed": (EVEN, replace(SMALL, recompute=True)),
    "everything": (DIGITS, replace(SMALL, partial=2, bottleneck=2, shared=True, recompute=True, layout="grouped")),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_textbooks(case: str) -> None:
    task, options = CASES[case]
    fast, textbook = built(task, options)
    mine, theirs = drawn(), drawn()
    torch.testing.assert_close(passed(fast, task, [mine]), passed(textbook, task, [theirs]), rtol=0, atol=1e-10)
    torch.testing.assert_close(*gradients(pairs(fast, textbook)), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-10)
    assert sum(p.numel() for p in fast.parameters()) == sum(p.numel() for p in textbook.parameters())


@pytest.mark.parametrize("layout", ["edges", "grouped"])
def test_single_precision_is_as_accurate_as_the_textbook(layout: str) -> None:
    options = replace(SMALL, layout=layout)
    truth, single = built(EVEN, options), built(EVEN, options, torch.float32)
    exact, mine, theirs = drawn(), drawn(torch.float32), drawn(torch.float32)
    logits = passed(truth[1], EVEN, [exact])
    torch.testing.assert_close(passed(single[0], EVEN, [mine], torch.float32), logits, rtol=0, atol=1e-5)
    passed(single[1], EVEN, [theirs], torch.float32)
    weights = gradients(pairs(*truth))[1]
    fast, textbook = gradients(pairs(*single))
    assert (fast - weights).norm() <= 2 * (textbook - weights).norm()
    assert mine.grad is not None and theirs.grad is not None and exact.grad is not None
    assert (mine.grad - exact.grad).norm() <= 2 * (theirs.grad - exact.grad).norm()


def test_evaluation_mode_equals_training_mode_and_no_averages_are_kept() -> None:
    fast, _ = built(EVEN, SMALL)
    assert torch.equal(fast.train()(images(EVEN), [drawn()]), fast.eval()(images(EVEN), [drawn()]))
    assert list(fast.buffers()) == []


def flops(options: SupernetOptions, task: Task = EVEN) -> int:
    """Return the multiply-adds of the forward pass of one image."""
    fast = Supernet(SPACE, task, options)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        fast(images(task, torch.float32)[:1], [drawn(torch.float32)])
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("task", [EVEN, DIGITS], ids=["published", "small"])
@pytest.mark.parametrize("size", [(8, 2), (4, 1)])
def test_its_multiply_adds_are_the_costs_of_all_operations_on_all_edges(task: Task, size: tuple[int, int]) -> None:
    every = sum(costs.sum() for costs in SPACE.edge_costs("macs", task, *size)) + SPACE.fixed_cost("macs", task, *size)
    assert flops(SupernetOptions(*size), task) == every


def test_shared_weights_halve_the_multiply_adds_and_partial_channels_divide_them_by_the_square() -> None:
    fixed = SPACE.fixed_cost("macs", EVEN, 8, 2)
    inside = flops(SMALL) - fixed
    assert flops(replace(SMALL, shared=True)) - fixed == inside / 2
    assert flops(replace(SMALL, partial=4)) - fixed == inside / 16


def test_memory_is_less_than_the_textbooks_and_much_less_with_recomputation() -> None:
    fast, textbook = built(EVEN, replace(SMALL, cells=5))
    recomputing = Supernet(SPACE, EVEN, replace(SMALL, cells=5, recompute=True)).double()
    kept = [saved_bytes(lambda network=network: network(images(EVEN), [drawn()])) for network in (fast, textbook, recomputing)]
    assert kept[0] < 0.8 * kept[1] and kept[2] < kept[0] / 3


class TestDerivedCells:
    OPTIONS = replace(SMALL, derived=True)

    def test_all_cells_but_the_first_equal_the_textbooks_with_strengths_of_one(self) -> None:
        fast, textbook = built(EVEN, self.OPTIONS)
        arch = sample(SPACE, np.random.default_rng(0))
        fast.derive(arch)
        mine, theirs = drawn(), drawn()
        (one_hot,) = (torch.from_numpy(each) for each in SPACE.one_hot(arch))
        plain = [layer for layer in textbook.layers if isinstance(layer, TextbookCell)]
        for cell in plain[1:]:
            cell.register_forward_pre_hook(lambda _, inputs: (inputs[0], one_hot))
        torch.testing.assert_close(passed(fast, EVEN, [mine]), passed(textbook, EVEN, [theirs]), rtol=0, atol=1e-10)
        torch.testing.assert_close(*gradients(pairs(fast, textbook)), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-10)
        cells = [layer for layer in fast.layers if isinstance(layer, MixedCell)]
        assert [isinstance(cell.edges, ChosenEdges) for cell in cells] == [False] + [True] * 5

    def test_a_cell_with_only_none_gives_finite_logits(self) -> None:
        fast, _ = built(EVEN, self.OPTIONS)
        fast.derive(SPACE.at(0))
        fast.derive(SPACE.decode("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
        assert torch.isfinite(fast(images(EVEN), [drawn()])).all()

    def test_derive_is_refused_if_all_cells_are_mixed(self) -> None:
        with pytest.raises(NothingDerived, match="build it with derived=True"):
            Supernet(SPACE, EVEN, SMALL).derive(SPACE.identity)


@pytest.mark.parametrize(
    ("task", "options", "error", "line"),
    [
        (EVEN, SupernetOptions(channels=6, partial=4), IndivisibleChannels, "6 channels with partial=4"),
        (EVEN, SupernetOptions(channels=0), WrongSize, "0 channels and 5 cells per stage"),
        (EVEN, SupernetOptions(cells=0), WrongSize, "16 channels and 0 cells per stage"),
        (EVEN, SupernetOptions(layout="fast"), ValueError, "unknown layout 'fast'"),
        (replace(EVEN, image_size=30), SupernetOptions(), IndivisibleImages, "the side of the images is 30; .* a multiple of 4"),
    ],
    ids=lambda value: "",
)
def test_options_that_do_not_fit_are_refused(task: Task, options: SupernetOptions, error: type[Exception], line: str) -> None:
    with pytest.raises(error, match=line):
        SPACE.supernet(task, options)
