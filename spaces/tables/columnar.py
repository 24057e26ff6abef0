"""The checked columnar file: one Parquet file per space, with one row per architecture and one checksum per column.

A column is read on first use, and its sha256 is checked then; an edited file is refused. The checksum of the whole table covers the names
and contents of its columns, so it does not depend on the version of Parquet that wrote the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.files import replacing

FORMAT = 1
MAX_ROWS = 10_000_000  # far more than any benchmark table; a small file that claims more could only fill the memory
_KEY = b"budgetnas"
Column = NDArray[np.float64]


class TableError(ValueError):
    """A table is missing, damaged, edited or of another shape; the message names the fault and the remedy."""


class DamagedTable(TableError):
    """A table of this project was cut off or edited. `budgetnas data fetch` may replace it."""


def column_digest(values: Column) -> str:
    """Return the sha256 of a column: of its values as little-endian float64, with every NaN in the standard form."""
    plain = np.where(np.isnan(values), np.nan, values).astype("<f8")
    return hashlib.sha256(plain.tobytes()).hexdigest()


def _table_digest(space: str, digests: Mapping[str, str]) -> str:
    text = json.dumps([space, sorted(digests.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _header_digest(header: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in header.items() if key != "sha256"}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Table:
    """Columns of figures on the architectures of a space. Row i is the architecture with index i; NaN means unknown or not supported."""

    def __init__(
        self, space: str, rows: int, digests: Mapping[str, str], sources: Mapping[str, str], loaded: dict[str, Column], path: Path | None
    ):
        self.space = space
        self.rows = rows
        self.path = path
        self.sources = dict(sources)
        self.checksum = _table_digest(space, digests)
        self._digests = dict(digests)
        self._loaded = loaded

    @classmethod
    def from_columns(cls, space: str, columns: Mapping[str, Column], sources: Mapping[str, str]) -> Table:
        """Return a table in memory.

        Args:
            space: The name of the space.
            columns: The columns by name, each of shape (rows,).
            sources: The source of every column, such as a file.

        Raises:
            TableError: A column has another shape or no source.
        """
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
        """Return a table on disk. No column is read yet.

        Raises:
            TableError: There is no such file, or it is not a table of this project.
            DamagedTable: The file was cut off or edited.
        """
        with _parquet(path) as file:
            # Parquet stores the description twice, for itself and for Arrow; the two differ only in an edited file.
            header = _header(path, [(held or {}).get(_KEY) for held in (file.metadata.metadata, file.schema_arrow.metadata)])
            columns = header["columns"]
            # Checked before any column is read: nested columns, other types and absurd lengths never reach the reader.
            flat = [(field.name, str(field.type)) for field in file.schema_arrow]
            if sorted(flat) != sorted((name, "double") for name in columns) or file.metadata.num_rows != header["rows"]:
                raise DamagedTable(f"{path} does not hold the columns that it lists: it is damaged; run `budgetnas data fetch` again")
        digests = {name: column["sha256"] for name, column in columns.items()}
        sources = {name: column["source"] for name, column in columns.items()}
        return cls(header["space"], header["rows"], digests, sources, {}, path)

    def __contains__(self, name: object) -> bool:
        return name in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def column(self, name: str) -> Column:
        """Return a column, read-only, shape (rows,).

        Raises:
            TableError: The table has no column with this name.
            DamagedTable: The column does not match its checksum.
        """
        if name not in self._loaded:
            self.load([name])
        return self._loaded[name]

    def load(self, names: list[str]) -> None:
        """Read several columns at once and check each. Raises as `column` does."""
        missing = [name for name in names if name not in self._digests]
        if missing:
            raise TableError(f"the table {self.path or 'in memory'} has no column '{missing[0]}'")
        wanted = [name for name in dict.fromkeys(names) if name not in self._loaded]
        if not wanted or self.path is None:
            return
        with _parquet(self.path) as file:
            data = file.read(columns=wanted, use_threads=False)
            for name in wanted:
                column = _checked(data, name, self.rows, self._digests[name])
                if column is None:
                    problem = f"column '{name}' of {self.path} does not match its checksum: it was edited or damaged"
                    raise DamagedTable(f"{problem}; run `budgetnas data fetch` again")
                self._loaded[name] = column

    def merged(self, other: Table) -> Table:
        """Return a table in memory with the columns of both; for a column in both, that of `other`.

        Raises:
            TableError: The tables differ in space or number of rows.
        """
        if (other.space, other.rows) != (self.space, self.rows):
            raise TableError(
                f"a table of {other.rows} rows of '{other.space}' cannot be joined to one of {self.rows} rows of '{self.space}'"
            )
        for table in (self, other):
            table.load(list(table))
        return Table.from_columns(self.space, self._loaded | other._loaded, self.sources | other.sources)

    def write(self, path: Path) -> None:
        """Write the table to `path`, completely or not at all. On an error, an old file stays unchanged.

        Raises:
            TableError: The file cannot be written; the message gives the reason.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = sorted(self)
        self.load(names)
        columns: dict[str, Any] = {name: {"sha256": self._digests[name], "source": self.sources[name]} for name in names}
        header: dict[str, Any] = {"format": FORMAT, "space": self.space, "rows": self.rows, "columns": columns}
        header["sha256"] = _header_digest(header)
        data = pa.table({name: self._loaded[name] for name in names}).replace_schema_metadata({_KEY: json.dumps(header, sort_keys=True)})
        options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False, "column_encoding": "BYTE_STREAM_SPLIT"}
        try:
            with replacing(path, sync=True) as partial:
                pq.write_table(data, partial, **options)
        except OSError as error:
            raise TableError(f"cannot write {path}: {error.strerror or _first_line(error)}; the old file, if any, is untouched") from None


