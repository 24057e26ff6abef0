"""Original results of NAS-Bench-201, in small files written by the classes of the benchmark's own packages."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.tables.accuracy import accuracy, accuracy_column, seconds_column, seeds, training_seconds
from budgetnas.spaces.tables.columnar import Table
from budgetnas.spaces.tables.upstream.importing import read

SPACE = NASBench201()
CELLS = [SPACE.encode(SPACE.at(index)) for index in range(SPACE.size)]
TRAINED = {  # cell -> epochs -> training set -> seeds; they differ between cells, as upstream
    0: {
        12: {"cifar10-valid": [111, 777], "cifar10": [777]},
        200: {"cifar10-valid": [777, 888], "cifar10": [777], "cifar100": [777, 999], "ImageNet16-120": [777]},
    },
    1: {
        12: {"cifar10-valid": [777]},
        200: {"cifar10-valid": [777, 888, 999], "cifar10": [888, 999], "cifar100": [888], "ImageNet16-120": [777, 888, 999]},
    },
    6111: {
        12: {"cifar10-valid": [111], "cifar100": [777]},
        200: {"cifar10-valid": [888], "cifar10": [777, 888, 999], "cifar100": [777, 888]},
    },
}
EVALUATED = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
# From (dataset, split) to the training set and the answer in a query of the upstream package.
QUERIES = {
    ("cifar10", "validation"): ("cifar10-valid", "valid-accuracy"),
    ("cifar10", "test"): ("cifar10", "test-accuracy"),
    ("cifar100", "validation"): ("cifar100", "valid-accuracy"),
    ("cifar100", "test"): ("cifar100", "test-accuracy"),
    ("ImageNet16-120", "validation"): ("ImageNet16-120", "valid-accuracy"),
    ("ImageNet16-120", "test"): ("ImageNet16-120", "test-accuracy"),
}


def results(package: Any, index: int, epochs: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of an ArchResults of `package`, filled with random figures by the package's own methods."""
    cell = package.ArchResults(index, CELLS[index])
    for training_set, of_seeds in TRAINED[index][epochs].items():
        for seed in of_seeds:
            config = {"channel": 16, "num_cells": 5, "arch_str": CELLS[index], "class_num": 10}
            curve = dict(enumerate(rng.uniform(5, 100, epochs).tolist()))
            run = package.ResultsCount(training_set, None, curve, curve, np.float64(0.5), 15.6, config, seed, epochs, [0.01])
            run.update_train_info(curve, curve, curve, None)
            run.reset_pseudo_train_times(rng.uniform(1, 50))
            figures = {
                f"{name}@{epoch}": value
                for name in EVALUATED[training_set]
                for epoch, value in enumerate(rng.uniform(5, 95, epochs).tolist())
            }
            run.update_eval(figures, figures, figures)
            cell.update(training_set, seed, run)
    state: dict[str, Any] = cell.state_dict()
    return state


def answers(api: Any, table: Table) -> Iterator[tuple[float, float]]:
    """Yield the figure in the table and the answer of the package, for every cell, dataset, split, number of epochs and seed."""
    for index, by_epochs in TRAINED.items():
        for epochs, by_set in by_epochs.items():
            for (dataset, split), (training_set, answer) in QUERIES.items():
                if training_set not in by_set:
                    name = accuracy_column(dataset, split, epochs)
                    assert name not in table or math.isnan(table.column(name)[index])
                    continue
                for seed, is_random in [(None, False), *((seed, seed) for seed in by_set[training_set])]:
                    info = api.get_more_info(index, training_set, hp=str(epochs), is_random=is_random)
                    yield accuracy(table, dataset, split, epochs, seed)[index], info[answer]
                if training_set == dataset:
                    seconds = api.get_more_info(index, training_set, hp=str(epochs), is_random=False)["train-all-time"]
                    yield training_seconds(table, dataset, epochs)[index], seconds


def check_table(api: Any, table: Table) -> None:
    pairs = list(answers(api, table))
    assert len(pairs) == 75
    found, expected = np.array(pairs).T
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert seeds(table, "cifar10", "validation") == [777, 888, 999] and seeds(table, "cifar10", "validation", 12) == [111, 777]
    assert seeds(table, "cifar100", "test") == [777, 888, 999] and seeds(table, "cifar10", "test", 12) == [777]
    assert math.isnan(accuracy(table, "cifar10", "validation", seed=999)[0]), "cell 0 was not trained with seed 999"
    for name in table:
        assert set(np.flatnonzero(~np.isnan(table.column(name)))) <= set(TRAINED)
    assert table.rows == SPACE.size and all("3 of 15625 cells" in source for source in table.sources.values())


@pytest.fixture(scope="module")
def nats() -> Any:
    return pytest.importorskip("nats_bench", reason="nats-bench wrote the archive; it is not installed")


