"""The table that is part of the project: its card, figures that can be computed again, and figures that must not change."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from budgetnas.spaces.nasbench201 import small_network
from budgetnas.spaces.nasbench201.identity import canonical_indices
from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.nasbench201.space import NASBench201, connected_mask
from budgetnas.spaces.tables import home
from budgetnas.spaces.tables.accuracy import SPLITS, accuracy, seeds, training_seconds
from budgetnas.spaces.tables.columnar import DamagedTable, Table, TableError
from budgetnas.spaces.tables.hardware import device_cost
from budgetnas.spaces.tables.home import open_table, shipped_path, shipped_table
from budgetnas.spaces.task import task_of

pytestmark = pytest.mark.slow

TABLE = open_table("nasbench201", "digits201")
CARD = shipped_path("digits201").with_suffix(".md").read_text(encoding="utf-8")
SEEDS = (0, 1, 2)
IMAGES = {"validation": 400, "test": 497}


def by_seed(split: str) -> np.ndarray:
    return np.stack([accuracy(TABLE, "digits201", split, seed=seed) for seed in SEEDS])  # type: ignore[arg-type]


def test_the_card_has_the_checksum_of_the_table() -> None:
    assert re.findall(r"`([0-9a-f]{64})`", CARD) == [TABLE.checksum]


def test_it_is_small_and_has_the_columns_in_the_card() -> None:
    assert shipped_path("digits201").stat().st_size < 1_000_000
    assert (TABLE.space, TABLE.rows) == ("nasbench201", SIZE)
    assert sorted(TABLE) == sorted(
        [
            *[f"accuracy/digits201/{split}/6{seed}" for split in SPLITS for seed in ("", "/0", "/1", "/2")],
            "training_seconds/digits201/6", "latency_ms/digits201/amd-epyc", "params/digits201", "macs/digits201", "cycles/digits201",
        ]
    )  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
def test_accuracies_are_shares_of_the_images_and_have_the_mean_of_the_seeds(split: str) -> None:
    assert seeds(TABLE, "digits201", split) == list(SEEDS)  # type: ignore[arg-type]
    hits = by_seed(split) * IMAGES[split] / 100
    np.testing.assert_allclose(hits, np.round(hits), atol=1e-3)
    assert hits.min() >= 0 and hits.max() <= IMAGES[split]
    np.testing.assert_allclose(accuracy(TABLE, "digits201", split), by_seed(split).mean(axis=0), rtol=1e-6)  # type: ignore[arg-type]


def test_identical_networks_share_their_trained_figures() -> None:
    canonical = canonical_indices()
    for column in (*by_seed("validation"), *by_seed("test"), training_seconds(TABLE, "digits201")):
        np.testing.assert_array_equal(column, column[canonical])


def test_parameters_macs_and_cycles_equal_the_closed_form() -> None:
    params, macs = small_network.complexities()
    for name, exact in {"params": params, "macs": macs, "cycles": small_network.cycles()}.items():
        np.testing.assert_array_equal(TABLE.column(f"{name}/digits201"), exact)
    space, task = NASBench201(), task_of("digits201")
    for index in range(0, SIZE, 1_111):
        complexity = space.complexity(space.at(index), task)
        assert (complexity.params, complexity.macs) == (params[index], macs[index])


def test_times_are_positive() -> None:
    for column in (training_seconds(TABLE, "digits201"), device_cost(TABLE, "latency_ms", "digits201", "amd-epyc")):
        assert (column > 0).all()


def test_disconnected_cells_guess_and_connected_cells_learn() -> None:
    test, connected = accuracy(TABLE, "digits201", "test"), connected_mask()
    assert test[~connected].max() < 15
    assert np.median(test[connected]) > 50


def test_the_statistics_in_the_card_are_those_of_the_table() -> None:
    connected = connected_mask()
    for title, split in (("validation accuracy [%]", "validation"), ("test accuracy [%]", "test")):
        low, middle, high = np.quantile(accuracy(TABLE, "digits201", split)[connected], (0, 0.5, 1))  # type: ignore[arg-type]
        assert f"| {title} | median {middle:.3g}, {low:.3g} to {high:.3g} |" in CARD
    tests = by_seed("test")[:, connected]
    pairs = [(first, second) for first in range(3) for second in range(first)]
    correlations = ", ".join(f"{spearmanr(tests[first], tests[second]).statistic:.3f}" for first, second in pairs)
    assert f"seed to seed {correlations}" in CARD
    assert f"root mean square over connected cells: {np.sqrt(tests.var(axis=0, ddof=1).mean()):.2f} points" in CARD
    best = int(np.where(connected, accuracy(TABLE, "digits201", "test"), 0).argmax())
    assert f"Best by test: cell {best} " in CARD


def test_the_card_names_the_recipe_the_versions_the_machine_the_date_and_the_command() -> None:
    for text in (
        "budgetnas data build digits201",
        "torch 2.",
        "onnxruntime 1.",
        "scikit-learn 1.",
        "numpy 2.",
        "AMD EPYC",
        "hours of one core",
    ):
        assert text in CARD
    assert re.search(r"Date: 20\d\d-\d\d-\d\d", CARD) and re.search(r"recipe \(version 1, sha256 [0-9a-f]{64}\)", CARD)
    assert not re.search(r"/(home|tmp|root|work)/", CARD)


def test_golden_figures() -> None:
    """A new build of the table changes these figures, and with them the identities of trials. Then change them here on purpose."""
    assert TABLE.checksum == "21bf7cb30ceb950485a0b7782021697f84eda0ea98c7000823fa6212febfb8b5"
    test, validation = (accuracy(TABLE, "digits201", split) for split in ("test", "validation"))  # type: ignore[arg-type]
    assert [round(float(test[index]), 3) for index in (0, 6_111, 15_624)] == [35.614, 96.982, 32.126]
    assert [round(float(validation[index]), 3) for index in (0, 6_111, 15_624)] == [41.667, 96.167, 33.917]
    assert TABLE.column("cycles/digits201")[[0, 6_111, 15_624]].tolist() == [104112.0, 1530032.0, 178352.0]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the table and its card, used in place of the shipped ones."""
    for suffix in (".parquet", ".md"):
        shutil.copy(shipped_path("digits201").with_suffix(suffix), tmp_path / f"digits201{suffix}")
    monkeypatch.setattr(home, "shipped_path", lambda dataset: tmp_path / f"{dataset}.parquet")
    return tmp_path / "digits201.parquet"


