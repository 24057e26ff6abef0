"""Conversion of upstream files into a table: published facts about the real files, and refusals of damaged or other files."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.nasbench201.order import EDGES, SIZE
from budgetnas.spaces.tables.accuracy import accuracy_column, datasets, training_seconds
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.hardware import cost_column, device_cost, devices, metrics
from budgetnas.spaces.tables.upstream.convert import (
    READERS,
    convert,
    read_hardware,
    read_test_accuracy,
    read_training_seconds,
    read_validation_accuracy,
)
from budgetnas.spaces.tables.upstream.fetch import manifest
from budgetnas.spaces.task import task_of

pytestmark = pytest.mark.slow

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
SPACE = NASBench201()


@pytest.fixture(scope="module")
def mirror(real_data: Path) -> Path:
    return real_data / "mirror"


@pytest.fixture(scope="module")
def table(mirror: Path) -> Table:
    return convert({entry.path: mirror / entry.path for entry in manifest() if not entry.optional})


def upstream(mirror: Path, name: str) -> Path:
    return next(mirror.rglob(name))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


# The real files.


def test_every_file_of_the_manifest_has_a_reader() -> None:
    assert {entry.path.rsplit("/", 1)[-1] for entry in manifest() if not entry.optional} == set(READERS)


@pytest.mark.parametrize(
    ("dataset", "split", "best", "index"),
    [
        ("cifar10", "test", 94.37, 6111),
        ("cifar100", "test", 73.51, 9930),
        ("ImageNet16-120", "test", 47.31, 857),
        ("cifar10", "validation", 91.61, 6111),
        ("cifar100", "validation", 73.49, 9930),
        ("ImageNet16-120", "validation", 46.73, 10676),
    ],
)
def test_the_best_cells_are_the_published_ones(table: Table, dataset: str, split: str, best: float, index: int) -> None:
    accuracy = table.column(accuracy_column(dataset, split))  # type: ignore[arg-type]
    assert accuracy.argmax() == index
    assert round(float(accuracy.max()), 2) == best
    assert accuracy.min() > 0.0


def test_the_table_has_all_datasets_devices_and_metrics(table: Table) -> None:
    assert (table.space, table.rows, len(list(table))) == ("nasbench201", SIZE, 6 + 27 + 2)
    assert set(datasets(table)) == set(DATASETS)
    for dataset in DATASETS:
        assert devices(table, dataset) == ["edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga"]
        with_energy = [device for device in devices(table, dataset) if "energy_mj" in metrics(table, dataset, device)]
        assert with_energy == ["edgegpu", "eyeriss", "fpga"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_edgetpu_lacks_4699_cells_including_all_disconnected_ones(table: Table, dataset: str) -> None:
    latency_ms = device_cost(table, "latency_ms", dataset, "edgetpu")
    unsupported = np.isnan(latency_ms)
    assert unsupported.sum() == 4699
    assert (~SPACE.connected_mask()).sum() == 341 and unsupported[~SPACE.connected_mask()].all()
    assert (latency_ms[~unsupported] > 0.0).all()


@pytest.mark.parametrize("dataset", DATASETS)
def test_all_other_devices_have_every_cell(table: Table, dataset: str) -> None:
    for device in devices(table, dataset):
        for resource in metrics(table, dataset, device):
            cost = device_cost(table, resource, dataset, device)
            assert device == "edgetpu" or (cost > 0.0).all(), (device, resource)


@pytest.mark.parametrize("dataset", DATASETS)
def test_fpga_energy_is_seven_times_its_latency(table: Table, dataset: str) -> None:
    np.testing.assert_allclose(
        device_cost(table, "energy_mj", dataset, "fpga"), 7.0 * device_cost(table, "latency_ms", dataset, "fpga"), rtol=1e-9
    )


def additive_residual(cost: Column) -> float:
    """Return the largest distance of a cost from a sum over edges, relative to its range (least squares on the 30 indicators)."""
    genes = np.array([SPACE.at(index).genes for index in range(SIZE)])
    indicators = np.concatenate([genes == operation for operation in range(5)], axis=1).astype(float)
    fit = indicators @ np.linalg.lstsq(indicators, cost, rcond=None)[0]
    return float(np.abs(fit - cost).max() / np.ptp(cost))


def test_eyeriss_is_additive_over_edges_and_edgegpu_is_not(table: Table) -> None:
    # This fails if the costs of two cells are exchanged, so it shows that the rows have the right order.
    for dataset in DATASETS:
        assert additive_residual(device_cost(table, "latency_ms", dataset, "eyeriss")) < 1e-9
    assert additive_residual(device_cost(table, "latency_ms", "cifar10", "fpga")) < 1e-9
    assert additive_residual(device_cost(table, "latency_ms", "cifar10", "edgegpu")) > 0.05


def test_estimated_devices_have_few_different_latencies(table: Table) -> None:
    for dataset in DATASETS:
        assert len(np.unique(np.round(device_cost(table, "latency_ms", dataset, "eyeriss"), 9))) < 100
        assert len(np.unique(np.round(device_cost(table, "latency_ms", dataset, "fpga"), 9))) < 100


@pytest.mark.parametrize(
    ("name", "dataset"), [("Cifar10-NB201.csv", "cifar10"), ("Cifar100-NB201.csv", "cifar100"), ("ImageNet-NB201.csv", "ImageNet16-120")]
)
def test_validation_rows_belong_to_their_cells(mirror: Path, name: str, dataset: str) -> None:
    # The validation files do not name cells, but have parameter counts, which identify cells up to ties.
    stated = [int(row["num_param"]) for row in rows_of(upstream(mirror, name))]
    np.testing.assert_array_equal(stated, SPACE.complexities(task_of(dataset))[0])


@pytest.mark.parametrize(("name", "dataset"), [("cifar10_perfmetrics.txt", "cifar10"), ("imagenet_perfmetrics.txt", "ImageNet16-120")])
def test_training_times_belong_to_their_cells_and_are_of_200_epochs(mirror: Path, table: Table, name: str, dataset: str) -> None:
    plain = np.loadtxt(upstream(mirror, name))
    np.testing.assert_allclose(plain[:, 3], 200.0 * plain[:, 2], rtol=1e-6)
    np.testing.assert_array_equal(training_seconds(table, dataset), plain[:, 3])
    # A copy of the same benchmark by another project. Its accuracy for ImageNet16-120 is on other images, so it is close, but not equal.
    np.testing.assert_allclose(plain[:, 1], table.column(accuracy_column(dataset, "test")), atol=1e-6 if dataset == "cifar10" else 1.5)


def test_cifar100_training_time_is_cifar10s(table: Table) -> None:
    np.testing.assert_array_equal(training_seconds(table, "cifar100"), training_seconds(table, "cifar10"))


@pytest.mark.parametrize("index", [0, 1, 857, 6111, 9930, 15624])
def test_values_equal_those_in_the_files_bit_by_bit(mirror: Path, table: Table, index: int) -> None:
    hardware = rows_of(upstream(mirror, "hw_ImageNet16-120.csv"))[index]
    assert device_cost(table, "latency_ms", "ImageNet16-120", "pixel3")[index] == float(hardware["pixel3_latency"])
    assert device_cost(table, "energy_mj", "ImageNet16-120", "edgegpu")[index] == float(hardware["edgegpu_energy"])
    test = rows_of(upstream(mirror, "nats_bench.csv"))[index]
    assert table.column(accuracy_column("cifar100", "test"))[index] == float(test["CIFAR100TestAccuracy200Epochs"])
    validation = rows_of(upstream(mirror, "Cifar100-NB201.csv"))[index]
    assert table.column(accuracy_column("cifar100", "validation"))[index] == 100.0 * float(validation["accuracy"])


def test_sources_are_the_upstream_paths(table: Table) -> None:
    assert set(table.sources.values()) == {entry.path for entry in manifest() if not entry.optional}
    assert table.sources[cost_column("latency_ms", "cifar10", "fpga")].endswith("/data/hw_cifar10.csv")


# Invented files in the upstream layouts, so that damage is tested also on machines without the real files.

DEVICE_COLUMNS = [
    *("edgegpu_latency", "edgegpu_energy", "raspi4_latency", "edgetpu_latency", "pixel3_latency"),
    *("eyeriss_latency", "eyeriss_energy", "eyeriss_arithmetic_intensity", "fpga_latency", "fpga_energy"),
]
HARDWARE_CODES = {"skip_connect": 0, "none": 1, "nor_conv_3x3": 2, "nor_conv_1x1": 3, "avg_pool_3x3": 4}


def hardware_code(index: int) -> str:
    """Return the code of a cell in the `net` column, with the documented order of edges: 0-1, 0-2, 0-3, 1-2, 1-3, 2-3."""
    genes = dict(zip(EDGES, SPACE.at(index).genes, strict=True))
    return str(tuple(HARDWARE_CODES[SPACE.operations[genes[edge]]] for edge in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))))


def hardware_lines() -> list[str]:
    lines = ["net," + ",".join(DEVICE_COLUMNS)]
    for index in range(SIZE):
        values = [f"{index + 1}.{column}" for column in range(len(DEVICE_COLUMNS))]
        values[3] = "-1" if index % 3 == 0 else values[3]
        lines.append(f'"{hardware_code(index)}",' + ",".join(values))
    return lines


def test_accuracy_lines() -> list[str]:
    head = "CIFAR10TestAccuracy200Epochs,CIFAR100TestAccuracy200Epochs,ImageNetTestAccuracy200Epochs,ArchitectureString,UniqueString"
    return [head, *(f"{index / 200},{index / 300},{index / 400},{SPACE.encode(SPACE.at(index))},u" for index in range(SIZE))]


def validation_lines() -> list[str]:
    return [",index,num_param,score,accuracy,score_naswot", *(f"{i},{i},1,0.5,{i / 20000},2" for i in range(SIZE))]


def seconds_lines() -> list[str]:
    head = "# ArchitectureIdx, Test-Accuracy, TrainingTime(xEpoch), TrainingTime(total)"
    return [head, *(f"{float(i):.18e} 9.0e+01 {i + 1.0:.18e} {200 * (i + 1.0):.18e}" for i in range(SIZE))]


test_accuracy_lines.__test__ = False  # type: ignore[attr-defined]

Read = Callable[[Path], dict[str, Column]]
KINDS: dict[str, tuple[Callable[[], list[str]], Read]] = {
    "hardware": (hardware_lines, lambda path: read_hardware(path, "cifar10")),
    "test accuracy": (test_accuracy_lines, read_test_accuracy),
    "validation accuracy": (validation_lines, lambda path: read_validation_accuracy(path, "cifar10")),
    "training seconds": (seconds_lines, lambda path: read_training_seconds(path, "cifar10")),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[list[str], Read]:
    write, read = KINDS[request.param]
    return write(), read


def written(lines: list[str], folder: Path) -> Path:
    path = folder / "upstream.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_invented_files_are_read_exactly(tmp_path: Path) -> None:
    columns = read_hardware(written(hardware_lines(), tmp_path), "cifar10")
    assert len(columns) == 9
    np.testing.assert_array_equal(columns["energy_mj/cifar10/fpga"], np.arange(1, SIZE + 1) + 0.9)
    np.testing.assert_array_equal(np.isnan(columns["latency_ms/cifar10/edgetpu"]), np.arange(SIZE) % 3 == 0)
    columns = read_test_accuracy(written(test_accuracy_lines(), tmp_path))
    np.testing.assert_array_equal(columns["accuracy/ImageNet16-120/test/200"], np.arange(SIZE) / 400)
    columns = read_validation_accuracy(written(validation_lines(), tmp_path), "cifar100")
    np.testing.assert_array_equal(columns["accuracy/cifar100/validation/200"], 100.0 * (np.arange(SIZE) / 20000))
    columns = read_training_seconds(written(seconds_lines(), tmp_path), "cifar10")
    np.testing.assert_array_equal(columns["training_seconds/cifar10/200"], 200.0 * np.arange(1, SIZE + 1))


def swapped(lines: list[str]) -> list[str]:
    lines[101], lines[102] = lines[102], lines[101]
    return lines


def without_number(lines: list[str]) -> list[str]:
    lines[77] = lines[77].replace("1", "x").replace("0", "x")
    return lines


DAMAGE: dict[str, Callable[[list[str]], list[str]]] = {
    "the last row missing": lambda lines: lines[:-1],
    "a row missing": lambda lines: lines[:5000] + lines[5001:],
    "a row twice": lambda lines: lines[:5000] + lines[4999:],
    "one more row": lambda lines: [*lines, lines[-1]],
    "two rows swapped": swapped,
    "the header missing": lambda lines: [line.replace("#", "") for line in lines[1:]][:-1],
    "a wrong header": lambda lines: ["this,that,the,other", *lines[1:]] if "," in lines[1] else ["this that", *lines[1:]],
    "only the header": lambda lines: lines[:1],
    "a word for a number": without_number,
    "a row cut short": lambda lines: [*lines[:-1], lines[-1][:9]],
    "another file": lambda lines: ["<!DOCTYPE html>", "<html>", "<body>404: not found</body>", "</html>"],
    "an empty file": lambda lines: [],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_refused_in_one_line_that_names_the_file(kind: tuple[list[str], Read], damage: str, tmp_path: Path) -> None:
    lines, read = kind
    path = written(DAMAGE[damage](lines), tmp_path)
    with pytest.raises(TableError) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 300


@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)) * 40,
        b"\0" * 5000,
        b"\x1f\x8b\x08\x00" + b"\x5a\xc3" * 900,
        b"\xff\xfe" + "net,a".encode("utf-16-le"),
        b"a" * 200_000,
        b'"' + b"a,\n" * 99_999,
    ],
    ids=["binary", "zeros", "gzip cut short", "utf-16", "one long line", "an open quotation mark"],
)
def test_binary_garbage_is_refused_in_one_line(kind: tuple[list[str], Read], content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "upstream.csv"
    path.write_bytes(content)
    with pytest.raises(TableError) as error:
        kind[1](path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 300


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-5", "1e999"])
def test_impossible_figures_are_refused(kind: tuple[list[str], Read], value: str, tmp_path: Path) -> None:
    lines, read = kind
    delimiter = "," if "," in lines[1] else " "
    cells = lines[321].split(delimiter)
    # The last figure that is read: FPGA energy, ImageNet accuracy, accuracy, total seconds.
    place = {"net": -1, "CIF": 2, ",in": 4, "# A": -1}[lines[0][:3]]
    cells[place] = value
    lines[321] = delimiter.join(cells)
    with pytest.raises(TableError, match="320") as error:
        read(written(lines, tmp_path))
    assert "\n" not in str(error.value)


def test_a_missing_file_or_a_folder_is_refused_in_one_line(kind: tuple[list[str], Read], tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(TableError, match="cannot read") as error:
            kind[1](path)
        assert "\n" not in str(error.value)


def test_a_file_without_a_reader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"there is no reader for a/b/c/other\.csv; the known files are hw_cifar10\.csv"):
        convert({"a/b/c/other.csv": tmp_path})


def test_hardware_of_one_dataset_can_be_converted_alone(tmp_path: Path) -> None:
    table = convert({"o/r/c/hw_cifar100.csv": written(hardware_lines(), tmp_path)})
    assert devices(table, "cifar100") == ["edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga"] and devices(table, "cifar10") == []
    assert datasets(table) == []
