"""HW-NAS-Bench's original file, with both of its spaces."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.tables.columnar import Table, TableError
from budgetnas.spaces.tables.operators import BLOCKS, CIFAR, IMAGENET, OPERATORS, operator_keys, total_cost
from budgetnas.spaces.tables.upstream.convert import read_hardware
from budgetnas.spaces.tables.upstream.importing import read

SPACE = NASBench201()
METRICS = [
    "edgegpu_latency", "edgegpu_energy", "raspi4_latency", "edgetpu_latency", "pixel3_latency",
    "eyeriss_latency", "eyeriss_energy", "eyeriss_arithmetic_intensity", "fpga_latency", "fpga_energy",
]  # fmt: skip


@pytest.fixture(scope="module")
def rebuilt(real_data: Path) -> dict[str, Table]:
    return read(real_data / "rebuilt" / "HW-NAS-Bench-v1_0.rebuilt.pickle")


def cifar_keys(codes: list[int]) -> list[str]:
    """Return the operators of an architecture's network for CIFAR-100, from first to last."""
    stem, *header = CIFAR.fixed_keys(100)
    return [stem, *(layer.key(code) for layer, code in zip(CIFAR.layers(), codes, strict=True)), *header]


def test_the_costs_of_cells_equal_those_of_the_downloaded_files(rebuilt: dict[str, Table], real_data: Path) -> None:
    expected: dict[str, Any] = {}
    for path in (real_data / "mirror").rglob("hw_*.csv"):
        expected |= read_hardware(path, path.stem.removeprefix("hw_"))
    assert set(rebuilt["nasbench201"]) == set(expected) and len(expected) == 27
    for name, column in expected.items():
        np.testing.assert_array_equal(rebuilt["nasbench201"].column(name), column)
    assert int(np.isnan(rebuilt["nasbench201"].column("latency_ms/cifar10/edgetpu")).sum()) == 4_699


def test_fbnet_reproduces_the_published_sums(rebuilt: dict[str, Table]) -> None:
    table, keys = rebuilt[OPERATORS], cifar_keys([0] * 22)
    assert total_cost(table, "latency_ms", "raspi4", keys) == 17.618579145142576
    assert total_cost(table, "latency_ms", "pixel3", keys) == 7.788973100000002
    assert total_cost(table, "latency_ms", "edgegpu", keys) == 15.804523468017578
    assert total_cost(table, "energy_mj", "edgegpu", keys) == 86.98095934380125
    assert total_cost(table, "latency_ms", "fpga", keys) == 10.739520000000002


def test_operators_are_written_and_read_as_a_table(rebuilt: dict[str, Table], tmp_path: Path) -> None:
    rebuilt[OPERATORS].write(tmp_path / "fbnet-operators.parquet")
    table = Table.open(tmp_path / "fbnet-operators.parquet")
    assert table.checksum == rebuilt[OPERATORS].checksum and table.space == "fbnet-operators" and table.rows == 225
    assert sorted(table) == [
        "energy_mj/edgegpu", "energy_mj/eyeriss", "energy_mj/fpga", "latency_ms/edgegpu",
        "latency_ms/eyeriss", "latency_ms/fpga", "latency_ms/pixel3", "latency_ms/raspi4",
    ]  # fmt: skip
    with pytest.raises(TableError, match=r"no latency_ms on edgetpu; the table has energy_mj/edgegpu, "):
        total_cost(table, "latency_ms", "edgetpu", [])
    with pytest.raises(TableError, match="no operator 'Skip_H1'"):
        total_cost(table, "latency_ms", "pixel3", ["Skip_H1"])


def test_operator_keys_follow_from_the_network() -> None:
    keys = operator_keys()
    assert len(keys) == len(set(keys)) == 225 and list(keys) == sorted(keys)
    assert len(list(CIFAR.layers())) == len(list(IMAGENET.layers())) == 22
    for codes in ([0] * 22, [8] * 22, [code % 9 for code in range(22)]):
        assert set(cifar_keys(codes)) <= set(keys)
    last = list(IMAGENET.layers())[-1]
    assert last.key(len(BLOCKS)) == "Skip_H7_W7_Cin184_Cout352_stride1"
    assert last.key(7) == "ConvBlock_H7_W7_Cin184_Cout352_exp6_kernel5_stride1_group1"


