"""FBNet's chains: exact costs equal a plain count, and costs on devices equal HW-NAS-Bench's published sums."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetnas.spaces.chains import FBNet
from budgetnas.spaces.chains.complexity import Block, Convolution
from budgetnas.spaces.chains.fbnet_devices import NoDeviceCosts
from budgetnas.spaces.devices import UnknownDevice
from budgetnas.spaces.space import Architecture, Complexity, CostedOnDevices, HasCheapest, InvalidArchitecture, sample
from budgetnas.spaces.tables.columnar import Table, TableError
from budgetnas.spaces.tables.home import open_operators, table_path
from budgetnas.spaces.tables.operators import CIFAR, IMAGENET, OPERATORS, Skeleton, operator_keys, total_cost
from budgetnas.spaces.tables.upstream.importing import read
from budgetnas.spaces.task import TASKS, Task

SPACE = FBNet()
ZEROS = Architecture("fbnet", (0,) * 22)
COSTED = {"cifar10": CIFAR, "cifar100": CIFAR, "imagenet": IMAGENET}
BLOCKS = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))

genes = st.tuples(*[st.integers(0, 8)] * 22)
tasks = st.builds(Task, st.just("any"), st.integers(1, 300), st.integers(1, 4), st.integers(2, 1000))


def count(codes: tuple[int, ...], task: Task) -> Complexity:
    """Return the complexity counted layer by layer, convolution by convolution."""
    params = macs = 0

    def convolve(kernel: int, before: int, after: int, groups: int, side: int) -> None:
        nonlocal params, macs
        assert before % groups == 0 and after % groups == 0
        params += kernel * kernel * before * after // groups + 2 * after
        macs += kernel * kernel * before * after // groups * side * side

    large = task.image_size > 64
    strides, header = ([1, 2, 2, 2, 1, 2, 1], 1984) if large else ([1, 1, 2, 2, 1, 2, 1], 1504)
    side, channels, remaining = ((task.image_size + 1) // 2 if large else task.image_size), 16, list(codes)
    convolve(3, task.image_channels, 16, 1, side)
    for stride, after, layers in zip(strides, (16, 24, 32, 64, 112, 184, 352), (1, 4, 4, 4, 4, 4, 1), strict=True):
        for step in [stride] + [1] * (layers - 1):
            code, before, channels = remaining.pop(0), channels, after
            entering, side = side, (side + step - 1) // step
            if code < 8:
                kernel, expansion, groups = BLOCKS[code]
                convolve(1, before, expansion * before, groups, entering)
                convolve(kernel, expansion * before, expansion * before, expansion * before, side)
                convolve(1, expansion * before, after, groups, side)
            elif step == 2 or before != after:
                convolve(1, before, after, 1, side)
    convolve(1, 352, header, 1, side)
    return Complexity(params + (header + 1) * task.classes, macs + header * task.classes)


@given(codes=genes, task=tasks)
def test_complexity_equals_a_count_layer_by_layer(codes: tuple[int, ...], task: Task) -> None:
    assert SPACE.complexity(Architecture("fbnet", codes), task) == count(codes, task)


@given(codes=genes)
def test_element_costs_add_up_to_the_network(codes: tuple[int, ...]) -> None:
    """The cost at one position does not depend on the other positions."""
    task = TASKS["cifar100"]
    elements = [SPACE.element_cost(position, code, task) for position, code in enumerate(codes)]
    skips = [SPACE.element_cost(position, 8, task) for position in range(22)]
    full, base = SPACE.complexity(Architecture("fbnet", codes), task), SPACE.complexity(SPACE.identity, task)
    for name in ("params", "macs"):
        assert getattr(full, name) - getattr(base, name) == sum(element[name] for element in elements) - sum(skip[name] for skip in skips)


def test_a_skip_is_the_identity_if_it_keeps_the_shape_else_a_1x1_convolution() -> None:
    stem, *skips, header = SPACE.parts(SPACE.identity, TASKS["cifar100"])
    assert all(isinstance(skip, Convolution) and skip.kernel == 1 for skip in skips)
    shapes = [(skip.at.side, skip.at.channels_in, skip.at.channels_out, skip.at.stride) for skip in skips]
    assert shapes == [(32, 16, 24, 1), (32, 24, 32, 2), (16, 32, 64, 2), (8, 64, 112, 1), (8, 112, 184, 2), (4, 184, 352, 1)]
    assert isinstance(stem, Convolution) and isinstance(header, Convolution) and header.at.channels_out == 1504


def test_a_block_adds_its_input_if_shapes_are_equal() -> None:
    blocks = [part for part in SPACE.parts(ZEROS, TASKS["imagenet"]) if isinstance(part, Block)]
    changes = {1, 5, 9, 13, 17, 21}  # the first position of every stage except the first stage
    assert [block.shortcut for block in blocks] == ["none" if position in changes else "identity" for position in range(22)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 8", "3 codes are given; 'fbnet' has 22 positions: 0 to 7 are blocks, 8 is the skip"),
        (" ".join(["0"] * 21 + ["9"]), "position 21 is '9'"),
        ("skip " * 22, "position 0 is 'skip'; 'fbnet' takes one code per position"),
    ],
)
def test_a_text_that_is_not_a_chain_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=re.escape(message)):
        SPACE.decode(text)


# --- devices -----------------------------------------------------------------------------------------------------------------------------


def keys_of(skeleton: Skeleton, codes: tuple[int, ...], classes: int) -> list[str]:
    stem, *header = skeleton.fixed_keys(classes)
    return [stem, *(layer.key(code) for layer, code in zip(skeleton.layers(), codes, strict=True)), *header]


@pytest.fixture(scope="module")
def rebuilt(real_data: Path) -> Table:
    return read(real_data / "rebuilt" / "HW-NAS-Bench-v1_0.rebuilt.pickle")[OPERATORS]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def made_up(home: Path) -> Table:
    """A table of invented costs of the operators on two devices, one of which does not support the skips."""
    random = np.random.default_rng(3).uniform(0.1, 3.0, (3, len(operator_keys())))
    random[2, [key.startswith("Skip_") for key in operator_keys()]] = math.nan
    columns = dict(zip(("latency_ms/edgegpu", "energy_mj/edgegpu", "latency_ms/raspi4"), random, strict=True))
    table = Table.from_columns(OPERATORS, columns, dict.fromkeys(columns, "made up"))
    table.write(table_path(OPERATORS))
    return table


def test_the_all_zero_chain_has_the_published_costs(rebuilt: Table, home: Path) -> None:
    rebuilt.write(table_path(OPERATORS))
    task = TASKS["cifar100"]
    assert SPACE.devices(task) == SPACE.devices(TASKS["imagenet"]) == ("edgegpu", "raspi4", "pixel3", "eyeriss", "fpga")
    assert SPACE.device_cost(ZEROS, task, "raspi4") == {"latency_ms": 17.618579145142576}
    assert SPACE.device_cost(ZEROS, task, "pixel3") == {"latency_ms": 7.788973100000002}
    assert SPACE.device_cost(ZEROS, task, "edgegpu") == {"latency_ms": 15.804523468017578, "energy_mj": 86.98095934380125}
    assert SPACE.device_cost(ZEROS, task, "fpga")["latency_ms"] == 10.739520000000002


def test_a_cost_is_the_sum_over_the_operators(rebuilt: Table, home: Path) -> None:
    rebuilt.write(table_path(OPERATORS))
    rng = np.random.default_rng(8)
    for dataset, skeleton in COSTED.items():
        task = TASKS[dataset]
        for _ in range(20):
            codes = tuple(rng.integers(0, 9, 22).tolist())
            for device in SPACE.devices(task):
                for resource, cost in SPACE.device_cost(Architecture("fbnet", codes), task, device).items():
                    assert cost == total_cost(rebuilt, resource, device, keys_of(skeleton, codes, task.classes))


def test_costs_from_an_invented_table(made_up: Table) -> None:
    assert isinstance(SPACE, CostedOnDevices)
    task, codes = TASKS["imagenet"], (0, 1, 2, 3, 4, 5, 6, 7, 8) * 2 + (1, 3, 5, 7)
    arch, keys = Architecture("fbnet", codes), keys_of(IMAGENET, codes, 1000)
    assert SPACE.devices(task) == ("edgegpu", "raspi4")
    expected = {resource: total_cost(made_up, resource, "edgegpu", keys) for resource in ("latency_ms", "energy_mj")}
    assert SPACE.device_cost(arch, task, "edgegpu") == expected
    assert math.isnan(SPACE.device_cost(arch, task, "raspi4")["latency_ms"])
    assert SPACE.device_cost(ZEROS, task, "raspi4")["latency_ms"] > 0


def test_the_cost_of_an_element_is_the_cost_of_its_operator(made_up: Table) -> None:
    task, layers = TASKS["cifar10"], list(CIFAR.layers())
    for position in range(22):
        for code in range(9):
            cost = SPACE.element_cost(position, code, task, "edgegpu")
            assert list(cost) == ["params", "macs", "latency_ms", "energy_mj"]
            assert cost["energy_mj"] == total_cost(made_up, "energy_mj", "edgegpu", [layers[position].key(code)])
    for position, code in ((22, 0), (-1, 0), (0, 9), (0, -1)):
        with pytest.raises(InvalidArchitecture, match="'fbnet'"):
            SPACE.element_cost(position, code, task, "edgegpu")


def test_a_changed_table_on_disk_is_read_again(made_up: Table) -> None:
    before = SPACE.device_cost(ZEROS, TASKS["cifar10"], "edgegpu")
    columns = {name: 2 * made_up.column(name) for name in made_up}
    Table.from_columns(OPERATORS, columns, dict.fromkeys(columns, "made up")).write(table_path(OPERATORS))
    after = SPACE.device_cost(ZEROS, TASKS["cifar10"], "edgegpu")
    assert after == pytest.approx({name: 2 * value for name, value in before.items()})


@pytest.mark.parametrize("task", [*(t for name, t in TASKS.items() if name not in COSTED), Task("cifar10", 16, 3, 10)], ids=str)
def test_a_task_that_was_not_measured_is_refused(task: Task, made_up: Table) -> None:
    assert SPACE.devices(task) == ()
    with pytest.raises(
        NoDeviceCosts, match=rf"no fbnet network for {task.dataset} .*; costs on devices are known for cifar10, cifar100, im"
    ):
        SPACE.device_cost(ZEROS, task, "edgegpu")


def test_a_device_without_costs_is_refused_and_the_others_are_listed(made_up: Table) -> None:
    with pytest.raises(UnknownDevice, match="no costs on edgetpu; choose one of edgegpu, raspi4"):
        SPACE.device_cost(ZEROS, TASKS["cifar10"], "edgetpu")
    with pytest.raises(UnknownDevice, match="unknown device 'tpu'; choose one of edgegpu, "):
        SPACE.device_cost(ZEROS, TASKS["cifar10"], "tpu")


def test_without_a_table_the_error_names_the_remedy(home: Path) -> None:
    assert SPACE.devices(TASKS["cifar10"]) == ()
    with pytest.raises(TableError, match=r"run `budgetnas data import HW-NAS-Bench-v1_0\.pickle`"):
        SPACE.device_cost(ZEROS, TASKS["cifar10"], "edgegpu")


def test_a_table_of_another_space_under_the_name_of_the_operators_is_refused(home: Path) -> None:
    Table.from_columns("elsewhere", {"latency_ms/edgegpu": np.ones(3)}, {"latency_ms/edgegpu": "made up"}).write(table_path(OPERATORS))
    with pytest.raises(TableError, match=r"fbnet-operators\.parquet is a table of elsewhere; move it away"):
        open_operators()


def test_the_cost_of_an_invalid_chain_is_refused(made_up: Table) -> None:
    with pytest.raises(InvalidArchitecture):
        SPACE.device_cost(Architecture("fbnet", (9,) * 22), TASKS["cifar10"], "edgegpu")


@given(genes=genes, task=tasks)
def test_no_chain_is_cheaper_than_the_cheapest(genes: tuple[int, ...], task: Task) -> None:
    assert isinstance(SPACE, HasCheapest)
    for resource in ("params", "macs"):
        drawn, least = (SPACE.complexity(arch, task) for arch in (Architecture("fbnet", genes), SPACE.cheapest(resource, task)))
        assert getattr(least, resource) <= getattr(drawn, resource)


def test_the_cheapest_is_below_the_chain_of_skips() -> None:
    """If the shape changes, the skip is a convolution, and a grouped block costs less."""
    task = TASKS["cifar100"]
    cheapest = SPACE.cheapest("params", task)
    assert SPACE.complexity(cheapest, task).params == 764_220 < SPACE.complexity(SPACE.identity, task).params == 780_660
    assert set(cheapest.genes) == {1, 8}


def test_the_cheapest_chain_on_a_device_is_supported_there(made_up: Table) -> None:
    task = TASKS["cifar100"]
    for device, resource in (("edgegpu", "latency_ms"), ("edgegpu", "energy_mj"), ("raspi4", "latency_ms")):
        least = SPACE.device_cost(SPACE.cheapest(resource, task, device), task, device)[resource]
        rng = np.random.default_rng(5)
        drawn = [SPACE.device_cost(sample(SPACE, rng), task, device)[resource] for _ in range(500)]
        assert math.isfinite(least) and least <= np.nanmin(drawn, initial=math.inf)
