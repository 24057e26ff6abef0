"""Archives of NAS-Bench-201's results that are damaged, hostile or have another layout. The tests write them without any package."""

from __future__ import annotations

import bz2
import io
import math
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.tables.upstream.importing import read
from budgetnas.spaces.tables.upstream.nasbench_archives import read_folder
from budgetnas.spaces.tables.upstream.unpickle import PickleRefused

SPACE = NASBench201()
CELLS = [SPACE.encode(SPACE.at(index)) for index in range(SPACE.size)]


def run(epochs: int = 200, **changes: Any) -> dict[str, Any]:
    figures = {"epochs": epochs, "eval_acc1es": {f"x-valid@{epochs - 1}": 50.0}, "train_times": dict.fromkeys(range(epochs), 2.0)}
    return figures | changes


def state(index: int, epochs: int = 200, **changes: Any) -> dict[str, Any]:
    content = {"arch_str": CELLS[index], "dataset_seed": {"cifar100": [777]}, "all_results": {("cifar100", 777): run(epochs)}}
    return content | changes


def with_run(epochs: int = 200, **changes: Any) -> dict[str, Any]:
    return state(7, all_results={("cifar100", 777): run(epochs, **changes)})


def packed(content: Any) -> bytes:
    return bz2.compress(pickle.dumps(content))


def folder_of(tmp_path: Path, files: Mapping[str, bytes]) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def nothing(done: int, total: int) -> None:
    pass


def test_a_cell_with_the_minimal_content_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"7.pickle.pbz2": packed({"200": state(7)}), ".DS_Store": b"", "notes.txt": b"x"})
    table = read_folder(folder, nothing)
    assert {name: table.column(name)[7] for name in table} == {
        "accuracy/cifar100/validation/200": 50.0,
        "accuracy/cifar100/validation/200/777": 50.0,
        "training_seconds/cifar100/200": 400.0,
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("000007", {"200": state(8)}, "cell 8; expected cell 7"),
        ("000007", {"200": state(7, arch_str="8:8:8:8:8")}, "a nasbench201 cell has 3"),
        ("000007", {"200": state(7, arch_str=7)}, "is 7, nasbench201's cell None"),
        ("999999", {"200": state(7)}, "expected cell 999999"),
        ("000007", {"90": state(7)}, "hyper-parameters '90'"),
        ("000007", [state(7)], "has a list; expected a dictionary of results by name"),
        ("000007", {"200": state(7, all_results=None)}, "has a NoneType; expected a dictionary of results by name"),
        ("000007", {"200": state(7, all_results={})}, "has a NoneType; expected a dictionary of results by name"),
        ("000007", {"200": state(7, dataset_seed={"cifar100": "777"})}, "seeds are a str"),
        ("000007", {"200": with_run(12)}, "has 12 epochs; expected 200"),
        ("000007", {"200": with_run(eval_acc1es={"x-valid@199": 100.5})}, "is 100.5; expected a number from 0 to 100"),
        ("000007", {"200": with_run(eval_acc1es={"x-valid@199": math.nan})}, "is nan; expected a number"),
        ("000007", {"200": with_run(eval_acc1es={"x-valid@199": "50"})}, "is '50'; expected a number"),
        ("000007", {"200": with_run(train_times={0: 2.0})}, "a run has the times of 1 epochs"),
        ("000007", {"200": with_run(train_times=dict.fromkeys(range(200), 10**400))}, "a value of type int"),
        ("000007", {}, "no results of any nasbench201 cell"),
        ("meta", {"meta_archs": CELLS[:-1]}, "not a list of 15625 cells"),
        ("meta", {"meta_archs": [CELLS[1], CELLS[0], *CELLS[2:]]}, "meta_archs[0] is"),
        ("meta", {"meta_archs": CELLS}, "no results of any nasbench201 cell"),
    ],
)  # fmt: skip
def test_another_layout_is_refused_in_one_line_that_names_the_file(name: str, content: Any, message: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {f"{name}.pickle.pbz2": packed(content)})
    with pytest.raises(TableError) as error:
        read_folder(folder, nothing)
    assert message in str(error.value) and str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not bzip2", "cut off or damaged"),
        (packed({"200": state(7)})[:-20], "cut off or damaged"),
        (bz2.compress(pickle.dumps({"200": state(7)})[:-20]), "cut off, damaged or not a pickle"),
        (bz2.compress(bytes(65 << 20)), "more than 64 MiB"),
    ],
    ids=["garbage", "compressed file cut off", "pickle cut off", "bomb"],
)
def test_damaged_cells_are_refused_in_one_line(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=message) as error:
        read_folder(folder_of(tmp_path, {"000007.pickle.pbz2": data}), nothing)
    assert "000007.pickle.pbz2" in str(error.value) and "\n" not in str(error.value)


def test_the_error_for_an_archive_with_weights_names_the_one_without(tmp_path: Path) -> None:
    weights = packed({"200": with_run(net_state_dict=None)})
    assert read_folder(folder_of(tmp_path, {"000007.pickle.pbz2": weights}), nothing).rows == SPACE.size
    tensor = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n."
    (tmp_path / "archive" / "000008.pickle.pbz2").write_bytes(bz2.compress(tensor))
    with pytest.raises(PickleRefused, match=r"torch\._utils\._rebuild_tensor_v2.*-simple"):
        read_folder(tmp_path / "archive", nothing)


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        link("NATS/000008.pickle.pbz2", "/etc/passwd", tarfile.SYMTYPE),
        link("NATS/000008.pickle.pbz2", "NATS/000007.pickle.pbz2", tarfile.LNKTYPE),
        link("NATS/000008.pickle.pbz2", "", tarfile.CHRTYPE),
        link("NATS/000008.pickle.pbz2", "", tarfile.FIFOTYPE),
        tarfile.TarInfo("../000008.pickle.pbz2/../../evil"),
        tarfile.TarInfo("/etc/000008.pickle.pbz2"),
        tarfile.TarInfo("NATS/deeper/000008.pickle.pbz2"),
        tarfile.TarInfo("NATS/setup.py"),
    ],
    ids=lambda member: f"{member.type!r} {member.name}",
)
def test_unexpected_members_of_a_tar_file_are_named_and_refused(member: tarfile.TarInfo, tmp_path: Path) -> None:
    with pytest.raises(PickleRefused, match="unexpected member") as refusal:
        read(tar_of(tmp_path, [file_member("NATS/000007.pickle.pbz2", packed({"200": state(7)})), (member, b"")]))
    assert member.name in str(refusal.value)


def file_member(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def tar_of(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path = tmp_path / "archive.tar"
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:1000], "archive.tar"),
        (lambda data: data[:512] + b"x" * 300 + data[812:], "000007"),
    ],
    ids=["cut off", "damaged"],
)
def test_damaged_tar_files_are_refused_in_one_line(spoil: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    path = tar_of(tmp_path, [file_member("NATS/000007.pickle.pbz2", packed({"200": state(7)}))])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(TableError, match=message) as error:
        read(path)
    assert "\n" not in str(error.value)


def test_a_cell_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    member = file_member("NATS/000007.pickle.pbz2", packed({"200": state(7)}))
    with pytest.raises(TableError, match="twice"):
        read(tar_of(tmp_path, [member, member]))
