"""The benchmark in closed form: a few cells computed by hand, and the difficulties that it shares with the real tables."""

import numpy as np
import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.nasbench201.order import OPERATIONS, SIZE, all_genes
from budgetnas.spaces.space import Architecture
from budgetnas.spaces.tables import accuracy, hardware
from budgetnas.spaces.tables.closed_form import DATASET, DEVICE, closed_form_table

SPACE = NASBench201()
TABLE = closed_form_table()
VALIDATION, TEST = (accuracy.accuracy(TABLE, DATASET, split) for split in ("validation", "test"))
LATENCY_MS, ENERGY_MJ = (hardware.device_cost(TABLE, resource, DATASET, DEVICE) for resource in ("latency_ms", "energy_mj"))
CONNECTED = SPACE.connected_mask()


def index(*genes: int) -> int:
    return SPACE.index(Architecture("nasbench201", genes))


@pytest.mark.parametrize(
    ("genes", "latency_ms", "energy_mj"),
    [
        ((0,) * 6, 1.0, 2.0),
        # 1 + 0.05 + 2 x 0.05 + (0.05 + 0.3 x 3 x 0.05) = 1.245, rounded to 0.1 ms; 2 + 0.7 x 6 x (6 x 0.05)
        ((1,) * 6, 1.2, 3.26),
        # 1 + 1.1 + 2 x 1.1 + (1.1 + 0.3 x 3 x 1.1) = 6.39; 2 + 0.7 x 6 x (6 x 1.1)
        ((3,) * 6, 6.4, 29.72),
        # The edges into the last node take 1.1 + 0.3 x (1.1 + 0.4).
        ((0, 0, 0, 3, 0, 2), 2.6, 8.3),
    ],
)
def test_costs_equal_figures_computed_by_hand(genes: tuple[int, ...], latency_ms: float, energy_mj: float) -> None:
    assert LATENCY_MS[index(*genes)] == pytest.approx(latency_ms, abs=1e-9)
    assert ENERGY_MJ[index(*genes)] == pytest.approx(energy_mj, abs=1e-9)
    assert accuracy.training_seconds(TABLE, DATASET)[index(*genes)] == pytest.approx(60 + 20 * latency_ms, abs=1e-9)


def test_the_accuracy_of_a_single_convolution_equals_the_formula() -> None:
    # One path with a gain of 2.0 x 0.7 on the edge from input to output; the noise is at most 0.4.
    expected = 95 - 60 * np.exp(-0.55 * 2.0 * 0.7)
    for values in (VALIDATION, TEST):
        assert values[index(0, 0, 0, 3, 0, 0)] == pytest.approx(expected, abs=0.4)


def test_only_disconnected_cells_guess() -> None:
    for values in (VALIDATION, TEST):
        assert (values[~CONNECTED] == 10.0).all()
        assert values[CONNECTED].min() > 30.0
        assert values.max() < 96.0


def test_validation_and_test_accuracy_rank_cells_differently() -> None:
    difference = np.abs(VALIDATION - TEST)[CONNECTED]
    assert 0 < difference.max() <= 0.8
    best = np.argsort(-VALIDATION)[:100]
    assert (np.diff(TEST[best]) > 0).any()


def test_one_cell_in_25_is_supported_in_neither_metric() -> None:
    genes = all_genes()
    unsupported = (genes[:, 2] == OPERATIONS.index("avg_pool_3x3")) & (genes[:, 5] == OPERATIONS.index("none"))
    assert unsupported.sum() == SIZE // 25
    assert (np.isnan(LATENCY_MS) == unsupported).all()
    assert (np.isnan(ENERGY_MJ) == unsupported).all()
    assert (unsupported & CONNECTED).any()


def test_latency_has_ties_and_is_not_a_sum_over_edges() -> None:
    assert len(np.unique(LATENCY_MS[~np.isnan(LATENCY_MS)])) < 100
    alone = [LATENCY_MS[index(*(3 if edge == position else 0 for position in range(6)))] - 1.0 for edge in range(6)]
    assert LATENCY_MS[index(3, 3, 3, 3, 3, 3)] - 1.0 < sum(alone) - 0.5


def test_operations_interact() -> None:
    """Each of two edges on one path alone gains nothing, both together gain much."""
    nothing, first, second, both = (TEST[index(*genes)] for genes in [(0,) * 6, (3, 0, 0, 0, 0, 0), (0, 0, 0, 0, 3, 0), (3, 0, 0, 0, 3, 0)])
    assert nothing == first == second == 10.0
    assert both > 50.0


def test_the_table_lists_its_contents() -> None:
    assert (TABLE.space, TABLE.rows) == ("nasbench201", SIZE)
    assert accuracy.datasets(TABLE) == ["closed-form"]
    assert hardware.devices(TABLE, DATASET) == ["closed-form"]
    assert hardware.metrics(TABLE, DATASET, DEVICE) == ["latency_ms", "energy_mj"]
    assert accuracy.seeds(TABLE, DATASET, "validation") == []