# --- small variations of the layout, with invented figures -------------------------------------------------------------------------------


def content() -> dict[str, Any]:
    cells = [
        {"name": "infer.tiny", "C": 16, "N": 5, "arch_str": SPACE.encode(SPACE.at(index)), "num_classes": 10} for index in range(SPACE.size)
    ]
    figures: dict[str, Any] = {metric: [position + index / 1e5 for index in range(SPACE.size)] for position, metric in enumerate(METRICS)}
    figures["edgetpu_latency"][3] = -1
    operators = {metric: {key: 1.0 + row for row, key in enumerate(operator_keys())} for metric in METRICS}
    return {"nasbench201": {"cifar10": {"config": cells, **figures}}, "fbnet": operators}


@pytest.fixture(scope="module")
def invented() -> bytes:
    return pickle.dumps(content(), 4)


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickle.dumps(value, 4))
    return path


def test_every_figure_has_its_place_in_the_table(invented: bytes, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    tables = read(written(tmp_path, pickle.loads(invented)), lambda done, total: steps.append((done, total)))
    cells, operators = tables["nasbench201"], tables[OPERATORS]
    assert cells.column("latency_ms/cifar10/pixel3")[15_000] == 4.15 and cells.column("energy_mj/cifar10/fpga")[0] == 9
    assert math.isnan(cells.column("latency_ms/cifar10/edgetpu")[3]) and cells.column("latency_ms/cifar10/edgetpu")[2] == 3.00002
    assert operators.column("latency_ms/edgetpu").tolist() == [1.0 + row for row in range(225)]
    assert steps[-1] == (SPACE.size, SPACE.size) and set(cells.sources.values()) == {"HW-NAS-Bench-v1_0.pickle"}


@pytest.mark.parametrize("space", ["nasbench201", "fbnet"])
def test_a_file_with_one_space_is_read(space: str, invented: bytes, tmp_path: Path) -> None:
    assert len(read(written(tmp_path, {space: pickle.loads(invented)[space]}))) == 1


def swap_cells(file: Any) -> None:
    cells = file["nasbench201"]["cifar10"]["config"]
    cells[5], cells[6] = cells[6], cells[5]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (swap_cells, "expected cell 5"),
        (lambda file: file["nasbench201"]["cifar10"].pop("config"), "config is not a list of 15625 cells"),
        (lambda file: file["nasbench201"]["cifar10"]["config"].pop(), "config is not a list of 15625 cells"),
        (lambda file: file["nasbench201"]["cifar10"].pop("fpga_latency"), "has no fpga_latency"),
        (lambda file: file["nasbench201"]["cifar10"]["fpga_latency"].pop(), "fpga_latency is not a list of 15625 numbers"),
        (lambda file: file["nasbench201"]["cifar10"]["fpga_latency"].__setitem__(9, "4"), "cell 9 is '4'"),
        (lambda file: file["nasbench201"]["cifar10"]["fpga_latency"].__setitem__(9, -2.0), "cell 9 is -2.0"),
        (lambda file: file["nasbench201"]["cifar10"]["fpga_latency"].__setitem__(9, math.nan), "cell 9 is nan"),
        (lambda file: file["nasbench201"].__setitem__("svhn", {}), "'svhn'; the known datasets are"),
        (lambda file: file.__setitem__("nasbench201", {}), "no dataset under 'nasbench201'"),
        (lambda file: file.__setitem__("nasbench201", [1]), "nasbench201 is a value of type list"),
        (lambda file: file["fbnet"]["raspi4_latency"].pop("FC_Cin1504_Cout10"), "'FC_Cin1504_Cout10' is missing or unknown"),
        (lambda file: file["fbnet"]["raspi4_latency"].__setitem__("FC", 1.0), "'FC' is missing or unknown"),
        (lambda file: file["fbnet"]["raspi4_latency"].__setitem__("FC_Cin1504_Cout10", None), "FC_Cin1504_Cout10 is None"),
        (lambda file: file.__setitem__("fbnet", {}), "no costs under 'fbnet'"),
    ],
)
def test_another_layout_is_refused_in_one_line_that_names_the_place(
    spoil: Callable[[Any], object], message: str, invented: bytes, tmp_path: Path
) -> None:
    file = pickle.loads(invented)
    spoil(file)
    path = written(tmp_path, file)
    with pytest.raises(TableError) as error:
        read(path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
