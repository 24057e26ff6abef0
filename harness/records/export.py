"""Exports records, sorted by identity, as JSON lines, as a table in CSV or Parquet, or as a new SQLite file."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from budgetnas.harness.records.database import CHUNK, Database, Row, RunError
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR
from budgetnas.harness.records.trial import reason_of
from budgetnas.spaces.devices import RESOURCES
from budgetnas.spaces.files import replacing

# Every column with its type; docs/reference/files.md explains them.
COLUMNS: dict[str, type] = {
    "identity": str, "space": str, "dataset": str, "device": str, "limits": str, "allowance_queries": int, "allowance_seconds": float,
    "method": str, "method_version": str, "settings": str, "seed": int, "evaluator": str, "ranking_class": str, "status": str,
    "failure": str, "queries": int, "repeats": int, "simulated_seconds": float, "architecture": str, "feasible": bool, "violation": float,
    "validation": float, "test": float, "regret": float, **dict.fromkeys(RESOURCES, float),
}  # fmt: skip


class Format(StrEnum):
    """The formats of an export."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    SQLITE = "sqlite"


def export(rows: Iterable[Row], format: Format, out: IO[bytes]) -> int:
    """Write rows to an open file and return their number.

    Raises:
        ValueError: A record was changed or damaged, or the format is SQLite, which needs a path: use `export_to`.
        RunError: A record does not have the values of a table.
    """
    if format is Format.JSONL:
        return _write(out, (row.json() + b"\n" for row in rows))
    if format is Format.CSV:
        return _write(out, _csv_lines(rows)) - 1
    if format is Format.PARQUET:
        return _write_parquet(out, rows)
    raise ValueError("a SQLite file needs a path: use export_to")


def export_to(rows: Iterable[Row], format: Format, path: Path) -> int:
    """Write rows to a file, atomically, and return their number. Raises `RunError` if it cannot be written, and as `export` does."""
    try:
        with replacing(path) as partial:
            if format is Format.SQLITE:
                return _write_database(Database(partial), rows)
            with partial.open("wb") as out:
                return export(rows, format, out)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another file with --out") from None


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `COLUMNS` for a record; None stands for a missing value.

    The columns from `architecture` on describe the final recommendation. `limits` and `settings` are JSON texts.
    """
    trial, final = record["trial"], record["final"] or {}
    cost = final.get("cost") or {}
    return {
        "identity": record["identity"],
        "space": trial["space"],
        "dataset": trial["dataset"],
        "device": trial["device"],
        "limits": json.dumps(trial["limits"], sort_keys=True),
        "allowance_queries": trial["allowance"]["queries"],
        "allowance_seconds": trial["allowance"]["seconds"],
        "method": trial["method"]["name"],
        "method_version": str(trial["method"]["version"]),
        "settings": json.dumps(trial["method"]["settings"], sort_keys=True),
        "seed": trial["seed"],
        "evaluator": trial.get("evaluator") or trial.get("training", {}).get("evaluator", DEFAULT_EVALUATOR),
        "ranking_class": record.get("ranking_class", "queries"),
        "status": record["status"],
        "failure": record["failure"],
        "queries": record["queries"],
        "repeats": record["repeats"],
        "simulated_seconds": record["simulated_seconds"],
        "architecture": final.get("text"),
        "feasible": final.get("feasible"),
        "violation": final.get("violation"),
        "validation": final.get("validation"),
        "test": final.get("test"),
        "regret": record["regret"],
        **{name: cost.get(name) for name in RESOURCES},
    }


def _checked(row: Row) -> dict[str, Any]:
    """Return the values of `COLUMNS` for a row. Raises `RunError` if the record lacks a value or has one of another type."""
    try:
        values = flat(row.record())
        if not all(value is None or _is(value, COLUMNS[name]) for name, value in values.items()):
            raise TypeError("a value has the wrong type")
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"the record of trial {row.identity} is not one of a search ({reason_of(error)}); export it as jsonl") from None
    return values


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))


def _write(out: IO[bytes], lines: Iterator[bytes]) -> int:
    count = 0
    for line in lines:
        out.write(line)
        count += 1
    return count


def _csv_lines(rows: Iterable[Row]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS))  # with the default line end \r\n, a text that contains either character is quoted
    writer.writeheader()
    yield _line(text)
    for row in rows:
        writer.writerow(_checked(row))
        yield _line(text)


def _line(text: io.StringIO) -> bytes:
    line = text.getvalue().removesuffix("\r\n") + "\n"
    text.seek(0)
    text.truncate()
    return line.encode()


def _write_parquet(out: IO[bytes], rows: Iterable[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    count, ahead = 0, iter(rows)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        while part := [_checked(row) for row in itertools.islice(ahead, 20 * CHUNK)]:
            writer.write_table(pa.Table.from_pylist(part, schema))
            count += len(part)
    return count


def _write_database(database: Database, rows: Iterable[Row]) -> int:
    count, ahead = 0, iter(rows)
    database.fill()
    while part := list(itertools.islice(ahead, CHUNK)):
        for row in part:
            row.record()
        database.write(part)
        count += len(part)
    return count
