"""Reads pickles of plain values, without running anything that they name.

A pickle is a small program that names functions and calls them. Here a name resolves only if it is in `_ADMITTED`, and then to a stand-in
from this module, never to the real function or class. So a pickle can build numbers, strings, bytes, lists, tuples, dictionaries, sets, and
numpy's numeric data types, scalars and arrays, and nothing else. OrderedDict and defaultdict become plain dictionaries, which also keep
their order. All other names, persistent identifiers (torch's tensors) and extension codes are refused before anything runs. The error names
what was refused.

Stand-ins are important for numpy: a pickle could give a real `numpy.dtype` a forged state, which corrupts memory. It can only touch the
stand-ins. At the end, they are replaced by real data types and arrays that were built from checked arguments.

This cannot prevent waste: a pickle may ask for more memory or time than there is, or nest tuples until Python's stack overflows. So files
of unknown origin are read in a separate process with a limit of memory, which an interrupt ends (`importing.py`).
"""

from __future__ import annotations

import copyreg
import io
import math
import pickle
import re
import weakref
from collections.abc import Callable, Mapping
from typing import IO, Any, Literal

import numpy as np

from budgetnas.spaces.tables.columnar import TableError

_NUMERIC = re.compile(r"[<>|=]?(b1|i[1248]|u[1248]|f(2|4|8|12|16)|c(8|16|24|32))")
_ORDERS = ("<", ">", "|", "=")
_MOST_DIMENSIONS = 32
ADMITTED_KINDS = "numbers, strings, plain containers and numeric arrays"


class PickleRefused(TableError):
    """The pickle names something other than plain values; the message names it. None of it was run."""


class _StandIn:
    """Stands for a function, a data type or an array while a pickle is read."""

    __slots__ = ("__weakref__",)

    def resolved(self) -> object:
        raise NotImplementedError


class _Admitted(_StandIn):
    """Stands for a name that a pickle may use. It can be called if that is admitted; nothing else can be done with it."""

    __slots__ = ("_call", "_kept", "name")

    def __init__(self, name: str, call: Callable[..., object] | None, kept: weakref.WeakSet[_StandIn]):
        self.name = name
        self._call = call
        self._kept = kept

    def __call__(self, *arguments: object) -> object:
        if self._call is None:
            raise PickleRefused(f"holds a call of {self.name}, which is admitted only as a name")
        result = self._call(*arguments)
        if isinstance(result, _StandIn):
            self._kept.add(result)
        return result

    def __setstate__(self, state: object) -> None:
        raise PickleRefused(f"would change {self.name} itself")

    def resolved(self) -> object:
        raise PickleRefused(f"holds {self.name} itself as a value; only values built by it are admitted")


class _DataType(_StandIn):
    """Stands for a numeric `numpy.dtype`."""

    __slots__ = ("value",)

    def __init__(self, text: object, align: object = False, copied: object = True):
        if not isinstance(text, str) or not _NUMERIC.fullmatch(text) or not _flags(align, copied):
            raise PickleRefused(f"holds the numpy data type {shown(text)}; only numeric ones are admitted")
        self.value = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        """Set the byte order, which is the only information in the pickled state of a plain numeric data type."""
        plain = isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:] == (None, None, None, -1, -1, 0)
        if not plain or state[1] not in _ORDERS:  # type: ignore[index] # `plain` implies that it is a tuple
            raise PickleRefused("holds a numpy data type with fields, a shape, references or other non-numeric state")
        if state[1] in "<>":  # type: ignore[index]
            self.value = self.value.newbyteorder(state[1])  # type: ignore[index]

    def resolved(self) -> np.dtype[Any]:
        return self.value


