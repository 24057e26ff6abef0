"""The folder of tables: tables are found, errors name the remedy, and a changed file is read again."""

import os
from pathlib import Path

import numpy as np
import pytest

from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.tables.accuracy import accuracy_column
from budgetnas.spaces.tables.closed_form import closed_form_table
from budgetnas.spaces.tables.columnar import DamagedTable, Table, TableError
from budgetnas.spaces.tables.home import available, data_home, open_table, table_path
from budgetnas.spaces.task import UnknownDataset


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def put(value: float, *datasets: str, splits: tuple[str, ...] = ("validation", "test")) -> Table:
    columns = {accuracy_column(dataset, split): np.full(SIZE, value) for dataset in datasets for split in splits}  # type: ignore[arg-type]
    table = Table.from_columns("nasbench201", columns, dict.fromkeys(columns, "invented"))
    table.write(table_path("nasbench201"))
    return table


def test_the_environment_sets_the_folder(home: Path) -> None:
    assert data_home() == home
    assert table_path("nasbench201") == home / "nasbench201.parquet"


def test_a_tilde_is_the_home_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    monkeypatch.setenv("BUDGETNAS_DATA", "~/tables")
    assert data_home() == Path("/somebody/tables")


def test_the_home_folder_of_an_unknown_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETNAS_DATA", "~no-such-user-here/tables")
    with pytest.raises(TableError, match="BUDGETNAS_DATA is ~no-such-user-here/tables, but there is no such user"):
        data_home()


@pytest.mark.parametrize("unset", [True, False])
def test_the_default_is_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: bool) -> None:
    if unset:
        monkeypatch.delenv("BUDGETNAS_DATA", raising=False)
    else:
        monkeypatch.setenv("BUDGETNAS_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_home().name == "budgetnas"
    assert data_home().is_relative_to(tmp_path)


def test_the_error_for_a_missing_table_names_the_remedy(home: Path) -> None:
    with pytest.raises(TableError, match=r"there is no table of nasbench201 .*nasbench201\.parquet.*; run `budgetnas data fetch`"):
        open_table("nasbench201", "cifar10")
    assert not home.exists()


def test_an_unknown_dataset_is_refused_before_the_folder_is_read(home: Path) -> None:
    with pytest.raises(
        UnknownDataset, match=r"unknown dataset 'cifar'; choose one of cifar10, cifar100, ImageNet16-120, digits201, .*closed-form"
    ):
        open_table("nasbench201", "cifar")


def test_the_closed_form_and_the_shipped_tables_need_no_download(home: Path) -> None:
    assert open_table("nasbench201", "closed-form") is closed_form_table()
    assert available("nasbench201") == ["digits201", "closed-form"]


def test_a_table_is_opened_again_only_after_a_change(home: Path) -> None:
    first = put(1.0, "cifar10")
    opened = open_table("nasbench201", "cifar10")
    assert opened.checksum == first.checksum
    assert open_table("nasbench201", "cifar10") is opened
    second = put(2.0, "cifar10")
    later = table_path("nasbench201").stat().st_mtime_ns + 1_000_000
    os.utime(table_path("nasbench201"), ns=(later, later))  # so that the test does not depend on the resolution of the clock
    assert open_table("nasbench201", "cifar10").checksum == second.checksum != first.checksum


def test_the_error_for_a_dataset_that_the_table_lacks_names_the_remedy(home: Path) -> None:
    put(1.0, "cifar10")
    with pytest.raises(TableError, match="no accuracies of cifar100; run `budgetnas data fetch` or `budgetnas data import`"):
        open_table("nasbench201", "cifar100")
    assert available("nasbench201") == ["cifar10", "digits201", "closed-form"]


def test_a_dataset_with_one_split_only_cannot_be_queried(home: Path) -> None:
    put(1.0, "cifar10", splits=("test",))
    assert available("nasbench201") == ["digits201", "closed-form"]
    with pytest.raises(TableError, match="no accuracies of cifar10"):
        open_table("nasbench201", "cifar10")


@pytest.mark.parametrize("content", [b"", b"not a table", None])
def test_other_files_are_refused(home: Path, content: bytes | None) -> None:
    home.mkdir()
    if content is None:
        table_path("nasbench201").mkdir()
    else:
        table_path("nasbench201").write_bytes(content)
    for ask in (lambda: open_table("nasbench201", "cifar10"), lambda: available("nasbench201")):
        with pytest.raises(DamagedTable, match=r"nasbench201\.parquet"):
            ask()
