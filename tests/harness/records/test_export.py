"""Exports: records as JSON lines, tables or SQLite files, sorted by identity; and the recovery of a damaged file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import golden_identities as golden
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.records.database import PAGE_BYTES, Database, Row, RunError
from budgetnas.harness.records.export import COLUMNS, Format, export, export_to, flat
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.records.store import Store

MakeRow = Callable[..., Row]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
RUNS = golden.HERE / "runs"
TEXTS = {path.stem: path.read_bytes() for path in sorted(RUNS.glob("*/records/*.json"))}
ROWS = [Row.of(json.loads(text), {"trial_seconds": 0.25}) for text in TEXTS.values()]
LINES = b"".join(TEXTS[identity] for identity in sorted(TEXTS))
RECORDS = [json.loads(TEXTS[identity]) for identity in sorted(TEXTS)]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with all records; tests read or copy it."""
    store = Store(tmp_path_factory.mktemp("written") / "run")
    store.create()
    store.write_rows(ROWS)
    return store.root


def exported(rows: Iterator[Row], format: Format) -> bytes:
    out = io.BytesIO()
    assert export(rows, format, out) == len(ROWS)
    return out.getvalue()


def test_fixture_has_records_of_every_kind() -> None:
    assert len(ROWS) == 28 and {row.status for row in ROWS} == {"ok", "failed"}
    assert {record["trial"].get("training", {}).get("evaluator") for record in RECORDS} == {None, "supernet"}


@settings(max_examples=15)  # a commit waits for the disk
@given(order=st.permutations(range(len(ROWS))), parts=st.integers(7, 28))
def test_json_lines_are_the_canonical_records_sorted_by_identity(
    tmp_path_factory: pytest.TempPathFactory, order: Sequence[int], parts: int
) -> None:
    database = Database(tmp_path_factory.mktemp("order") / "records.sqlite")
    database.create()
    for start in range(0, len(order), parts):
        database.write([ROWS[number] for number in order[start : start + parts]])
    assert exported(database.rows(), Format.JSONL) == LINES


# How to read each column from a record, written independently of the code.
SOURCES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "identity": lambda record: record["identity"],
    "space": lambda record: record["trial"]["space"],
    "dataset": lambda record: record["trial"]["dataset"],
    "device": lambda record: record["trial"]["device"],
    "limits": lambda record: json.dumps(record["trial"]["limits"], sort_keys=True),
    "allowance_queries": lambda record: record["trial"]["allowance"]["queries"],
    "allowance_seconds": lambda record: record["trial"]["allowance"]["seconds"],
    "method": lambda record: record["trial"]["method"]["name"],
    "method_version": lambda record: record["trial"]["method"]["version"],
    "settings": lambda record: json.dumps(record["trial"]["method"]["settings"], sort_keys=True),
    "seed": lambda record: record["trial"]["seed"],
    "evaluator": lambda record: record["trial"]["training"]["evaluator"] if "training" in record["trial"] else "table",
    "ranking_class": lambda record: record.get("ranking_class", "queries"),
    "status": lambda record: record["status"],
    "failure": lambda record: record["failure"],
    "queries": lambda record: record["queries"],
    "repeats": lambda record: record["repeats"],
    "simulated_seconds": lambda record: record["simulated_seconds"],
    "architecture": lambda record: record["final"] and record["final"]["text"],
    "feasible": lambda record: record["final"] and record["final"]["feasible"],
    "violation": lambda record: record["final"] and record["final"]["violation"],
    "validation": lambda record: record["final"] and record["final"]["validation"],
    "test": lambda record: record["final"] and record["final"]["test"],
    "regret": lambda record: record["regret"],
    **{
        name: lambda record, name=name: record["final"] and record["final"]["cost"].get(name)  # type: ignore[misc]
        for name in ("params", "macs", "latency_ms", "energy_mj", "cycles")
    },
}


def test_every_column_has_the_value_of_the_record() -> None:
    assert set(SOURCES) == set(COLUMNS)
    for record in RECORDS:
        assert flat(record) == {name: source(record) for name, source in SOURCES.items()}
    for name in COLUMNS:  # the fixture has a value for each column, so that none is untested
        known = any(source(record) is not None for source in [SOURCES[name]] for record in RECORDS)
        assert known or name in ("allowance_seconds", "energy_mj"), name


