"""Original files are recognised and read in a separate process with a limit of memory, and hostile files are refused."""

from __future__ import annotations

import bz2
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.tables.upstream.importing import PartialImport, check_memory, import_upstream, memory_bytes, read
from budgetnas.spaces.tables.upstream.unpickle import PickleRefused

pytestmark = pytest.mark.slow

SPACE = NASBench201()
STRINGS = [SPACE.encode(SPACE.at(index)) for index in range(SPACE.size)]
RESULT = {"epochs": 12, "eval_acc1es": {"x-valid@11": 40.0}, "train_times": dict.fromkeys(range(12), 0.5)}
LEGACY = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}]


def cell(index: int) -> dict[str, Any]:
    return {"arch_str": STRINGS[index], "dataset_seed": {"cifar100": [777]}, "all_results": {("cifar100", 777): RESULT}}


def archive(*indices: int) -> dict[str, Any]:
    """Return the contents of NAS-Bench-201-*.pth with a few cells."""
    return {"meta_archs": STRINGS, "arch2infos": {index: {"less": cell(index)} for index in indices}, "evaluated_indexes": set(indices)}


def zip_container(path: Path, value: bytes, **members: bytes) -> Path:
    """Write a file as torch.save does since version 1.6."""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in {
            "data.pkl": value,
            "byteorder": b"little",
            "version": b"3\n",
            ".data/serialization_id": b"0" * 40,
            **members,
        }.items():
            file.writestr(f"archive/{name}" if not name.startswith("/") else name[1:], data)
    return path


def legacy_container(path: Path, value: bytes, storages: Any = ()) -> Path:
    """Write a file as torch.save did before version 1.6."""
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in LEGACY) + value + pickle.dumps(list(storages), 2))
    return path


CONTAINERS: list[Callable[[Path, bytes], Path]] = [zip_container, legacy_container]


class Touch:
    def __init__(self, flag: Path):
        self.flag = flag

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.flag),)


@pytest.mark.parametrize("container", CONTAINERS)
def test_an_import_warns_about_missing_cells_and_equals_a_read_in_this_process(
    container: Callable[[Path, bytes], Path], tmp_path: Path
) -> None:
    path = container(tmp_path / "NAS-Bench-201-v1_1-096897.pth", pickle.dumps(archive(0, 6111), 2))
    steps: list[tuple[int, int]] = []
    with pytest.warns(PartialImport, match="has 2 of nasbench201's 15625 cells"):
        tables = import_upstream(path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
    column = tables["nasbench201"].column("accuracy/cifar100/validation/12")
    assert np.flatnonzero(~np.isnan(column)).tolist() == [0, 6111] and column[0] == 40.0 and not column.flags.writeable
    assert tables["nasbench201"].column("training_seconds/cifar100/12")[6111] == 6.0
    assert tables["nasbench201"].checksum == read(path)["nasbench201"].checksum


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_are_read_unless_they_have_tensors(zipped: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch writes the file; it is not installed")
    torch.save(archive(1), tmp_path / "plain.pth", _use_new_zipfile_serialization=zipped)
    assert read(tmp_path / "plain.pth")["nasbench201"].column("accuracy/cifar100/validation/12")[1] == 40.0
    for value in (torch.zeros(3), torch.nn.Linear(2, 2).state_dict(), torch.nn.Linear(2, 2), torch.float32):
        torch.save({**archive(1), "extra": value}, tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(PickleRefused, match="torch"):
            read(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "container",
    [*CONTAINERS, lambda path, value: path.write_bytes(value) and path, lambda path, value: path.write_bytes(bz2.compress(value)) and path],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_hostile_file_runs(container: Callable[[Path, bytes], Path], protocol: int, tmp_path: Path) -> None:
    path = container(tmp_path / "hostile", pickle.dumps({**archive(1), "evaluated_indexes": Touch(tmp_path / "flag")}, protocol))
    for reader in (read, import_upstream):
        with pytest.raises(PickleRefused, match=r"holds (posix|nt|os)\.mkdir") as refusal:
            reader(path)
        assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "flag").exists()


def test_nothing_in_a_hostile_part_of_a_legacy_file_runs(tmp_path: Path) -> None:
    touch = pickle.dumps(Touch(tmp_path / "flag"), 2)
    magic, version, machine = (pickle.dumps(part, 2) for part in LEGACY)
    value = pickle.dumps(archive(1), 2)
    for parts in ([magic, touch, machine, value], [magic, version, touch, value], [magic, version, machine, value, touch]):
        (tmp_path / "hostile.pth").write_bytes(b"".join(parts))
        with pytest.raises(PickleRefused, match="mkdir"):
            read(tmp_path / "hostile.pth")
    assert not (tmp_path / "flag").exists()


VALUE = pickle.dumps(archive(1), 2)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"data/0": b"\0" * 12}, "torch tensor 'archive/data/0'"),
        ({"code/x.py": b"print()"}, "unexpected member 'archive/code/x.py'"),
        ({"/../evil": b""}, "unexpected member '../evil'"),
        ({"//etc/evil": b""}, "unexpected member '/etc/evil'"),
        ({"/other/version": b""}, "unexpected member 'other/version'"),
        ({"/other/data.pkl": VALUE}, "2 members data.pkl"),
        ({"deep/data.pkl": VALUE}, "2 members data.pkl"),
    ],
)
def test_unexpected_members_of_a_zip_container_are_named_and_refused(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as refusal:
        read(zip_container(tmp_path / "odd.pth", VALUE, **members))
    assert message in str(refusal.value)


def test_compressed_and_duplicate_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", VALUE)
    with pytest.raises(PickleRefused, match="compressed member"):
        read(tmp_path / "small.pth")
    with zipfile.ZipFile(tmp_path / "double.pth", "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/data.pkl", VALUE)
        file.writestr("archive/data.pkl", VALUE)
    with pytest.raises(PickleRefused, match="two members of the same name"):
        read(tmp_path / "double.pth")


def test_legacy_files_with_tensors_or_of_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PickleRefused, match="holds torch tensors"):
        read(legacy_container(tmp_path / "weights.pth", VALUE, ["0"]))
    (tmp_path / "later.pth").write_bytes(b"".join(pickle.dumps(part, 2) for part in (LEGACY[0], 1002, {}, {}, [])))
    with pytest.raises(TableError, match="format 1002; only 1001 can be read"):
        read(tmp_path / "later.pth")


