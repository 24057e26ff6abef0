"""CPU cycles: DEff-ARTS's own figures to the unit, and whole networks' against plain sums."""

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
def test_table_2_of_the_paper(operation: str, cycles: int) -> None:
    assert PAPER_COSTS_IN_SEARCH[operation] == cycles
    if operation != "none":
        assert PAPER_COSTS[operation] == (cycles // 2 if operation.startswith("sep") else cycles)


def test_the_published_cost_of_the_darts_cells() -> None:
    space = DARTS()
    assert space.paper_cycles(space.published["darts_v2"]) == 1_244_160 == 6 * 184_320 + 5 * 27_648
    skips = Architecture("darts", tuple(2 if gene % 3 else 0 for gene in range(24)))
    assert space.paper_cycles(skips) == 0


def test_the_search_s_costs_are_the_same_on_every_edge_of_either_cell_and_leave_connections_out() -> None:
    space = DARTS(groups=2, connection=True)
    *cells, connection = space.edge_costs("paper_cycles", TASKS["cifar10"])
    assert len(cells) == 3 and not connection.any() and connection.shape == (1, 4)
    for costs in cells:
        assert costs.tolist() == [[PAPER_COSTS_IN_SEARCH[operation] for operation in OPERATIONS]] * 14
    assert space.fixed_cost("paper_cycles", TASKS["cifar10"]) == 0


def test_a_whole_network_takes_five_cycles_a_multiply_add_and_the_poolings() -> None:
    space, task = DARTS(), TASKS["cifar10"]
    arch = space.published["darts_v2"]
    macs = space.complexity(arch, task).macs
    # Two reduction cells with five max poolings, all of inputs, to 72 x 16 x 16 and 144 x 8 x 8; at last the average of 576 x 8 x 8.
    poolings = 5 * 9 * (72 * 16 * 16 + 144 * 8 * 8) + 576 * (8 * 8 + 1)
    assert space.figures(arch, task)["cycles"] == CYCLES_A_MAC * macs + poolings


def plain_cycles(poolings: int, macs: int, side: int) -> int:
    total = CYCLES_A_MAC * macs + 64 * ((side // 4) ** 2 + 1)
    for stage, width in enumerate((16, 32, 64)):
        total += 5 * poolings * 10 * width * (side // 2**stage) ** 2
    return total + 5 * (16 * (side // 2) ** 2 + 32 * (side // 4) ** 2)


@pytest.mark.parametrize("dataset", ["cifar10", "ImageNet16-120", "fashion-mnist", "imagenet"])
def test_cells_of_nasbench201_on_any_task(dataset: str) -> None:
    task = TASKS[dataset]
    cycles = CELLS.cycles(task)
    assert cycles.shape == (CELLS.size,) and not cycles.flags.writeable
    for index in np.random.default_rng(0).integers(CELLS.size, size=50).tolist():
        arch = CELLS.at(index)
        expected = plain_cycles(arch.genes.count(4), CELLS.complexity(arch, task).macs, task.image_size)
        assert cycles[index] == expected == CELLS.figures(arch, task)["cycles"]


def test_the_small_network_of_digits201_has_its_own() -> None:
    np.testing.assert_array_equal(CELLS.cycles(TASKS["digits201"]), small_network.cycles())


def test_poolings_count_their_windows() -> None:
    assert max_pooling(9, 3 * 32 * 32) == 27_648
    assert average_pooling(9, 3 * 32 * 32) == 30_720
