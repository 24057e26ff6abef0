"""The checked columnar file: one Parquet file a space, a row an architecture, a checksum a column.

A column is read when it is first asked for, and its sha256 is checked then; an edited file is refused. The file's own checksum is that
of its columns' names and contents, so it is the same whichever version of Parquet wrote the bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
_KEY = b"budgetnas"
Column = NDArray[np.float64]


class TableError(ValueError):
    """A table that is missing, damaged, edited or of another shape; the message says which and what to do."""


def column_digest(values: Column) -> str:
    """Return the sha256 of a column: its values as little-endian float64, NaN in its one standard form."""
    plain = np.where(np.isnan(values), np.nan, values).astype("<f8")
    return hashlib.sha256(plain.tobytes()).hexdigest()


def _table_digest(space: str, digests: Mapping[str, str]) -> str:
    text = json.dumps([space, sorted(digests.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Table:
    """The columns known of a space's architectures. Row i is the architecture with index i; NaN is 'not known' or 'not supported'."""

    def __init__(self, space: str, rows: int, digests: Mapping[str, str], sources: Mapping[str, str], loaded: dict[str, Column], path: Path | None):
        self.space = space
        self.rows = rows
        self.path = path
        self.sources = dict(sources)
        self.checksum = _table_digest(space, digests)
        self._digests = dict(digests)
        self._loaded = loaded

    @classmethod
    def from_columns(cls, space: str, columns: Mapping[str, Column], sources: Mapping[str, str]) -> Table:
        """Return a table held in memory. `TableError` unless all columns are one-dimensional and equally long."""
        loaded = {}
        for name, values in columns.items():
            column = np.ascontiguousarray(values, dtype=np.float64)
            if column.ndim != 1:
                raise TableError(f"column '{name}' has {column.ndim} dimensions; a column has one")
            column.setflags(write=False)
            loaded[name] = column
        lengths = {len(column) for column in loaded.values()}
        if len(lengths) != 1:
            raise TableError(f"a table needs columns of one length; these have {sorted(lengths)} rows")
        missing = sorted(set(loaded) - set(sources))
        if missing:
            raise TableError(f"no source was given for the columns {', '.join(missing)}")
        digests = {name: column_digest(column) for name, column in loaded.items()}
        return cls(space, lengths.pop(), digests, {name: sources[name] for name in loaded}, loaded, None)

    @classmethod
    def open(cls, path: Path) -> Table:
        """Return a table on disk; no column is read yet. `TableError` if the file is no table of this project or is cut off."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(path)
        except FileNotFoundError:
            raise TableError(f"there is no table at {path}; run `budgetnas data fetch`") from None
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{path} cannot be read as Parquet ({_first_line(error)}); it is damaged: run `budgetnas data fetch` again") from None
        try:
            header = json.loads((schema.metadata or {})[_KEY])
            if header["format"] != FORMAT:
                raise TableError(f"{path} has table format {header['format']}; this version reads {FORMAT}: run `budgetnas data fetch` again")
            columns = header["columns"]
            digests = {name: columns[name]["sha256"] for name in schema.names}
            sources = {name: columns[name]["source"] for name in schema.names}
            return cls(header["space"], header["rows"], digests, sources, {}, path)
        except (KeyError, TypeError, json.JSONDecodeError):
            raise TableError(f"{path} is Parquet, but not a table of budgetnas; move it away and run `budgetnas data fetch`") from None

    def __contains__(self, name: object) -> bool:
        return name in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def column(self, name: str) -> Column:
        """Return a column, read-only, shape (rows,). `TableError` if there is none of that name or its checksum is wrong."""
        if name not in self._loaded:
            self.load([name])
        return self._loaded[name]

    def load(self, names: list[str]) -> None:
        """Read several columns at once; each is checked. `TableError` as for `column`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        missing = [name for name in names if name not in self._digests]
        if missing:
            raise TableError(f"the table {self.path or 'in memory'} has no column '{missing[0]}'")
        wanted = [name for name in names if name not in self._loaded]
        if not wanted:
            return
        assert self.path is not None, "a table in memory has all its columns loaded"
        try:
            data = pq.read_table(self.path, columns=wanted, memory_map=True, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{self.path} is damaged ({_first_line(error)}); run `budgetnas data fetch` again") from None
        for name in wanted:
            values = data.column(name).to_numpy()
            if values.dtype != np.float64 or len(values) != self.rows or column_digest(values) != self._digests[name]:
                raise TableError(f"column '{name}' of {self.path} does not match its checksum: the file was edited or damaged; run `budgetnas data fetch` again")
            column: Column = np.array(values)
            column.setflags(write=False)
            self._loaded[name] = column

    def merged(self, other: Table) -> Table:
        """Return a table in memory with the columns of both; `other`'s win where both have one. `TableError` for another space or length."""
        if (other.space, other.rows) != (self.space, self.rows):
            raise TableError(f"a table of {other.rows} rows of '{other.space}' cannot be joined to one of {self.rows} rows of '{self.space}'")
        for table in (self, other):
            table.load(list(table))
        return Table.from_columns(self.space, self._loaded | other._loaded, self.sources | other.sources)

    def write(self, path: Path) -> None:
        """Write the table to `path`, whole or not at all; what was there stays if anything fails. `TableError` says why."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = sorted(self)
        self.load(names)
        columns: dict[str, Any] = {name: {"sha256": self._digests[name], "source": self.sources[name]} for name in names}
        header = {"format": FORMAT, "space": self.space, "rows": self.rows, "columns": columns}
        data = pa.table({name: self._loaded[name] for name in names}).replace_schema_metadata({_KEY: json.dumps(header, sort_keys=True)})
        with replacing(path) as partial:
            pq.write_table(data, partial, compression="zstd", use_dictionary=False, column_encoding="BYTE_STREAM_SPLIT")


class replacing:  # noqa: N801 - reads as a verb: `with replacing(path) as partial`
    """Give a temporary file beside `path` that takes its place when the block ends well and is removed when it does not."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Path:
        """Create the temporary file; `TableError` if the folder cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent)
        except OSError as error:
            raise TableError(f"cannot write {self.path}: {error.strerror or error}; the old file, if any, is untouched") from None
        os.close(handle)
        self.partial = Path(name)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        """Put the new file in place, or remove it and turn an error of the disk into a `TableError`."""
        try:
            if error is None:
                with self.partial.open("rb") as written:
                    os.fsync(written.fileno())
                self.partial.chmod(0o644)
                self.partial.replace(self.path)
        except OSError as late:
            error = late
        finally:
            self.partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise TableError(f"cannot write {self.path}: {error.strerror or _first_line(error)}; the old file, if any, is untouched") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