@pytest.mark.parametrize("container", [*CONTAINERS, lambda path, value: path.write_bytes(bz2.compress(value)) and path])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.98])
def test_files_that_are_cut_off_are_refused_in_one_line(container: Callable[[Path, bytes], Path], share: float, tmp_path: Path) -> None:
    path = container(tmp_path / "cut", VALUE)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(TableError) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b"\x89PNG", b"{}", bytes(20_000), pickle.dumps([1, 2]), pickle.dumps({"a": 1}), bz2.compress(pickle.dumps("text"))],
)
def test_other_files_are_refused_and_the_readable_ones_are_listed(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(data)
    with pytest.raises(TableError, match=r"NATS-tss-v1_0|no results of any"):
        read(tmp_path / "other")


def test_missing_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no file"):
        import_upstream(tmp_path / "missing.pth")
    with pytest.raises(TableError, match="no results of any nasbench201 cell"):
        import_upstream(tmp_path)


# --- memory, and the separate process ----------------------------------------------------------------------------------------------------


def test_memory_is_checked_first_and_the_error_names_the_archive_that_needs_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(4_700_000_000)  # a hole, which has a size but needs no disk space
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(8e9)))
    with pytest.raises(TableError, match=r"needs about 28\.2 GB of memory, and 8\.0 GB are free; import .*-simple instead") as error:
        import_upstream(path)
    assert "\n" not in str(error.value)
    check_memory(path, force=True)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(29e9)))
    check_memory(path)


def test_the_memory_of_a_compressed_file_is_estimated_from_its_contents(tmp_path: Path) -> None:
    data = pickle.dumps(archive(1)) + np.random.default_rng(0).bytes(300_000)
    (tmp_path / "single").write_bytes(bz2.compress(data))
    assert memory_bytes(tmp_path / "single") == pytest.approx(6 * len(data), rel=1e-6)
    assert memory_bytes(tmp_path) == 0


NESTED_KEY = b"\x80\x02}" + b")" + b"\x85" * 3_000_000 + b"K\x01s."  # a tuple so deep that its hash overflows Python's stack
HUGE_MEMO = b"\x80\x02Nr" + struct.pack("<I", 2**31 - 1) + b"."  # an index in the memo that needs 32 GB
HUGE_TEXT = b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x."  # claims a text of a terabyte and has one byte of it


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
@pytest.mark.parametrize("data", [NESTED_KEY, HUGE_MEMO, HUGE_TEXT], ids=["nested key", "huge memo", "huge text"])
def test_a_file_that_would_crash_python_ends_only_the_separate_process(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "bomb.pickle").write_bytes(data)
    with pytest.raises(TableError) as error:
        import_upstream(tmp_path / "bomb.pickle")
    assert str(tmp_path / "bomb.pickle") in str(error.value) and "\n" not in str(error.value)


def test_an_interrupted_import_leaves_no_process(tmp_path: Path) -> None:
    path = zip_container(tmp_path / "some.pth", VALUE)
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_upstream(path, progress=interrupt)
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert all("resource_tracker" in " ".join(child.cmdline()) for child in left)