class _Array(_StandIn):
    """Stands for a numeric `numpy.ndarray`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray[Any, Any] | None = None

    def fill(self, shape: object, data_type: object, raw: object, fortran: bool) -> _Array:
        """Build the array from a shape and raw bytes that fit it exactly, in the byte order of this machine."""
        if type(raw) is str and raw and max(raw) <= "\xff":
            raw = raw.encode("latin1")  # written by Python 2, read as Latin-1
        if not isinstance(data_type, _DataType) or not isinstance(raw, bytes | bytearray):
            raise PickleRefused("holds a numpy array with data that are not the raw bytes of a numeric data type")
        if isinstance(shape, int):
            shape = (shape,)
        if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS or any(type(side) is not int or side < 0 for side in shape):
            raise PickleRefused(f"holds a numpy array of shape {shown(shape)}")
        if math.prod(shape) * data_type.value.itemsize != len(raw):
            raise PickleRefused(f"holds a numpy array of shape {shown(shape)} with {len(raw)} bytes of data, which do not fit")
        array = np.ndarray(shape, data_type.value, bytes(raw), order="F" if fortran else "C")
        self.value = array.astype(data_type.value.newbyteorder("="), order="K")
        return self

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1 or not _flags(state[3]):
            raise PickleRefused("holds a numpy array with a state that numpy does not write")
        self.fill(state[1], state[2], state[4], bool(state[3]))

    def resolved(self) -> np.ndarray[Any, Any]:
        if self.value is None:
            raise PickleRefused("holds a numpy array without data")
        return self.value


def _flags(*values: object) -> bool:
    """Return whether all values are truth values, which numpy writes as bool or as 0 and 1."""
    return all(type(value) in (bool, int) and value in (0, 1) for value in values)


def _reconstruct(kind: object, shape: object, typecode: object) -> _Array:
    if not isinstance(kind, _Admitted) or kind.name != "numpy.ndarray" or shape != (0,) or typecode not in (b"b", "b"):
        raise PickleRefused("holds a numpy array of another class than numpy.ndarray")
    return _Array()


def _frombuffer(raw: object, data_type: object, shape: object, order: object) -> _Array:
    if order not in ("C", "F"):
        raise PickleRefused(f"holds a numpy array in the order {shown(order)}; expected C or F")
    return _Array().fill(shape, data_type, raw, order == "F")


def _scalar(data_type: object, raw: object) -> object:
    if not isinstance(data_type, _DataType) or type(raw) is not bytes or len(raw) != data_type.value.itemsize:
        raise PickleRefused("holds a numpy scalar that is not numeric")
    return np.frombuffer(raw, data_type.value)[0]


def _ordered(*arguments: object) -> dict[Any, Any]:
    if not arguments:
        return {}
    (pairs,) = arguments
    if type(pairs) is not list or any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise PickleRefused("holds an OrderedDict that is not built from pairs")
    return dict(pairs)


def _defaulting(factory: object = None) -> dict[Any, Any]:
    if factory is not None and not (isinstance(factory, _Admitted) and factory.name in _FACTORIES):
        maker = factory.name if isinstance(factory, _Admitted) else shown(factory)
        raise PickleRefused(f"holds a defaultdict with the factory {maker}; admitted are {', '.join(sorted(_FACTORIES))}")
    return {}


def _members(items: object = ()) -> list[Any]:
    if type(items) not in (list, tuple):
        raise PickleRefused("holds a set that is not built from a list")
    return list(items)  # type: ignore[call-overload, no-any-return] # a list or a tuple, as checked above


def _complex(real: object, imaginary: object) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise PickleRefused("holds a complex number that is not built from two numbers")
    return complex(real, imaginary)


def _encode(text: object, codec: object) -> bytes:
    """Return bytes, which pickles before protocol 3 write as text in Latin-1."""
    if type(text) is not str or codec != "latin1":
        raise PickleRefused(f"holds a call of _codecs.encode with the codec {shown(codec)}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_FACTORIES = frozenset(f"builtins.{name}" for name in ("list", "dict", "int", "float", "set"))
_BUILTINS: dict[str, Callable[..., object] | None] = {
    "list": None,
    "dict": None,
    "int": None,
    "float": None,
    "set": lambda *items: set(_members(*items)),
    "frozenset": lambda *items: frozenset(_members(*items)),
    "complex": _complex,
    "bytes": _no_bytes,
}
# From (module, name) in a pickle to the function that replaces a call of it; None means 'may be named, but not called'.
_ADMITTED: Mapping[tuple[str, str], Callable[..., object] | None] = {
    **{(module, name): call for module in ("builtins", "__builtin__") for name, call in _BUILTINS.items()},
    ("collections", "OrderedDict"): _ordered,
    ("collections", "defaultdict"): _defaulting,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _DataType,
    ("numpy", "ndarray"): None,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], encoding: str):
        super().__init__(stream, encoding=encoding)
        self.kept: weakref.WeakSet[_StandIn] = weakref.WeakSet()

    def find_class(self, module: str, name: str) -> _Admitted:
        if (module, name) not in _ADMITTED:
            raise PickleRefused(f"holds {_printable(f'{module}.{name}')}; only {ADMITTED_KINDS} are read, and nothing was run")
        stand_in = _Admitted(f"{'builtins' if module == '__builtin__' else module}.{name}", _ADMITTED[module, name], self.kept)
        self.kept.add(stand_in)
        return stand_in

    def persistent_load(self, identifier: object) -> None:
        raise PickleRefused(f"holds the persistent identifier {shown(identifier)}; only {ADMITTED_KINDS} are read")


def load(stream: IO[bytes], where: str, encoding: Literal["ascii", "latin1"] = "ascii") -> Any:
    """Return the value of the next pickle in a stream, and leave the stream just after it.

    Args:
        stream: The stream.
        where: A name for the stream; error messages begin with it.
        encoding: The encoding of strings from Python 2, which were bytes. Arrays pickled by Python 2 need `latin1`.

    Raises:
        PickleRefused: The pickle holds something that is not a plain value; the message names it.
        TableError: The stream is damaged, or needs too much memory.
    """
    # pickle would answer an extension code that some library has used before from this cache, without a call of `find_class`.
    copyreg.clear_extension_cache()
    unpickler = _Unpickler(stream, encoding)
    try:
        value = unpickler.load()
        kept = unpickler.kept
        del unpickler  # also deletes its memo, so that only stand-ins in the value itself are left
        return _resolved(value, {}) if kept else value
    except PickleRefused as refusal:
        raise PickleRefused(f"{where} {refusal}") from None
    except MemoryError:
        raise TableError(f"{where} needs more memory than this process may have") from None
    except RecursionError:
        raise PickleRefused(f"{where} holds values that are nested too deeply") from None
    except Exception as error:  # damaged bytes can raise any exception
        reason = _printable(str(error).split("\n")[0])
        raise TableError(f"{where} is cut off, damaged or not a pickle ({type(error).__name__}: {reason}); get the file again") from None


def loads(data: bytes, where: str) -> Any:
    """Return the value of a pickle in memory. Raises as `load` does."""
    return load(io.BytesIO(data), where)


def _resolved(value: Any, done: dict[int, tuple[object, object]]) -> Any:
    """Return `value` with all its stand-ins replaced. Lists, dictionaries and sets are changed in place, so shared ones stay shared."""
    if isinstance(value, _StandIn):
        return value.resolved()
    if type(value) not in (list, dict, set, tuple, frozenset):
        return value
    if id(value) in done:
        return done[id(value)][1]
    if type(value) in (tuple, frozenset):
        result = type(value)([_resolved(item, done) for item in value])
        done[id(value)] = (value, result)
        return result
    done[id(value)] = (value, value)
    if type(value) is list:
        value[:] = [_resolved(item, done) for item in value]
    elif type(value) is dict:
        items = [(_resolved(key, done), _resolved(item, done)) for key, item in value.items()]
        value.clear()
        value.update(items)
    else:
        items = [_resolved(item, done) for item in value]
        value.clear()
        value.update(items)
    return value


def shown(value: object) -> str:
    """Return a short printable text for an error message: long text is cut, and containers and long numbers are named by their type."""
    if isinstance(value, str):
        return ascii(value[:120])
    if value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() < 128):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _printable(text: str) -> str:
    return ascii(text[:120])[1:-1]