def test_the_copy_is_opened(copy: Path) -> None:
    assert shipped_table("digits201").checksum == TABLE.checksum
    assert shipped_table("digits201").path == copy


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_an_edited_table_is_refused(copy: Path, place: float) -> None:
    content = bytearray(copy.read_bytes())
    content[int(place * len(content))] ^= 1
    copy.write_bytes(content)
    with pytest.raises(DamagedTable, match="was edited or damaged; install budgetnas again"):
        shipped_table("digits201")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_table_is_refused(copy: Path, share: float) -> None:
    os.truncate(copy, int(share * copy.stat().st_size))
    with pytest.raises(DamagedTable, match="was edited or damaged; install budgetnas again"):
        shipped_table("digits201")


def test_a_table_edited_with_new_checksums_is_refused(copy: Path) -> None:
    columns = {name: TABLE.column(name).copy() for name in TABLE}
    columns["accuracy/digits201/test/6"][0] += 1
    Table.from_columns("nasbench201", columns, TABLE.sources).write(copy)
    with pytest.raises(DamagedTable, match="does not match the checksum in its card"):
        shipped_table("digits201")


def test_a_missing_table_or_card_is_refused_in_one_line(copy: Path) -> None:
    copy.with_suffix(".md").unlink()
    with pytest.raises(TableError, match="the card of the table, cannot be read; install budgetnas again"):
        shipped_table("digits201")
    copy.unlink()
    with pytest.raises(TableError, match=r"the table of digits201 that comes with budgetnas is missing .*; install budgetnas again"):
        open_table("nasbench201", "digits201")
    assert "digits201" not in home.available("nasbench201")
