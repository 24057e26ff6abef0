"""From the manifest to the tables: which files are downloaded, which old columns are kept, and what remains after a failure."""

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.tables.accuracy import accuracy_column, seconds_column, seeds
from budgetnas.spaces.tables.columnar import Column, Table, TableError
from budgetnas.spaces.tables.home import table_path
from budgetnas.spaces.tables.upstream import importing
from budgetnas.spaces.tables.upstream.download import Entry, FetchError, Patience, Unavailable
from budgetnas.spaces.tables.upstream.fetch import Fetched, alone, fetch, joined, manifest, upstream_file, with_imported

pytestmark = pytest.mark.slow

QUICK = Patience(silence_s=20.0, attempt_s=100.0, attempts=2, pause_s=0.0)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECONDS = seconds_column("cifar10")
TEST = accuracy_column("cifar10", "test")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], str]]:
    """Return a function that serves a folder by a static server and returns its address."""
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    running = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def entry_of(folder: Path, path: str, content: bytes, optional: bool = False) -> Entry:
    """Write a file to the mirror at `folder` and return its entry."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return Entry("w", path, f"http://nowhere.invalid/{path}", "0" * 40, "MIT", len(content), hashlib.sha256(content).hexdigest(), optional)


def seconds_text(factor: float) -> bytes:
    return "".join(f"{index}.0 90.0 {index + 1} {factor * (index + 1)}\n" for index in range(SIZE)).encode()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


@pytest.fixture
def times(mirror: Path) -> Entry:
    """The smallest upstream file that gives a table: training times."""
    return entry_of(mirror, f"owner/repo/{COMMIT}/cifar10_perfmetrics.txt", seconds_text(200))


def run(entries: list[Entry], base: str) -> Fetched:
    return fetch(entries, base, lambda *_: None, QUICK)


def table_of(**columns: tuple[Column, str]) -> Table:
    names = {"seconds": SECONDS, "seed": TEST + "/777", "mean": TEST}
    return Table.from_columns(
        "nasbench201",
        {names[key]: values for key, (values, _) in columns.items()},
        {names[key]: source for key, (_, source) in columns.items()},
    )


ONES = np.ones(SIZE)


def test_the_manifest_equals_the_published_one(real_data: Path) -> None:
    published = {entry["path"]: entry for entry in json.loads((real_data / "manifest.json").read_text())}
    assert {entry.path for entry in manifest()} <= set(published)  # the folder also has files of other projects
    for entry in manifest():
        stated = published[entry.path]
        assert (entry.url, entry.bytes, entry.sha256) == (stated["url"], stated.get("bytes"), stated.get("sha256"))
        assert (entry.git_blob_sha1, entry.licence, entry.optional) == (
            stated["git_blob_sha1"],
            stated["licence"],
            stated.get("optional", False),
        )


def test_the_manifest_is_well_formed() -> None:
    entries = manifest()
    assert len(entries) == len({entry.path for entry in entries}) == 10
    assert [entry.optional for entry in entries].count(True) == 1
    for entry in entries:
        owner, repo, commit, *inner = entry.path.split("/")
        assert owner and repo and len(bytes.fromhex(commit)) == 20 and inner and ".." not in inner
        assert entry.url == f"https://raw.githubusercontent.com/{entry.path}"
        assert len(bytes.fromhex(entry.git_blob_sha1)) == 20
        assert entry.optional or (len(bytes.fromhex(entry.sha256 or "")) == 32 and (entry.bytes or 0) > 1_000_000)


def test_the_real_files_give_the_golden_table(real_data: Path, home: Path, serve: Callable[[Path], str]) -> None:
    base = serve(real_data / "mirror")
    fetched = run(list(manifest()), base)
    table = Table.open(home / "nasbench201.parquet")
    # A golden figure: it is part of the identity of every trial.
    assert table.checksum == "92f2b94a1556b936833b4a36af4658bd6e2b5f19e2b2049355dee5d8709f9995"
    assert fetched.tables == {"nasbench201": home / "nasbench201.parquet"}
    assert (len(fetched.received), fetched.present) == (9, [])
    assert len(fetched.notes) == 1 and "HW-NAS-Bench-v1_0.pickle answered 404" in fetched.notes[0]
    again = run(list(manifest()), base)
    assert (again.received, len(again.present)) == ([], 9)
    assert Table.open(home / "nasbench201.parquet").checksum == table.checksum
    assert not [path for path in home.rglob("*") if path.suffix in (".part", ".partial")]


def test_the_optional_original_file_adds_only_the_operators(
    real_data: Path, home: Path, mirror: Path, serve: Callable[[Path], str]
) -> None:
    shutil.copytree(real_data / "mirror", mirror)
    pickle = (real_data / "rebuilt" / "HW-NAS-Bench-v1_0.rebuilt.pickle").read_bytes()
    entry = entry_of(mirror, f"GATECH-EIC/HW-NAS-Bench/{COMMIT}/HW-NAS-Bench-v1_0.pickle", pickle, optional=True)
    fetched = run([*(entry for entry in manifest() if not entry.optional), entry], serve(mirror))
    assert set(fetched.tables) == {"nasbench201", "fbnet-operators"} and fetched.notes == []
    table = Table.open(table_path("nasbench201"))
    assert table.checksum == "92f2b94a1556b936833b4a36af4658bd6e2b5f19e2b2049355dee5d8709f9995"
    assert entry.path not in table.sources.values()
    assert set(Table.open(table_path("fbnet-operators")).sources.values()) == {entry.path}


def test_imported_columns_are_kept_and_downloaded_ones_are_replaced(
    home: Path, mirror: Path, times: Entry, serve: Callable[[Path], str]
) -> None:
    old_commit = f"owner/repo/{'f' * 40}/cifar10_perfmetrics.txt"
    table_of(seconds=(ONES, old_commit), seed=(ONES, "NATS-tss"), mean=(2 * ONES, old_commit)).write(table_path("nasbench201"))
    assert run([times], serve(mirror)).notes == []
    table = Table.open(table_path("nasbench201"))
    np.testing.assert_array_equal(table.column(SECONDS), 200.0 * np.arange(1, SIZE + 1))
    assert table.sources[SECONDS] == times.path
    assert seeds(table, "cifar10", "test") == [777] and table.sources[TEST + "/777"] == "NATS-tss"
    # Downloaded before, no longer in the manifest, but kept.
    assert table.column(TEST)[0] == 2.0 and table.sources[TEST] == old_commit


def test_an_imported_column_has_priority_over_a_downloaded_one(
    home: Path, mirror: Path, times: Entry, serve: Callable[[Path], str]
) -> None:
    table_of(seconds=(ONES, "NATS-tss")).write(table_path("nasbench201"))
    assert run([times], serve(mirror)).notes == []
    table = Table.open(table_path("nasbench201"))
    assert table.column(SECONDS)[5] == 1.0 and table.sources == {SECONDS: "NATS-tss"}


def test_a_column_of_a_few_cells_does_not_replace_a_complete_one() -> None:
    few = np.where(np.arange(SIZE) < 3, 1.0, np.nan)
    notes: list[str] = []
    both = joined(table_of(mean=(2 * ONES, "whole")), table_of(mean=(few, "few"), seed=(few, "few")), notes)
    assert both.sources == {TEST: "whole", TEST + "/777": "few"} and both.column(TEST)[0] == 2.0
    assert notes == [f"'{TEST}' from few knows 3 of {SIZE} rows, so that from whole is kept"]
    # A column with equally many gaps does: the gaps may be cells that a device does not support.
    assert joined(table_of(mean=(few, "first")), table_of(mean=(few, "second")), notes).sources == {TEST: "second"}


def test_a_damaged_table_is_replaced_with_a_note(home: Path, mirror: Path, times: Entry, serve: Callable[[Path], str]) -> None:
    path = table_path("nasbench201")
    home.mkdir()
    path.write_bytes(b"PAR1 and then nothing")
    fetched = run([times], serve(mirror))
    assert len(fetched.notes) == 1 and "was damaged and is replaced" in fetched.notes[0]
    assert list(Table.open(path)) == [SECONDS]


def test_a_table_with_one_damaged_column_keeps_the_other_columns(home: Path) -> None:
    path = table_path("nasbench201")
    values = np.random.default_rng(0).normal(size=SIZE)
    table_of(seed=(values, "NATS-tss"), mean=(values + 1.0, "NATS-tss")).write(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 255  # columns are written in the order of their names, so this is in that of the mean
    path.write_bytes(content)
    notes: list[str] = []
    kept = with_imported(table_of(seconds=(ONES, "x")), path, notes)
    assert set(kept) == {SECONDS, TEST + "/777"}
    np.testing.assert_array_equal(kept.column(TEST + "/777"), values)
    assert len(notes) == 1 and f"column '{TEST}'" in notes[0] and "NATS-tss" in notes[0]


def test_a_parquet_file_of_another_project_is_not_replaced(home: Path, mirror: Path, times: Entry, serve: Callable[[Path], str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    home.mkdir()
    pq.write_table(pa.table({"mine": [1.0]}), table_path("nasbench201"))
    theirs = table_path("nasbench201").read_bytes()
    with pytest.raises(TableError, match="move it away"):
        run([times], serve(mirror))
    assert table_path("nasbench201").read_bytes() == theirs


@pytest.fixture
def old_table(home: Path) -> bytes:
    table_of(seed=(ONES, "NATS-tss")).write(table_path("nasbench201"))
    return table_path("nasbench201").read_bytes()


@pytest.mark.parametrize("fault", ["wrong bytes", "missing", "another layout"])
def test_a_failed_file_leaves_the_old_table(
    home: Path, mirror: Path, times: Entry, serve: Callable[[Path], str], old_table: bytes, fault: str
) -> None:
    second = entry_of(mirror, f"owner/repo/{COMMIT}/imagenet_perfmetrics.txt", b"0.0 1.0 2.0 3.0\n")
    if fault == "wrong bytes":
        (mirror / second.path).write_bytes(b"0.0 1.0 2.0 4.0\n")
    if fault == "missing":
        (mirror / second.path).unlink()
    expected = {"wrong bytes": FetchError, "missing": Unavailable, "another layout": TableError}[fault]
    with pytest.raises(expected, match="imagenet_perfmetrics") as error:
        run([times, second], serve(mirror))
    assert "\n" not in str(error.value)
    assert table_path("nasbench201").read_bytes() == old_table
    # A downloaded and checked file is kept.
    assert upstream_file(times).read_bytes() == seconds_text(200)
    assert upstream_file(second).exists() == (fault == "another layout")
    assert not [path for path in home.rglob("*") if path.suffix in (".part", ".partial")]


def imported(monkeypatch: pytest.MonkeyPatch, table: Table | TableError) -> None:
    def import_upstream(_path: Path, _force: bool, _progress: object) -> dict[str, Table]:
        if isinstance(table, TableError):
            raise table
        return {table.space: table}

    monkeypatch.setattr(importing, "import_upstream", import_upstream)


def test_an_optional_file_adds_only_columns_that_the_others_lack(
    home: Path, mirror: Path, times: Entry, serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(monkeypatch, table_of(seconds=(ONES, "pickle"), mean=(3 * ONES, "pickle")))
    optional = entry_of(mirror, f"owner/repo/{COMMIT}/original.pickle", b"pickled", optional=True)
    run([optional, times], serve(mirror))
    table = Table.open(table_path("nasbench201"))
    assert table.sources == {SECONDS: times.path, TEST: optional.path}
    assert table.column(SECONDS)[1] == 400.0 and table.column(TEST)[0] == 3.0


@pytest.mark.parametrize("fault", ["wrong bytes", "unreadable"])
def test_a_bad_optional_file_is_an_error_but_the_table_of_the_others_is_written(
    home: Path, mirror: Path, times: Entry, serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    imported(monkeypatch, TableError("original.pickle cannot be read"))
    optional = entry_of(mirror, f"owner/repo/{COMMIT}/original.pickle", b"pickled", optional=True)
    if fault == "wrong bytes":
        (mirror / optional.path).write_bytes(b"pickle d")
    with pytest.raises(TableError, match=r"original\.pickle"):
        run([times, optional], serve(mirror))
    assert list(Table.open(table_path("nasbench201"))) == [SECONDS]


def test_only_one_process_at_a_time_locks_the_data_folder(home: Path) -> None:
    with alone(), pytest.raises(TableError, match="another budgetnas process is writing"), alone():
        pass
    with alone():
        assert home.is_dir() and list(home.iterdir()) == []


def test_a_file_system_without_locks_can_be_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        def lock(descriptor: int, blocking: bool) -> bool:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("filelock.lock_descriptor", lock)

    refuse(errno.ENOLCK)
    with alone():
        assert home.is_dir()
    refuse(errno.EIO)
    with pytest.raises(TableError, match=r"cannot use the data folder .*: Input/output error; set BUDGETNAS_DATA"), alone():
        pass


def test_a_data_folder_that_cannot_be_created_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "home"):
        monkeypatch.setenv("BUDGETNAS_DATA", str(folder))
        with pytest.raises(TableError, match=r"cannot use the data folder .* set BUDGETNAS_DATA") as error, alone():
            pass
        assert "\n" not in str(error.value)


def test_a_disk_too_small_for_the_new_table_keeps_the_old_one(
    small_disk: Callable[[int], Path], mirror: Path, times: Entry, serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk(1024)
    monkeypatch.setenv("BUDGETNAS_DATA", str(disk))
    noise = np.random.default_rng(0).normal(size=SIZE)
    table_of(seed=(noise, "NATS-tss"), mean=(noise + 1.0, "NATS-tss")).write(table_path("nasbench201"))
    old = table_path("nasbench201").read_bytes()
    # There is space for the download, but not for a second table beside the first.
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(b"x" * (free - (times.bytes or 0) - 100_000))
    with pytest.raises(TableError, match=r"cannot write .*nasbench201\.parquet: .*No space left on device") as error:
        run([times], serve(mirror))
    assert "\n" not in str(error.value)
    files = {path.name for path in disk.rglob("*") if path.is_file()}
    assert files == {"nasbench201.parquet", "ballast", "cifar10_perfmetrics.txt"}
    assert table_path("nasbench201").read_bytes() == old
