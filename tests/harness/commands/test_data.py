"""`budgetnas data`: its output, its files, and its one-line errors."""

import functools
import hashlib
import http.server
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from budgetnas.harness.commands.data import app
from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.tables.accuracy import accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Table, TableError
from budgetnas.spaces.tables.hardware import cost_column
from budgetnas.spaces.tables.upstream import fetch, importing
from budgetnas.spaces.tables.upstream.download import Entry, FetchError

pytestmark = pytest.mark.slow

PATH = "owner/repo/0123456789abcdef0123456789abcdef01234567/cifar10_perfmetrics.txt"
TIMES = "".join(f"{index}.0 90.0 {index + 1} {200 * (index + 1)}\n" for index in range(SIZE)).encode()
SECONDS, MEAN = seconds_column("cifar10"), accuracy_column("cifar10", "test")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    monkeypatch.delenv("BUDGETNAS_BASE_URL", raising=False)
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "home"


@pytest.fixture
def small_manifest(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """Replace the manifest by one with a single small file."""
    entry = Entry("the times", PATH, f"http://127.0.0.1:9/{PATH}", "0" * 40, "MIT", len(TIMES), hashlib.sha256(TIMES).hexdigest())
    monkeypatch.setattr(fetch, "manifest", lambda: (entry,))
    return entry


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], str]]:
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    running = []

    def start(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def mirror(tmp_path: Path, serve: Callable[[Path], str]) -> str:
    file = tmp_path / "mirror" / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(TIMES)
    return serve(tmp_path / "mirror")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def listed() -> dict[str, list[dict[str, object]]]:
    listing: dict[str, list[dict[str, object]]] = json.loads(run("list", "--json").stdout)
    return listing


def importer(monkeypatch: pytest.MonkeyPatch, *tables: Table, warning: str | None = None) -> list[tuple[Path, bool]]:
    """Make every import return these tables; returns the list of the calls."""
    calls: list[tuple[Path, bool]] = []

    def import_upstream(path: Path, force: bool, progress: Callable[[int, int], None]) -> dict[str, Table]:
        calls.append((path, force))
        progress(1, 2)
        if warning:
            warnings.warn(warning, importing.PartialImport, stacklevel=2)
        return {table.space: table for table in tables}

    monkeypatch.setattr(importing, "import_upstream", import_upstream)
    return calls


def table_of(columns: dict[str, float], source: str, space: str = "nasbench201") -> Table:
    return Table.from_columns(space, {name: np.full(SIZE, value) for name, value in columns.items()}, dict.fromkeys(columns, source))


def test_list_without_tables_names_the_command_that_downloads_them(home: Path) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert str(home) in result.stdout and "No table is here yet: run `budgetnas data fetch`" in result.stdout
    assert "HW-NAS-Bench metrics, CIFAR-10" in result.stdout and "missing (optional)" in result.stdout
    assert not home.exists()


def test_list_as_json_without_tables(home: Path) -> None:
    listing = listed()
    assert listing["home"] == str(home) and listing["tables"] == []
    (shipped,) = listing["shipped"]
    assert (shipped["space"], shipped["rows"], shipped["datasets"], shipped["problem"]) == ("nasbench201", SIZE, ["digits201"], None)
    assert [file["state"] for file in listing["files"]] == ["missing"] * 10
    assert [file["optional"] for file in listing["files"]].count(True) == 1


def test_list_shows_tables_files_and_their_state(home: Path, small_manifest: Entry) -> None:
    columns = {SECONDS: 1.0, MEAN: 2.0, cost_column("latency_ms", "cifar100", "pixel3"): 3.0}
    table = table_of(columns, "a [source]")
    table.write(home / "nasbench201.parquet")
    Table.from_columns("fbnet-operators", {"latency_ms/raspi4": np.ones(3)}, {"latency_ms/raspi4": "p"}).write(
        home / "fbnet-operators.parquet"
    )
    file = fetch.upstream_file(small_manifest)
    file.parent.mkdir(parents=True)
    for state, name in (("partial", file.name + ".part"), ("damaged", file.name)):
        (file.parent / name).write_bytes(TIMES[:-1])
        assert listed()["files"][0]["state"] == state
    file.write_bytes(TIMES)
    listing = listed()
    assert listing["files"][0] == {
        "what": "the times", "path": PATH, "state": "present", "size_bytes": len(TIMES), "licence": "MIT", "optional": False,
    }  # fmt: skip
    operators, cells = listing["tables"]
    assert cells == {
        "path": str(home / "nasbench201.parquet"), "space": "nasbench201", "rows": SIZE, "datasets": ["cifar10", "cifar100"],
        "columns": sorted(columns), "checksum": table.checksum, "size_bytes": (home / "nasbench201.parquet").stat().st_size,
        "sources": ["a [source]"], "problem": None,
    }  # fmt: skip
    assert (operators["space"], operators["rows"], operators["datasets"]) == ("fbnet-operators", 3, [])
    shown = run("list").stdout
    for text in (table.checksum, "nasbench201, 15,625 rows", "cifar10, cifar100", "a [source]", "3: 1 accuracy, 1 latency_ms", "present"):
        assert text in shown


def test_list_shows_a_damaged_table_as_damaged(home: Path) -> None:
    table_of({SECONDS: 1.0}, "s").write(home / "good.parquet")
    whole = (home / "good.parquet").read_bytes()
    (home / "cut.parquet").write_bytes(whole[:-9])
    middle = len(whole) // 100
    (home / "edited.parquet").write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    problems = {Path(str(table["path"])).stem: table["problem"] for table in listed()["tables"]}
    assert problems["good"] is None
    assert "damaged" in str(problems["cut"]) and "damaged" in str(problems["edited"])
    assert "problem" in run("list").stdout


@pytest.mark.parametrize("by", ["option", "variable"])
def test_fetch_makes_the_table_from_a_mirror(
    home: Path, small_manifest: Entry, mirror: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "variable":
        monkeypatch.setenv("BUDGETNAS_BASE_URL", mirror)
    result = run("fetch", *(["--base-url", mirror] if by == "option" else []))
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.splitlines() == [
        "1 files downloaded, 0 already present; all checksums match",
        f"nasbench201: 15,625 rows, 1 columns, in {home / 'nasbench201.parquet'}",
    ]
    assert Table.open(home / "nasbench201.parquet").column(SECONDS)[2] == 600.0
    assert "0 files downloaded, 1 already present" in run("fetch", "--base-url", mirror).stdout


def test_fetch_of_the_real_files(real_data: Path, home: Path, serve: Callable[[Path], str]) -> None:
    result = run("fetch", "--base-url", serve(real_data / "mirror"))
    assert "9 files downloaded" in result.stdout and "15,625 rows, 35 columns" in result.stdout
    assert result.stderr.startswith("note: left out, since optional: ") and result.stderr.count("\n") == 1
    assert [file["state"] for file in listed()["files"]] == ["present"] * 9 + ["missing"]
    assert listed()["tables"][0]["datasets"] == ["ImageNet16-120", "cifar10", "cifar100"]


def test_fetch_raises_a_one_line_error_and_prints_nothing(home: Path, small_manifest: Entry, mirror: str, tmp_path: Path) -> None:
    (tmp_path / "mirror" / PATH).write_bytes(TIMES[:-1] + b"!")
    result = CliRunner().invoke(app, ["fetch", "--base-url", mirror])
    assert isinstance(result.exception, FetchError) and "\n" not in str(result.exception) and small_manifest.sha256 in str(result.exception)  # type: ignore[operator]
    assert result.output == "" and not (home / "nasbench201.parquet").exists()
    result = CliRunner().invoke(app, ["fetch", "--base-url", "ftp://somewhere"])
    assert isinstance(result.exception, FetchError) and "'ftp://somewhere' is not a mirror" in str(result.exception)


def test_import_creates_missing_tables(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archive").write_bytes(b"")
    cells = table_of({MEAN: 1.0, MEAN + "/777": 2.0}, "archive")
    operators = Table.from_columns("fbnet-operators", {"latency_ms/raspi4": np.ones(3)}, {"latency_ms/raspi4": "archive"})
    calls = importer(monkeypatch, cells, operators)
    result = run("import", str(tmp_path / "archive"))
    assert calls == [(tmp_path / "archive", False)]
    assert result.stdout.splitlines() == [
        f"{tmp_path / 'archive'}: nasbench201, 2 columns added, 0 replaced in {home / 'nasbench201.parquet'} (2 accuracy)",
        f"{tmp_path / 'archive'}: fbnet-operators, 1 columns added, 0 replaced in {home / 'fbnet-operators.parquet'} (1 latency_ms)",
    ]
    assert Table.open(home / "nasbench201.parquet").checksum == cells.checksum
    assert Table.open(home / "fbnet-operators.parquet").checksum == operators.checksum


def test_import_adds_columns_and_replaces_existing_ones(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_of({MEAN: 1.0, SECONDS: 5.0}, PATH).write(home / "nasbench201.parquet")
    (tmp_path / "archive").write_bytes(b"")
    calls = importer(monkeypatch, table_of({MEAN: 2.0, MEAN + "/777": 3.0}, "archive"))
    result = run("import", "--force", str(tmp_path / "archive"), str(tmp_path / "archive"))
    assert calls == [(tmp_path / "archive", True)] * 2
    assert "1 columns added, 1 replaced" in result.stdout.splitlines()[0]
    table = Table.open(home / "nasbench201.parquet")
    assert {name: table.column(name)[0] for name in table} == {MEAN: 2.0, MEAN + "/777": 3.0, SECONDS: 5.0}
    assert table.sources == {MEAN: "archive", MEAN + "/777": "archive", SECONDS: PATH}


def test_imported_columns_survive_a_fetch(
    home: Path, small_manifest: Entry, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").write_bytes(b"")
    importer(monkeypatch, table_of({MEAN + "/777": 3.0, SECONDS: 7.0}, "archive"))
    run("import", str(tmp_path / "archive"))
    before = Table.open(home / "nasbench201.parquet").checksum
    run("fetch", "--base-url", mirror)
    assert Table.open(home / "nasbench201.parquet").checksum == before


def test_import_reports_partial_columns_and_keeps_complete_ones(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_of({MEAN: 1.0}, PATH).write(home / "nasbench201.parquet")
    (tmp_path / "archive").write_bytes(b"")
    few = np.where(np.arange(SIZE) < 3, 9.0, np.nan)
    importer(monkeypatch, Table.from_columns("nasbench201", {MEAN: few}, {MEAN: "archive"}), warning="archive has 3 of the cells")
    result = run("import", str(tmp_path / "archive"))
    assert result.stderr.splitlines()[0] == "note: archive has 3 of the cells"
    assert "knows 3 of 15625 rows" in result.stderr.splitlines()[1]
    assert "0 columns added, 0 replaced" in result.stdout
    assert Table.open(home / "nasbench201.parquet").column(MEAN)[0] == 1.0


def test_a_refused_import_is_a_one_line_error_and_changes_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_of({MEAN: 1.0}, PATH).write(home / "nasbench201.parquet")
    old = (home / "nasbench201.parquet").read_bytes()
    (tmp_path / "archive").write_bytes(b"")
    calls = importer(monkeypatch, Table.from_columns("nasbench201", {MEAN: np.ones(4)}, {MEAN: "archive"}))
    result = CliRunner().invoke(app, ["import", str(tmp_path / "archive"), str(tmp_path / "absent")])
    assert isinstance(result.exception, TableError) and f"there is no {tmp_path / 'absent'}" in str(result.exception) and calls == []
    result = CliRunner().invoke(app, ["import", str(tmp_path / "archive")])
    assert isinstance(result.exception, TableError) and "cannot be joined" in str(result.exception)
    assert (home / "nasbench201.parquet").read_bytes() == old and len(list(home.iterdir())) == 1


@pytest.mark.parametrize("arguments", [["import"], ["fetch", "--base-uri", "x"], ["list", "extra"], ["unknown"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
