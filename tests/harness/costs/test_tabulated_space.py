"""The arrays of a tabulated space: their values, unknown names, and the accuracies of a single training seed."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from budgetnas.harness.costs import tabulated_space as tabulated_spaces
from budgetnas.harness.costs.tabulated_space import NotEnumerable, TabulatedSpace, UnknownResource, finite, tabulated_space_of
from budgetnas.spaces.devices import DEVICES, UnknownDevice
from budgetnas.spaces.nasbench201.small_network import cycles
from budgetnas.spaces.registry import UnknownSpace
from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.task import UnknownDataset

CLOSED_FORM = tabulated_space_of("nasbench201", "closed-form", "closed-form")
WITHOUT_DEVICE = tabulated_space_of("nasbench201", "closed-form")
MakeTabulatedSpace = Callable[..., TabulatedSpace]
NAN = math.nan


def test_tabulated_space_is_cached() -> None:
    assert tabulated_space_of("nasbench201", "closed-form", "closed-form") is CLOSED_FORM
    assert tabulated_space_of("nasbench201", "closed-form") is WITHOUT_DEVICE


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("nasbench", "cifar10"), UnknownSpace, "unknown space 'nasbench'; choose one of nasbench201"),
        (("nasbench201", "cifar"), UnknownDataset, "unknown dataset 'cifar'"),
        (("nasbench201", "closed-form", "tpu"), UnknownDevice, "unknown device 'tpu'; choose one of edgegpu, raspi4"),
        (
            ("nasbench201", "closed-form", "pixel3"),
            UnknownDevice,
            "device 'pixel3' is not known for closed-form; its table has closed-form",
        ),
    ],
)
def test_error_for_an_unknown_name_lists_the_known_ones(arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tabulated_space_of(*arguments)


def test_error_for_a_missing_table_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    with pytest.raises(TableError, match="run `budgetnas data fetch`"):
        tabulated_space_of("nasbench201", "cifar10")


def test_a_space_too_large_to_be_listed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabulated_spaces, "space_of", lambda name: object())
    with pytest.raises(NotEnumerable, match="'large' cannot all be listed"):
        tabulated_space_of("large", "closed-form")


def test_resources_of_the_device_come_before_those_of_the_network(real_tables: object) -> None:
    assert CLOSED_FORM.resources == ("latency_ms", "energy_mj", "params", "macs")
    assert WITHOUT_DEVICE.resources == ("params", "macs")
    for name, device in DEVICES.items():
        if name not in ("closed-form", "amd-epyc"):
            assert tabulated_space_of("nasbench201", "cifar100", name).resources == (*device.metrics, "params", "macs")


def test_unknown_resources_are_refused(real_tables: object) -> None:
    with pytest.raises(UnknownResource, match="unknown resource 'flops'; choose one of latency_ms, energy_mj, params, macs, cycles"):
        CLOSED_FORM.resource("flops")
    with pytest.raises(UnknownResource, match="cycles are not known on closed-form; limit one of latency_ms, energy_mj, params, macs"):
        CLOSED_FORM.resource("cycles")
    with pytest.raises(UnknownResource, match="latency_ms needs a device; name a device"):
        WITHOUT_DEVICE.resource("latency_ms")
    with pytest.raises(UnknownDevice, match="device 'raspi4' has no energy_mj; it has latency_ms"):
        tabulated_space_of("nasbench201", "cifar10", "raspi4").resource("energy_mj")


def test_cycles_are_a_resource_if_the_table_has_them() -> None:
    shipped = tabulated_space_of("nasbench201", "digits201", "amd-epyc")
    assert shipped.resources == ("latency_ms", "params", "macs", "cycles")
    assert tabulated_space_of("nasbench201", "digits201").resources == ("params", "macs", "cycles")
    assert shipped.cost_at(15_624)["cycles"] == cycles()[15_624]


def test_complexity_equals_that_of_the_space() -> None:
    space, task = CLOSED_FORM.space, CLOSED_FORM.task
    for index in range(0, space.size, 1_111):
        complexity = space.complexity(space.at(index), task)
        cost = WITHOUT_DEVICE.cost_at(index)
        assert cost == {"params": complexity.params, "macs": complexity.macs}
        assert CLOSED_FORM.architecture(index) == space.at(index)


@pytest.mark.parametrize("wrong", [-1.0, float("inf")])
def test_impossible_cost_is_refused_with_its_index(made_up: MakeTabulatedSpace, wrong: float) -> None:
    with pytest.raises(TableError, match=rf"latency_ms of .* is {wrong:g} for architecture 2; a cost must be 0 or more, or NaN if"):
        made_up([90.0] * 4, latency_ms=[1.0, float("nan"), wrong, 2.0]).eligible  # noqa: B018


def test_eligible_is_connected_and_supported_in_every_metric(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[1.0] * 4, connected=[True, False, True, True], latency_ms=[1, 1, NAN, 1], energy_mj=[1, 1, 1, NAN])
    assert tabulated.eligible.tolist() == [True, False, False, False]
    alone = made_up(test=[1.0] * 4, connected=[True, False, True, True], latency_ms=[1, 1, NAN, 1], energy_mj=[1, 1, 1, NAN], device=None)
    assert alone.eligible.tolist() == [True, False, True, True]


def test_admitted_does_not_change_the_masks() -> None:
    before = CLOSED_FORM.eligible.copy()
    CLOSED_FORM.admitted([])[:] = False
    assert (CLOSED_FORM.eligible == before).all() and before.any()
    assert WITHOUT_DEVICE.space.connected_mask().sum() == 15_625 - 341  # type: ignore[attr-defined]


def test_training_seed_is_the_search_seed_modulo_the_number_of_training_seeds(made_up: MakeTabulatedSpace) -> None:
    seeds = {777: [10.0, NAN, 12.0, NAN], 888: [20.0, 21.0, NAN, NAN], 999: [30.0, 31.0, 32.0, NAN]}
    tabulated = made_up(test=[1.0] * 4, validation=[20.0, 26.0, 22.0, 50.0], seeds=seeds)
    expected = {0: [10.0, 21.0, 12.0, 50.0], 1: [20.0, 31.0, 32.0, 50.0], 2: [30.0, 21.0, 12.0, 50.0], 3: [10.0, 31.0, 32.0, 50.0]}
    for search_seed, values in expected.items():
        assert tabulated.validation_of_seed(search_seed).tolist() == values
        assert tabulated.validation_of_seed(search_seed + 6).tolist() == values


def test_table_of_means_returns_means_for_every_seed(made_up: MakeTabulatedSpace) -> None:
    tabulated = made_up(test=[1.0, 2.0], validation=[3.0, 4.0])
    assert tabulated.validation_of_seed(5).tolist() == [3.0, 4.0]


def test_cifar100_has_the_training_seconds_of_cifar10(real_tables: object) -> None:
    """Both have the same number of training images, of the same size; only one of the two times was published."""
    one, other, third = (
        tabulated_space_of("nasbench201", dataset).training_seconds for dataset in ("cifar10", "cifar100", "ImageNet16-120")
    )
    assert (one == other).all()
    assert not np.array_equal(one, third)
    assert one.min() > 0


def test_real_figures_are_the_upstream_ones(real_tables: object) -> None:
    """The architecture with index 0, as the upstream files have it."""
    assert tabulated_space_of("nasbench201", "cifar10").test[0] == pytest.approx(85.86333333333334, abs=1e-12)
    assert tabulated_space_of("nasbench201", "cifar100").test[0] == pytest.approx(52.913333294677734, abs=1e-12)
    assert tabulated_space_of("nasbench201", "ImageNet16-120").test[0] == pytest.approx(26.6333332739936, abs=1e-12)
    fpga = tabulated_space_of("nasbench201", "cifar10", "fpga")
    assert fpga.resource("energy_mj") == pytest.approx(7 * fpga.resource("latency_ms"), rel=1e-9)


def test_finite_replaces_nan_and_keeps_counts_as_integers() -> None:
    plain = finite({"latency_ms": NAN, "energy_mj": 2.5, "params": 73_306.0, "macs": 7_783_040.0})
    assert plain == {"latency_ms": None, "energy_mj": 2.5, "params": 73_306, "macs": 7_783_040}
    assert type(plain["params"]) is int and type(plain["macs"]) is int