def _checked(data: Any, name: str, rows: int, digest: str) -> Column | None:
    """Return a column of an Arrow table, read-only; None unless it has `rows` float64 values with the sha256 `digest`."""
    import pyarrow as pa

    if data.column_names.count(name) != 1 or data.column(name).type != pa.float64() or len(data.column(name)) != rows:
        return None
    if data.column(name).null_count:
        return None
    # Arrow's to_numpy imports pandas, which takes longer than everything else in a query.
    chunks = [np.frombuffer(chunk.buffers()[1], np.float64, len(chunk), 8 * chunk.offset) for chunk in data.column(name).chunks]
    column: Column = np.concatenate(chunks) if chunks else np.empty(0)
    column.setflags(write=False)
    return column if column_digest(column) == digest else None


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """Open a Parquet file for reading. Its errors become a TableError, which names the file and the remedy."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file
    except FileNotFoundError:
        raise TableError(f"there is no table at {path}; run `budgetnas data fetch`") from None
    except PermissionError as error:
        raise TableError(f"cannot read {path}: {error.strerror or _first_line(error)}") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedTable(
            f"{path} cannot be read as Parquet ({_first_line(error)}); it is damaged: run `budgetnas data fetch` again"
        ) from None


def _header(path: Path, copies: list[bytes | None]) -> dict[str, Any]:
    """Return the description in a file, with its types checked: format, space, rows, columns.

    Raises:
        TableError: The file is not a table of this project, or has another format.
        DamagedTable: The description does not match its checksum.
    """
    damaged = DamagedTable(
        f"the description in {path} does not match its checksum: it was edited or damaged; run `budgetnas data fetch` again"
    )
    stranger = TableError(f"{path} is Parquet, but not a table of budgetnas; move it away and run `budgetnas data fetch`")
    if copies == [None] * len(copies):
        raise stranger
    if len(set(copies)) > 1:
        raise damaged
    try:
        header = json.loads(copies[0] or b"")
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(header, dict) or "format" not in header:
        raise stranger
    if header["format"] != FORMAT:
        raise TableError(
            f"{path} has table format {header['format']!r:.20}; this version reads {FORMAT}: move it away and run `budgetnas data fetch`"
        )
    if header.get("sha256") != _header_digest(header) or not _well_formed(header):
        raise damaged
    return header


def _well_formed(header: Mapping[str, Any]) -> bool:
    columns, rows = header.get("columns"), header.get("rows")
    if not isinstance(columns, dict) or not columns or type(rows) is not int or not 0 <= rows <= MAX_ROWS:
        return False
    described = all(isinstance(c, dict) and isinstance(c.get("sha256"), str) and isinstance(c.get("source"), str) for c in columns.values())
    return described and isinstance(header.get("space"), str)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
