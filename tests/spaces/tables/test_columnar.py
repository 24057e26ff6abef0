"""The columnar file: a written table is read back exactly, and any other file is refused."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from budgetnas.spaces.tables import columnar
from budgetnas.spaces.tables.columnar import DamagedTable, Table, TableError, column_digest

pytestmark = pytest.mark.slow

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


def small_table(rows: int = 40, columns: int = 3) -> Table:
    rng = np.random.default_rng(0)
    values = {f"latency_ms/d/{number}.x": rng.normal(size=rows) for number in range(columns)}
    return Table.from_columns("space", values, {name: f"from {name}" for name in values})


def contents(table: Table) -> tuple[object, ...]:
    """Return everything in a table, with every bit."""
    table.load(list(table))
    return (table.space, table.rows, table.checksum, table.sources, {name: column_digest(table.column(name)) for name in table})


def one_line(error: pytest.ExceptionInfo[TableError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(0, 30))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    columns = {name: draw(hnp.arrays(np.float64, rows, elements=FLOATS)) for name in names}
    return Table.from_columns(draw(NAMES), columns, {name: draw(NAMES) for name in names})


@settings(max_examples=60, deadline=None)
@given(table=tables())
def test_a_written_table_is_read_back_bit_by_bit(table: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        table.write(path)
        read = Table.open(path)
        assert contents(read) == contents(table)
        for name in table:
            np.testing.assert_array_equal(read.column(name), table.column(name))
            # Equality does not see the sign of zero.
            known = ~np.isnan(table.column(name))
            np.testing.assert_array_equal(np.signbit(read.column(name)[known]), np.signbit(table.column(name)[known]))
        assert [entry.name for entry in Path(folder).iterdir()] == ["t.parquet"]


@settings(max_examples=40, deadline=None)
@given(table=tables(), data=st.data())
def test_checksum_does_not_depend_on_the_order_of_columns(table: Table, data: st.DataObject) -> None:
    order = data.draw(st.permutations(list(table)))
    again = Table.from_columns(table.space, {name: table.column(name) for name in order}, table.sources)
    assert again.checksum == table.checksum


def test_checksum_depends_on_values_names_and_the_space() -> None:
    values = np.array([1.0, 2.0])
    sums = {
        Table.from_columns("s", {"a": values}, {"a": ""}).checksum,
        Table.from_columns("s", {"a": np.nextafter(values, 3.0)}, {"a": ""}).checksum,
        Table.from_columns("s", {"a": values[::-1]}, {"a": ""}).checksum,
        Table.from_columns("s", {"b": values}, {"b": ""}).checksum,
        Table.from_columns("t", {"a": values}, {"a": ""}).checksum,
    }
    assert len(sums) == 5


def test_column_digest_uses_little_endian_doubles_and_the_standard_nan() -> None:
    # sha256 of 000000000000f03f, the eight bytes of 1.0, computed by sha256sum of coreutils.
    assert column_digest(np.array([1.0])) == "6c3c396ed6b5c36dcae172271f462051b1266b851e92df3deea8ac65478fd712"
    odd_nan = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)
    assert np.isnan(odd_nan[0])
    assert column_digest(odd_nan) == column_digest(np.array([np.nan]))


def test_checksum_does_not_depend_on_the_encoding_in_parquet(tmp_path: Path) -> None:
    table = small_table()
    table.write(tmp_path / "a.parquet")
    data = pq.ParquetFile(tmp_path / "a.parquet").read()
    pq.write_table(data, tmp_path / "b.parquet", compression="snappy", use_dictionary=True, data_page_version="2.0", row_group_size=7)
    assert (tmp_path / "a.parquet").read_bytes() != (tmp_path / "b.parquet").read_bytes()
    assert contents(Table.open(tmp_path / "b.parquet")) == contents(table)


def test_columns_are_loaded_on_first_use_and_cannot_be_changed(tmp_path: Path) -> None:
    small_table().write(tmp_path / "t.parquet")
    table = Table.open(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").unlink()
    assert len(list(table)) == 3
    with pytest.raises(TableError, match="there is no table"):
        table.column("latency_ms/d/0.x")
    with pytest.raises(ValueError, match="read-only"):
        small_table().column("latency_ms/d/0.x")[0] = 1.0


def test_an_edited_byte_is_refused_or_does_not_change_the_table(tmp_path: Path) -> None:
    table, path = small_table(), tmp_path / "t.parquet"
    table.write(path)
    good, truth, refused = path.read_bytes(), contents(table), 0
    rng = np.random.default_rng(1)
    for place in range(4, len(good), 5):
        edited = bytearray(good)
        edited[place] ^= int(rng.integers(1, 256))
        path.write_bytes(edited)
        try:
            assert contents(Table.open(path)) == truth, f"the edit of byte {place} was not noticed"
        except TableError as error:
            assert "\n" not in str(error)
            refused += 1
    # An edit may pass only in bytes that Parquet ignores, such as the name of its writer.
    assert refused > 0.8 * len(range(4, len(good), 5))


def test_an_edited_value_is_refused_and_the_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    small_table().write(path)
    data = pq.ParquetFile(path).read()
    column = data.column(1).to_numpy().copy()
    column[3] += 1e-9
    edited = data.set_column(1, data.field(1), pa.array(column))
    pq.write_table(edited, path)
    table = Table.open(path)
    assert len(table.column("latency_ms/d/0.x")) == 40
    with pytest.raises(DamagedTable, match="fetch") as error:
        table.column("latency_ms/d/1.x")
    assert "'latency_ms/d/1.x'" in one_line(error)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "t.parquet"
    small_table().write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DamagedTable, match="damaged") as error:
        Table.open(path)
    assert str(path) in one_line(error)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(TableError, match="there is no table"):
        Table.open(path)
    with pytest.raises(TableError, match="directory"):
        Table.open(tmp_path)
    path.write_bytes(os.urandom(5000))
    with pytest.raises(DamagedTable):
        Table.open(path)
    pq.write_table(pa.table({"a": [1.0]}), path)
    with pytest.raises(TableError, match="not a table of budgetnas") as error:
        Table.open(path)
    assert not isinstance(error.value, DamagedTable)


def described(header: object, data: pa.Table, path: Path) -> Path:
    """Write a Parquet file with this description, and with the right checksum of the description."""
    if isinstance(header, dict):
        header = header | {"sha256": columnar._header_digest(header)}
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    pq.write_table(data.replace_schema_metadata({b"budgetnas": text}), path)
    return path


COLUMN = {"sha256": column_digest(np.array([1.0])), "source": "s"}
HOSTILE = {
    "not JSON": b"{",
    "not UTF-8": b'{"format": "\xff\xfe"}',
    "nested very deeply": b"[" * 100_000,
    "a list": [1, 2],
    "empty": {},
    "a later format": {"format": 2, "space": "s", "rows": 1, "columns": {"a": COLUMN}},
    "no columns": {"format": 1, "space": "s", "rows": 1, "columns": {}},
    "columns in a list": {"format": 1, "space": "s", "rows": 1, "columns": ["a"]},
    "a column without a checksum": {"format": 1, "space": "s", "rows": 1, "columns": {"a": {"source": "s"}}},
    "a checksum that is a number": {"format": 1, "space": "s", "rows": 1, "columns": {"a": {"sha256": 7, "source": "s"}}},
    "a source that is a list": {"format": 1, "space": "s", "rows": 1, "columns": {"a": COLUMN | {"source": []}}},
    "a space that is a number": {"format": 1, "space": 5, "rows": 1, "columns": {"a": COLUMN}},
    "more rows than there are": {"format": 1, "space": "s", "rows": 2, "columns": {"a": COLUMN}},
    "negative rows": {"format": 1, "space": "s", "rows": -1, "columns": {"a": COLUMN}},
    "a truth value as rows": {"format": 1, "space": "s", "rows": True, "columns": {"a": COLUMN}},
    "rows beyond any memory": {"format": 1, "space": "s", "rows": 10**15, "columns": {"a": COLUMN}},
    "another column": {"format": 1, "space": "s", "rows": 1, "columns": {"b": COLUMN}},
    "one more column": {"format": 1, "space": "s", "rows": 1, "columns": {"a": COLUMN, "b": COLUMN}},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_descriptions_are_refused_on_opening(tmp_path: Path, kind: str) -> None:
    path = described(HOSTILE[kind], pa.table({"a": [1.0]}), tmp_path / "t.parquet")
    with pytest.raises(TableError) as error:
        Table.open(path)
    assert str(path) in one_line(error) and len(one_line(error)) < len(str(path)) + 200


def test_a_correct_description_in_the_same_form_is_accepted(tmp_path: Path) -> None:
    header = {"format": 1, "space": "s", "rows": 1, "columns": {"a": COLUMN}}
    assert Table.open(described(header, pa.table({"a": [1.0]}), tmp_path / "t.parquet")).column("a").tolist() == [1.0]


@pytest.mark.parametrize(
    "data",
    [
        pa.table({"a": pa.array([1], pa.int64())}),
        pa.table({"a": pa.array([1.0], pa.float32())}),
        pa.table({"a": ["1.0"]}),
        pa.table({"a": [[1.0]]}),
        pa.table({"a": [{"a": 1.0}]}),
        pa.Table.from_arrays([pa.array([1.0]), pa.array([1.0])], names=["a", "a"]),
        pa.table({"a": [1.0], "b": [1.0]}),
        pa.table({"a": [1.0, 1.0]}),
    ],
    ids=["integers", "float32", "text", "lists", "structures", "the same name twice", "one more column", "one more row"],
)
def test_columns_of_other_types_are_refused_on_opening(tmp_path: Path, data: pa.Table) -> None:
    header = {"format": 1, "space": "s", "rows": 1, "columns": {"a": COLUMN}}
    with pytest.raises(DamagedTable):
        Table.open(described(header, data, tmp_path / "t.parquet"))


def test_a_small_file_with_millions_of_rows_is_refused_before_reading(tmp_path: Path) -> None:
    rows = columnar.MAX_ROWS + 1
    data = pa.table({"a": np.zeros(rows)})
    header = {"format": 1, "space": "s", "rows": rows, "columns": {"a": COLUMN}}
    path = described(header, data, tmp_path / "t.parquet")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DamagedTable):
        Table.open(path)


def test_malformed_columns_are_refused() -> None:
    with pytest.raises(TableError, match="2 dimensions"):
        Table.from_columns("s", {"a": np.zeros((2, 2))}, {"a": ""})
    with pytest.raises(TableError, match=r"\[2, 3\] rows"):
        Table.from_columns("s", {"a": np.zeros(2), "b": np.zeros(3)}, {"a": "", "b": ""})
    with pytest.raises(TableError, match="no source was given for the columns b"):
        Table.from_columns("s", {"a": np.zeros(2), "b": np.zeros(2)}, {"a": ""})
    with pytest.raises(TableError, match="no column 'b'"):
        Table.from_columns("s", {"a": np.zeros(2)}, {"a": ""}).column("b")


def test_merging_keeps_all_columns_and_prefers_the_second_table() -> None:
    first = Table.from_columns("s", {"a": np.zeros(2), "b": np.zeros(2)}, {"a": "one", "b": "one"})
    second = Table.from_columns("s", {"b": np.ones(2), "c": np.ones(2)}, {"b": "two", "c": "two"})
    both = first.merged(second)
    assert {name: both.column(name).tolist() for name in both} == {"a": [0, 0], "b": [1, 1], "c": [1, 1]}
    assert both.sources == {"a": "one", "b": "two", "c": "two"}
    with pytest.raises(TableError, match="cannot be joined"):
        first.merged(Table.from_columns("t", {"b": np.ones(2)}, {"b": ""}))
    with pytest.raises(TableError, match="cannot be joined"):
        first.merged(Table.from_columns("s", {"b": np.ones(3)}, {"b": ""}))


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    path = tmp_path / "t.parquet"
    small_table().write(path)
    old = path.read_bytes()

    def fail(_data: object, where: Path, **_options: object) -> None:
        Path(where).write_bytes(b"half of it")
        raise failure

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises((TableError, KeyboardInterrupt)) as error:
        small_table(columns=5).write(path)
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]
    if isinstance(failure, OSError):
        assert isinstance(error.value, TableError) and str(failure.strerror) in one_line(error)  # type: ignore[arg-type]


def test_a_failed_sync_leaves_only_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    small_table().write(path)
    old = path.read_bytes()

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TableError, match="No space left on device"):
        small_table(columns=5).write(path)
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_a_folder_that_cannot_be_created_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TableError, match="cannot write") as error:
        small_table().write(tmp_path / "file" / "t.parquet")
    one_line(error)
