"""The restricted unpickler: it returns the same plain values as pickle, and never runs anything that a pickle names."""

from __future__ import annotations

import builtins
import collections
import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_values

from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.tables.upstream.unpickle import PickleRefused, load, loads, shown

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
NUMERIC = ["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">f8", "<i4", ">u2"]


class Call:
    """Pickles as a call of a function with arguments. Hostile pickles consist of such calls."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.reduced


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def named(module: str, name: str) -> bytes:
    """Return the instruction GLOBAL, which pushes an attribute of a module."""
    return b"c" + f"{module}\n{name}\n".encode()


def stack_named(module: str, name: str) -> bytes:
    """Return the instruction STACK_GLOBAL, which also accepts dotted names."""
    return text(module) + text(name) + b"\x93"


def program(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


# --- admitted values -------------------------------------------------------------------------------------------------------------------

atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.complex_numbers(allow_nan=False)
)
hashables = st.recursive(atoms, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)), max_leaves=6)
plain_values = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner, inner, inner),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.dictionaries(st.text(), inner, max_size=4).map(collections.OrderedDict),
        st.dictionaries(st.text(), inner, max_size=4).map(lambda items: collections.defaultdict(list, items)),
    ),
    max_leaves=20,
)


@given(plain_values, st.sampled_from(PROTOCOLS))
def test_plain_values_equal_those_of_pickle(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert loads(data, "here") == pickle.loads(data) == value


@given(st.sampled_from(NUMERIC).map(np.dtype), st.data(), st.sampled_from(range(2, pickle.HIGHEST_PROTOCOL + 1)))
def test_arrays_equal_those_of_pickle(dtype: np.dtype[Any], data: st.DataObject, protocol: int) -> None:
    array = data.draw(numpy_values.arrays(dtype, numpy_values.array_shapes(min_dims=0, min_side=0, max_side=4)))
    array = data.draw(st.sampled_from([array, np.asfortranarray(array), array.T]))
    value = {"array": array, "again": [array], "scalar": array.flat[0] if array.size else 0, "type": dtype}
    found = loads(pickle.dumps(value, protocol), "here")
    expected = pickle.loads(pickle.dumps(value, protocol))
    assert type(found["array"]) is np.ndarray and found["array"].dtype == dtype.newbyteorder("=")
    assert found["array"].flags.writeable and found["array"].shape == array.shape
    assert np.array_equal(found["array"], expected["array"], equal_nan=True)
    assert found["again"][0] is found["array"]
    assert type(found["scalar"]) is type(expected["scalar"]) and np.array_equal(found["scalar"], expected["scalar"], equal_nan=True)
    assert found["type"] == dtype and isinstance(found["type"], np.dtype)


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_arrays_of_both_numpy_versions(core: str) -> None:
    data = pickle.dumps([np.arange(6.0).reshape(2, 3), np.float32(0.5)], 2)
    renamed = data.replace(b"numpy._core", core.encode()).replace(b"numpy.core", core.encode())
    array, scalar = loads(renamed, "here")
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]] and type(scalar) is np.float32 and scalar == 0.5


def test_containers_may_hold_themselves_and_arrays() -> None:
    loop: list[Any] = [np.arange(3)]
    loop += [loop, {"loop": loop, (1, 2): {3}}, (loop, frozenset([4]))]
    found = loads(pickle.dumps(loop), "here")
    assert found[1] is found and found[2]["loop"] is found and found[3][0] is found
    assert found[0].tolist() == [0, 1, 2] and found[2][(1, 2)] == {3} and found[3][1] == frozenset([4])


def test_ordered_and_default_dictionaries_become_plain_ones_in_order() -> None:
    ordered = collections.OrderedDict([("b", 1), ("a", 2)])
    for value in (ordered, collections.defaultdict(int, ordered), collections.defaultdict(None, ordered)):
        found = loads(pickle.dumps(value), "here")
        assert type(found) is dict and list(found.items()) == [("b", 1), ("a", 2)]


def test_the_stream_is_left_just_after_the_pickle() -> None:
    stream = io.BytesIO(pickle.dumps(1) + pickle.dumps([2]) + b"rest")
    assert load(stream, "here") == 1 and load(stream, "here") == [2] and stream.read() == b"rest"


# --- refused values --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda flag: Call(os.system, f"touch {flag}"), "system"),
        (lambda flag: Call(subprocess.getoutput, f"touch {flag}"), "getoutput"),
        (lambda flag: Call(eval, f"open({str(flag)!r}, 'w')"), "eval"),
        (lambda flag: Call(exec, f"open({str(flag)!r}, 'w')"), "exec"),
        (lambda flag: Call(open, str(flag), "w"), "open"),
        (lambda flag: Call(os.mkdir, str(flag)), "mkdir"),
        (lambda flag: Call(Path, str(flag)), "pathlib"),
        (lambda flag: Call(builtins.getattr, "", "join"), "getattr"),
        (lambda flag: Call(__import__, "this"), "__import__"),
        (lambda flag: Call(np.save, str(flag), 1), "numpy"),
        (lambda flag: Call(collections.namedtuple, "Point", "x y"), "collections.namedtuple"),
        (lambda flag: Call(copyreg._reconstructor, list, object, None), "_reconstructor"),  # type: ignore[attr-defined]
        (lambda flag: Call(bytearray, 10**12), "bytearray"),
        (lambda flag: Call(range, 3), "range"),
        (lambda flag: np.str_("text"), "numpy data type"),
        (lambda flag: np.datetime64("2020-01-01"), "numpy data type"),
        (lambda flag: np.array([1, "text"], dtype=object), "numpy data type 'O8'"),
        (lambda flag: np.array(["text"]), "numpy data type 'U4'"),
        (lambda flag: np.zeros(2, dtype=[("number", "f8"), ("object", "O")]), "numpy data type 'V16'"),
        (lambda flag: np.zeros(2, dtype=[("number", "f8")]), "numpy data type 'V8'"),
        (lambda flag: np.dtype(("f8", (3,))), "numpy data type 'V24'"),
        (lambda flag: np.ma.masked_array([1.0], [True]), "numpy.ma"),
        (lambda flag: np.random.default_rng(0), "numpy.random"),
    ],
)
def test_anything_else_is_named_and_refused_before_it_runs(protocol: int, make: Callable[[Path], Any], name: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    data = pickle.dumps({"values": [1, 2, make(flag)]}, protocol)
    with pytest.raises(PickleRefused, match=r"^some\.pickle holds ") as refusal:
        loads(data, "some.pickle")
    assert name in str(refusal.value) and "\n" not in str(refusal.value)
    assert not flag.exists()


F8 = named("numpy", "dtype") + text("f8") + b"\x89\x88\x87R"
ARRAY = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
SCALAR = named("numpy.core.multiarray", "scalar")
FLOAT_STATE = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # Names: dotted, from submodules, from the reader itself.
        (program(stack_named("collections", "OrderedDict.fromkeys")), "collections.OrderedDict.fromkeys"),
        (program(stack_named("numpy", "ndarray.tofile")), "numpy.ndarray.tofile"),
        (program(stack_named("numpy", "core.multiarray.scalar")), "numpy.core.multiarray.scalar"),
        (program(stack_named("collections", "__builtins__")), "collections.__builtins__"),
        (program(stack_named("budgetnas.spaces.tables.upstream.unpickle", "_Unpickler")), "_Unpickler"),
        (program(b"(i" + b"os\nsystem\n"), "os.system"),
        (program(stack_named("os\nline", "x\x1b[31m")), r"os\nline"),
        # Persistent identifiers and extension codes.
        (program(text("storage") + b"Q"), "persistent identifier 'storage'"),
        (program(b"Pstorage\n"), "persistent identifier 'storage'"),
        # Admitted names with another use.
        (program(named("builtins", "list") + b")R"), "builtins.list"),
        (program(named("builtins", "int") + text("9" * 5000) + b"\x85R"), "builtins.int"),
        (program(named("numpy", "ndarray") + b"J\xff\xff\xff\x7f\x85\x85R"), "numpy.ndarray"),
        (program(named("collections", "defaultdict") + named("numpy", "dtype") + b"\x85R"), "with the factory numpy.dtype"),
        (program(named("collections", "defaultdict") + named("builtins", "eval") + b"\x85R"), "builtins.eval"),
        (program(named("collections", "defaultdict") + text("list") + b"\x85R"), "with the factory 'list'"),
        (program(named("collections", "OrderedDict") + text("ab") + b"\x85R"), "not built from pairs"),
        (program(named("builtins", "set") + text("ab") + b"\x85R"), "not built from a list"),
        (program(named("builtins", "complex") + text("1") + text("1") + b"\x86R"), "complex number"),
        (program(named("_codecs", "encode") + text("x") + text("zlib") + b"\x86R"), "codec 'zlib'"),
        (program(named("builtins", "list")), "builtins.list itself"),
        (program(b"}" + text("maker") + named("collections", "OrderedDict") + b"s"), "collections.OrderedDict itself"),
        # BUILD on a stand-in, by state and by slots.
        (program(named("collections", "OrderedDict") + b"}" + text("__call__") + b"Nsb"), "change collections.OrderedDict"),
        (program(named("collections", "OrderedDict") + b"N}" + text("_call") + b"Ns\x86b"), "change collections.OrderedDict"),
        (program(named("numpy", "dtype") + b"Nb"), "change numpy.dtype"),
        # Data types: objects in several forms, bombs, forged states.
        (program(named("numpy", "dtype") + text("O") + b"\x89\x88\x87R"), "data type 'O'"),
        (program(named("numpy", "dtype") + text("|O8") + b"\x89\x88\x87R"), "data type '|O8'"),
        (program(named("numpy", "dtype") + text("f8,O") + b"\x89\x88\x87R"), "data type 'f8,O'"),
        (program(named("numpy", "dtype") + text("V1000000000000") + b"\x89\x88\x87R"), "data type 'V1000000000000'"),
        (program(named("numpy", "dtype") + text("(1000000,1000000)f8") + b"\x89\x88\x87R"), "data type '(1000000,1000000)f8'"),
        (program(named("numpy", "dtype") + named("builtins", "list") + b"\x85R"), "data type a value of type _Admitted"),
        (program(named("numpy", "dtype") + b"(]" + text("x") + text("O") + b"\x86at\x85R"), "data type a value of type"),
        (program(F8 + FLOAT_STATE.replace(b"K\x00t", b"K\x3ft") + b"b"), "numeric state"),
        (program(F8 + FLOAT_STATE.replace(b"NNN", b"NN}") + b"b"), "numeric state"),
        (program(F8 + FLOAT_STATE.replace(b"<", b"O") + b"b"), "numeric state"),
        (program(F8 + FLOAT_STATE.replace(b"K\x03", b"K\x04") + b"b"), "numeric state"),
        # Arrays: another class, a shape that does not fit, objects as data, no data.
        (program(ARRAY.replace(b"numpy\nndarray", b"numpy\ndtype")), "another class than numpy.ndarray"),
        (program(ARRAY.replace(b"K\x00\x85C", b"J\xff\xff\xff\x7f\x85C")), "another class than numpy.ndarray"),
        (program(ARRAY.replace(b"numpy\nndarray", b"numpy\nmatrix")), "numpy.matrix"),
        (program(ARRAY + b"(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86" + F8 + b"\x89C\x00tb"), "0 bytes of data"),
        (program(ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + F8 + b"\x89C\x00tb"), "a value of type tuple"),
        (program(ARRAY + b"(K\x01K\x01\x85" + F8 + b"\x89]tb"), "not the raw bytes"),
        (program(ARRAY + b"(K\x01K\x01\x85" + text("f8") + b"\x89C\x08" + bytes(8) + b"tb"), "not the raw bytes"),
        (program(ARRAY + b"Nb"), "does not write"),
        (program(ARRAY), "without data"),
        (program(SCALAR + F8 + b"]\x86R"), "scalar that is not numeric"),
        (program(SCALAR + F8 + b"C\x00\x86R"), "scalar that is not numeric"),
        (program(SCALAR + text("f8") + b"C\x08" + bytes(8) + b"\x86R"), "scalar that is not numeric"),
    ],
)
def test_attacks_are_named_and_refused(data: bytes, message: str) -> None:
    with pytest.raises(PickleRefused) as refusal:
        loads(data, "some.pickle")
    assert str(refusal.value).startswith("some.pickle ") and message in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "data",
    [
        program(named("collections", "OrderedDict") + b")\x81"),  # NEWOBJ needs a class, and there is none
        program(named("collections", "OrderedDict") + b")}\x92"),
        program(b"]}" + text("append") + b"Nsb"),  # BUILD on a list
        program(b"}N}" + text("__class__") + b"Ns\x86b"),
        program(SCALAR + F8 + b"C\x08" + bytes(8) + b"\x86R}" + text("real") + b"Nsb)R"),  # a call of a scalar
        program(text("not called") + b")R"),
        program(b"\x82\x01"),  # an extension code that is not registered
        program(b"h\x07"),  # an entry of the memo that does not exist
    ],
)
def test_other_instructions_are_refused(data: bytes) -> None:
    with pytest.raises(TableError, match=r"^some\.pickle is cut off, damaged or not a pickle"):
        loads(data, "some.pickle")


def test_registered_extension_codes_are_refused_even_if_they_are_cached(tmp_path: Path) -> None:
    copyreg.add_extension("os", "mkdir", 0x7ABC)
    try:
        code = b"\x83" + struct.pack("<H", 0x7ABC)
        assert pickle.loads(program(code)) is os.mkdir  # now pickle has it in its cache
        with pytest.raises(PickleRefused, match=r"os\.mkdir"):
            loads(program(code + text(str(tmp_path / "flag")) + b"\x85R"), "some.pickle")
        assert not (tmp_path / "flag").exists()
    finally:
        copyreg.remove_extension("os", "mkdir", 0x7ABC)


def test_forged_states_do_not_change_numpy() -> None:
    big_endian = FLOAT_STATE.replace(b"<", b">")
    assert loads(program(F8 + big_endian + b"b"), "here") == np.dtype(">f8")
    assert np.dtype("f8").isnative and np.dtype("f8") is np.dtype(np.float64)
    assert loads(pickle.dumps(np.arange(3.0)), "here").tolist() == [0, 1, 2]


@given(st.binary(max_size=200))
def test_garbage_is_refused_in_one_line(data: bytes) -> None:
    try:
        loads(data, "some.pickle")
    except TableError as error:
        assert str(error).startswith("some.pickle ") and "\n" not in str(error)


@given(st.data())
def test_a_pickle_that_is_cut_off_or_damaged_is_refused_in_one_line(data: st.DataObject) -> None:
    whole = pickle.dumps(
        {"a": [1.5, "text", np.arange(4.0)], ("b", 2): collections.OrderedDict(c={3})}, data.draw(st.sampled_from(PROTOCOLS))
    )
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(TableError, match=r"^some\.pickle "):
        loads(whole[:cut], "some.pickle")
    other = data.draw(st.integers(0, 255))
    try:
        loads(whole[:cut] + bytes([other]) + whole[cut + 1 :], "some.pickle")
    except TableError as error:
        assert "\n" not in str(error)


def test_arrays_that_are_nested_too_deeply_are_refused() -> None:
    depth = 2 * sys.getrecursionlimit()
    with pytest.raises(PickleRefused, match="nested too deeply"):
        loads(program(F8 + b"\x85" * depth), "some.pickle")


def test_lists_may_be_nested_to_any_depth() -> None:
    value = loads(program(b"]" * 100_000 + b"a" * 99_999), "some.pickle")
    depth = 1
    while value:
        (value,) = value
        depth += 1
    assert depth == 100_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb", r"'a\nb'"),
        (None, "None"),
        (3, "3"),
        (0.5, "0.5"),
        pytest.param(10**5000, "a value of type int", id="long"),
        ([1], "a value of type list"),
    ],
)
def test_shown_is_short_for_any_value(value: object, expected: str) -> None:
    assert shown(value) == expected
    assert len(shown("x" * 10**6)) < 150