@pytest.fixture(scope="module")
def archive(nats: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A topology archive of NATS-Bench with three cells."""
    folder = tmp_path_factory.mktemp("nats") / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    rng = np.random.default_rng(0)
    nats.pickle_save(
        {"meta_archs": CELLS, "total_archs": len(CELLS), "arch2infos": None, "evaluated_indexes": set()}, folder / "meta.pickle"
    )
    for index in TRAINED:
        nats.pickle_save({"12": results(nats, index, 12, rng), "200": results(nats, index, 200, rng)}, folder / f"{index:06d}.pickle")
    return folder


@pytest.fixture(scope="module")
def nats_api(nats: Any, archive: Path) -> Any:
    return nats.create(str(archive), "tss", fast_mode=True, verbose=False)


def tarred(folder: Path, path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, folder.name)
    return path


def test_a_folder_of_nats_bench(archive: Path, nats_api: Any) -> None:
    steps: list[tuple[int, int]] = []
    tables = read(archive, lambda done, total: steps.append((done, total)))
    assert list(tables) == ["nasbench201"]
    check_table(nats_api, tables["nasbench201"])
    assert steps[-1] == (3, 3) and steps == sorted(steps)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_a_tar_file_of_nats_bench(archive: Path, nats_api: Any, mode: str, tmp_path: Path) -> None:
    path = tarred(archive, tmp_path / "NATS-tss-v1_0-3ffb9-simple.tar", mode)
    steps: list[tuple[int, int]] = []
    check_table(nats_api, read(path, lambda done, total: steps.append((done, total)))["nasbench201"])
    assert steps[-1] == (3, 15_625)
    assert list(tmp_path.iterdir()) == [path], "nothing is unpacked"


def test_a_single_file_of_nats_bench(archive: Path, nats: Any, tmp_path: Path) -> None:
    infos = {index: nats.pickle_load(archive / f"{index:06d}.pickle.pbz2") for index in TRAINED}
    nats.pickle_save({"meta_archs": CELLS, "arch2infos": infos, "evaluated_indexes": set(TRAINED)}, tmp_path / "NATS-tss-v1_0-3ffb9.pickle")
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    check_table(nats.create(str(path), "tss", fast_mode=False, verbose=False), read(path)["nasbench201"])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip container", "legacy container"])
def test_a_pth_file_of_nas_bench_201(zipped: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch wrote the file; it is not installed")
    package = pytest.importorskip("nas_201_api", reason="nas-bench-201 wrote the file; it is not installed")
    rng = np.random.default_rng(1)
    infos = {index: {"less": results(package, index, 12, rng), "full": results(package, index, 200, rng)} for index in TRAINED}
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    content = {"meta_archs": CELLS, "arch2infos": infos, "evaluated_indexes": set(TRAINED)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    api = package.NASBench201API(torch.load(path, weights_only=False), verbose=False)
    check_table(api, read(path)["nasbench201"])


def test_version_1_0_of_nas_bench_201(tmp_path: Path) -> None:
    """The first edition has only cifar10-valid, only accuracies of the last epoch, and no training times."""
    torch = pytest.importorskip("torch", reason="torch wrote the file; it is not installed")
    package = pytest.importorskip("nas_201_api", reason="nas-bench-201 wrote the file; it is not installed")
    states = {}
    for epochs in (12, 200):
        cell = package.ArchResults(1, CELLS[1])
        run = package.ResultsCount("cifar10-valid", None, {}, {}, 0.5, 15.6, {"arch_str": CELLS[1]}, 777, epochs, None)
        run.update_OLD_eval("x-valid", {epochs - 1: 80.0 + epochs / 100}, {epochs - 1: 0.5})
        cell.update("cifar10-valid", 777, run)
        states["less" if epochs == 12 else "full"] = cell.state_dict()
    path = tmp_path / "NAS-Bench-201-v1_0-e61699.pth"
    torch.save({"meta_archs": CELLS, "arch2infos": {1: states}, "evaluated_indexes": [1]}, path, _use_new_zipfile_serialization=False)
    table = read(path)["nasbench201"]
    means = {accuracy_column("cifar10", "validation", 12): 80.12, accuracy_column("cifar10", "validation", 200): 82.0}
    assert {name: table.column(name)[1] for name in table} == means | {f"{name}/777": value for name, value in means.items()}


def test_published_training_seconds_are_for_50000_images(real_data: Path) -> None:
    """The published times are for 50,000 CIFAR-10 images: in every cell, ImageNet16-120 takes exactly 151,700 / 50,000 times as long."""
    from budgetnas.spaces.tables.upstream.convert import read_training_seconds

    (folder,) = {path.parent for path in (real_data / "mirror").rglob("*_perfmetrics.txt")}
    cifar = read_training_seconds(folder / "cifar10_perfmetrics.txt", "cifar10")[seconds_column("cifar10")]
    imagenet = read_training_seconds(folder / "imagenet_perfmetrics.txt", "ImageNet16-120")[seconds_column("ImageNet16-120")]
    np.testing.assert_allclose(imagenet / cifar, 151_700 / 50_000, rtol=1e-12)
