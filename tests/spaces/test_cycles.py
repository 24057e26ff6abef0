"""CPU cycles: the exact figures of DEff-ARTS's paper, and plain sums for whole networks."""

import numpy as np
import pytest

from budgetnas.spaces.cycles import CYCLES_A_MAC, PAPER_COSTS, PAPER_COSTS_IN_SEARCH, average_pooling, max_pooling
from budgetnas.spaces.darts import DARTS
from budgetnas.spaces.darts.order import OPERATIONS
from budgetnas.spaces.nasbench201 import NASBench201, small_network
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.task import TASKS

CELLS = NASBench201()


@pytest.mark.parametrize(
    ("operation", "cycles"),
    [
        ("max_pool_3x3", 27_648),
        ("avg_pool_3x3", 30_720),
        ("sep_conv_3x3", 368_640),
        ("sep_conv_5x5", 860_160),
        ("dil_conv_3x3", 184_320),
        ("dil_conv_5x5", 430_080),
        ("skip_connect", 0),
        ("none", 999_999),
    ],
)
def test_costs_equal_table_2_of_the_paper(operation: str, cycles: int) -> None:
    assert PAPER_COSTS_IN_SEARCH[operation] == cycles
    if operation != "none":
        assert PAPER_COSTS[operation] == (cycles // 2 if operation.startswith("sep") else cycles)


def test_the_darts_cells_have_the_published_cost() -> None:
    space = DARTS()
    assert space.paper_cycles(space.published["darts_v2"]) == 1_244_160 == 6 * 184_320 + 5 * 27_648
    skips = Architecture("darts", tuple(2 if gene % 3 else 0 for gene in range(24)))
    assert space.paper_cycles(skips) == 0


def test_costs_in_the_search_are_the_same_on_every_edge_and_exclude_connections() -> None:
    space = DARTS(groups=2, connection=True)
    *cells, connection = space.edge_costs("paper_cycles", TASKS["cifar10"])
    assert len(cells) == 3 and not connection.any() and connection.shape == (1, 4)
    for costs in cells:
        assert costs.tolist() == [[PAPER_COSTS_IN_SEARCH[operation] for operation in OPERATIONS]] * 14
    assert space.fixed_cost("paper_cycles", TASKS["cifar10"]) == 0


def test_a_whole_network_takes_five_cycles_per_multiply_add_plus_the_poolings() -> None:
    space, task = DARTS(), TASKS["cifar10"]
    arch = space.published["darts_v2"]
    macs = space.complexity(arch, task).macs
    # Two reduction cells with five max poolings of inputs, to 72 x 16 x 16 and 144 x 8 x 8, and the average of 576 x 8 x 8 at the end.
    poolings = 5 * 9 * (72 * 16 * 16 + 144 * 8 * 8) + 576 * (8 * 8 + 1)
    assert space.figures(arch, task)["cycles"] == CYCLES_A_MAC * macs + poolings


def plain_cycles(poolings: int, macs: int, side: int) -> int:
    total = CYCLES_A_MAC * macs + 64 * ((side // 4) ** 2 + 1)
    for stage, width in enumerate((16, 32, 64)):
        total += 5 * poolings * 10 * width * (side // 2**stage) ** 2
    return total + 5 * (16 * (side // 2) ** 2 + 32 * (side // 4) ** 2)


@pytest.mark.parametrize("dataset", ["cifar10", "ImageNet16-120", "fashion-mnist", "imagenet"])
def test_the_cycles_of_nasbench201_cells_equal_plain_sums(dataset: str) -> None:
    task = TASKS[dataset]
    cycles = CELLS.cycles(task)
    assert cycles.shape == (CELLS.size,) and not cycles.flags.writeable
    for index in np.random.default_rng(0).integers(CELLS.size, size=50).tolist():
        arch = CELLS.at(index)
        expected = plain_cycles(arch.genes.count(4), CELLS.complexity(arch, task).macs, task.image_size)
        assert cycles[index] == expected == CELLS.figures(arch, task)["cycles"]


def test_digits201_uses_the_cycles_of_the_small_network() -> None:
    np.testing.assert_array_equal(CELLS.cycles(TASKS["digits201"]), small_network.cycles())


def test_the_cycles_of_poolings_are_counted_by_window() -> None:
    assert max_pooling(9, 3 * 32 * 32) == 27_648
    assert average_pooling(9, 3 * 32 * 32) == 30_720