def test_a_parquet_table_has_the_values_and_their_types(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    assert export_to(sorted(ROWS, key=lambda row: row.identity), Format.PARQUET, path) == len(ROWS)
    assert pq.read_table(path).to_pylist() == [flat(record) for record in RECORDS]
    frame = pd.read_parquet(path)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["test"].dropna().tolist() == [record["final"]["test"] for record in RECORDS if record["final"]]
    assert (frame["seed"].dtype, frame["test"].dtype, frame["queries"].dtype) == (np.int64, np.float64, np.int64)


def test_a_csv_table_has_the_values_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    assert export_to(sorted(ROWS, key=lambda row: row.identity), Format.CSV, path) == len(ROWS)
    texts = {name: str for name, kind in COLUMNS.items() if kind is str}
    frame = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={name: [""] for name in COLUMNS})
    assert list(frame.columns) == list(COLUMNS)
    for found, record in zip(frame.to_dict("records"), RECORDS, strict=True):
        for name, value in flat(record).items():
            if value in (None, ""):
                assert pd.isna(found[name]), name
            else:
                assert found[name] == value, name


@given(failure=st.text(st.characters(codec="utf-8")), number=st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_survives_a_table(failure: str, number: float) -> None:
    record = RECORDS[0] | {"failure": failure, "simulated_seconds": number}
    rows = [Row.of(record), Row.of(record)]
    out = io.BytesIO()
    assert export(rows, Format.CSV, out) == 2
    with io.StringIO(out.getvalue().decode(), newline="") as text:
        found = list(csv.DictReader(text))
    assert [each["failure"] for each in found] == [failure, failure]
    assert [float(each["simulated_seconds"]) for each in found] == [number, number]
    out = io.BytesIO()
    assert export(rows, Format.PARQUET, out) == 2
    assert pq.read_table(io.BytesIO(out.getvalue())).to_pylist() == [flat(record)] * 2


@pytest.mark.parametrize("format", Format)
def test_a_run_without_records_is_an_empty_file_of_each_kind(tmp_path: Path, format: Format) -> None:
    path = tmp_path / "empty"
    assert export_to([], format, path) == 0
    if format is Format.JSONL:
        assert path.read_bytes() == b""
    elif format is Format.CSV:
        assert path.read_text() == ",".join(COLUMNS) + "\n"
    elif format is Format.PARQUET:
        assert pq.read_table(path).column_names == list(COLUMNS)
    else:
        assert list(Database(path).rows()) == []


def test_new_sqlite_file_has_the_same_rows(tmp_path: Path, make_row: MakeRow) -> None:
    first, second = Database(tmp_path / "first"), Database(tmp_path / "second")
    first.create()
    rows = [*ROWS, *(make_row(number, size=20_000, attempts=number + 1) for number in range(5))]
    first.write(rows)
    assert export_to(first.rows(), Format.SQLITE, second.path) == len(rows)
    second.check()
    assert list(second.rows()) == list(first.rows())
    second.write([make_row(2)])
    found = second.row(make_row(2).identity)
    assert found is not None and found.attempts == 4
    with pytest.raises(ValueError, match="a SQLite file needs a path"):
        export([], Format.SQLITE, io.BytesIO())


def damaged(record: dict[str, Any], **changes: Any) -> Row:
    return Row.of({name: value for name, value in (record | changes).items() if value is not ...})


@pytest.mark.parametrize("format", [Format.CSV, Format.PARQUET])
@pytest.mark.parametrize(
    "changes",
    [
        {"queries": ...},
        {"queries": "many"},
        {"queries": 1.5},
        {"queries": True},
        {"final": 5},
        {"final": []},
        {"regret": "0.5"},
        {"failure": 7},
    ],
)
def test_record_that_does_not_fit_a_table_is_named_and_the_old_file_stays(tmp_path: Path, format: Format, changes: dict[str, Any]) -> None:
    if changes == {"final": []}:  # read as if nothing was recommended
        assert flat(RECORDS[0] | changes)["test"] is None
        return
    path = tmp_path / "table"
    path.write_text("of before")
    row = damaged(RECORDS[0], **changes)
    with pytest.raises(RunError, match=f"the record of trial {row.identity} is not one of a search .*; export it as jsonl"):
        export_to([ROWS[0], row], format, path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("table", "of before")]


@pytest.mark.parametrize("format", Format)
def test_unwritable_path_gives_one_line(tmp_path: Path, format: Format) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for out, reason in ((tmp_path / "folder", "Is a directory"), (tmp_path / "file" / "below", "File exists")):
        with pytest.raises(RunError, match=f"cannot write {out}: {reason}; choose another file with --out"):
            export_to(ROWS, format, out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (code, "", 1), result.stderr
    return result.stderr


@pytest.mark.slow
def test_export_command(written: Path, command: Command, tmp_path: Path) -> None:
    shown = command("export", str(written))
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, LINES.decode(), "28 records\n")
    saved = command("export", str(written), "--format", "csv", "--out", "table.csv")
    assert (saved.returncode, saved.stdout, saved.stderr) == (0, "28 records in table.csv\n", "")
    assert command("export", str(written), "--format", "csv").stdout == (tmp_path / "table.csv").read_text()
    for format in ("parquet", "sqlite"):
        refused = one_line(command("export", str(written), "--format", format), code=2)
        assert f"{format} goes into a file: name it with --out; see `budgetnas export --help`" in refused
    refused = one_line(command("export", str(written), "--format", "sqlite", "--out", str(written / "records.sqlite")), code=2)
    assert "is the file of the run, which a run may be writing; choose another file with --out" in refused
    assert "holds no records; make some with" in one_line(command("export", "nowhere"), code=1)


@pytest.mark.slow
def test_closed_pipe_ends_the_command_quietly(command: Command, tmp_path: Path, make_row: MakeRow) -> None:
    store = Store(tmp_path / "run")
    store.create()
    store.write_rows([make_row(number, size=2_000) for number in range(100)])  # more than a pipe holds
    program = [sys.executable, "-c", "from budgetnas.harness.cli import main; main()", "export", str(store.root)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        code = process.wait()
    assert (first, errors, code) == (next(store.rows()).json() + b"\n", b"", 141)


@pytest.mark.slow
def test_damaged_record_is_named_and_left_out_with_recover(written: Path, command: Command, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(written, root)
    victim = RECORDS[3]["identity"]
    with closing(sqlite3.connect(root / "records.sqlite")) as connection, connection:
        connection.execute("UPDATE records SET sha256 = ? WHERE identity = ?", ("0" * 64, victim))
    refused = one_line(command("export", str(root), "--out", "lines.jsonl"), code=1)
    assert f"the record of trial {victim} in {root / 'records.sqlite'} cannot be used: it was changed or damaged" in refused
    assert f"budgetnas export {root} --recover" in refused and not (tmp_path / "lines.jsonl").exists()
    saved = command("export", str(root), "--recover")
    assert (saved.returncode, saved.stderr) == (0, f"left out: the record of trial {victim} is damaged\n27 records\n")
    assert saved.stdout == "".join(canonical_json(record) + "\n" for record in RECORDS if record["identity"] != victim)


@pytest.mark.slow
def test_damaged_file_is_recovered_as_its_error_message_advises(command: Command, tmp_path: Path, make_row: MakeRow) -> None:
    store = Store(tmp_path / "run")
    store.create()
    rows = {row.identity: row for row in (make_row(number, size=3_000, attempts=2) for number in range(40))}
    store.write_rows(list(rows.values()))
    path = store.database.path
    content = bytearray(path.read_bytes())
    content[:PAGE_BYTES] = hashlib.sha256(b"garbled").digest() * (PAGE_BYTES // 32)  # the root page of the table
    content[-2 * PAGE_BYTES : -PAGE_BYTES] = bytes(PAGE_BYTES)
    path.write_bytes(content)
    refused = one_line(command("export", str(store.root)), code=1)
    advice = refused.split("`")[1]
    assert advice == f"budgetnas export {store.root} --recover --format sqlite --out NEW.sqlite"
    saved = command(*advice.split()[1:])
    assert saved.returncode == 0, saved.stderr
    (tmp_path / "NEW.sqlite").replace(path)
    store.check()
    found = {row.identity: row for row in store.rows()}
    assert found.items() <= rows.items() and 40 > len(found) > 30
    assert saved.stdout == f"{len(found)} records in NEW.sqlite\n"


def test_recovery_of_a_run_of_version_02_migrates_it_first(command: Command, tmp_path: Path) -> None:
    shutil.copytree(golden.HERE / "runs" / "table-seed", tmp_path / "run")
    result = command("export", str(tmp_path / "run"), "--recover")
    assert (result.returncode, result.stdout.count("\n"), result.stderr) == (0, 24, "24 records\n")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["nothing", "text", "empty"])
def test_recovery_without_any_record(command: Command, tmp_path: Path, what: str) -> None:
    root = tmp_path / "run"
    root.mkdir()
    if what != "nothing":
        (root / "records.sqlite").write_text("text\n" * 10_000 if what == "text" else "")
    result = command("export", str(root), "--recover")
    if what == "nothing":
        assert f"cannot read {root / 'records.sqlite'}: No such file or directory" in one_line(result, code=1)
    else:
        assert "has no intact record, so nothing can be recovered; delete it and run the study again" in one_line(result, code=1)


def test_the_file_of_the_run_is_not_overwritten_by_any_name(written: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(written)
    before = (written / "records.sqlite").read_bytes()
    for out in (tmp_path / "latest" / "records.sqlite", written / ".." / written.name / "records.sqlite"):
        refused = command("export", str(written), "--format", "csv", "--out", str(out))
        assert "is the file of the run, which a run may be writing; choose another file with --out" in one_line(refused, 2)
    assert (written / "records.sqlite").read_bytes() == before
