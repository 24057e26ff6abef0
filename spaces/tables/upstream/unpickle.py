"""Pickles of plain values, read without running anything that they name.

A pickle is a small program: it names functions and calls them. Here a name resolves only if it stands in `_ADMITTED`, and then to a
stand-in that this module made, never to the function or class itself; so numbers, strings, bytes, lists, tuples, dictionaries, sets,
numpy's numeric data types, scalars and arrays can be built, and nothing else. OrderedDict and defaultdict come back as plain
dictionaries, which keep their order as well. Every other name, persistent identifiers (torch's tensors) and extension codes are refused
with an error that says which, before any of it runs.

Stand-ins matter for numpy: a real `numpy.dtype` within reach of the stream could be given a forged state, which corrupts memory. The
stream only ever touches stand-ins; the real data type or array is made from arguments that were checked, and put in their place at the end.

What this cannot prevent is waste: a stream may ask for more memory or time than there is, or nest tuples until Python's own stack ends.
So files of unknown origin are read in a process of their own (`importing.py`), under a limit of memory, which an interrupt ends.
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
    """A pickle that names something other than plain values; the message says what. None of it was run."""


class _StandIn:
    """What the stream handles instead of a function, a data type or an array."""

    __slots__ = ("__weakref__",)

    def resolved(self) -> object:
        raise NotImplementedError


class _Admitted(_StandIn):
    """A name that the stream may use: it can be called, where calling it is admitted, and nothing else can be done to it."""

    __slots__ = ("_call", "_kept", "name")

    def __init__(self, name: str, call: Callable[..., object] | None, kept: weakref.WeakSet[_StandIn]):
        self.name = name
        self._call = call
        self._kept = kept

    def __call__(self, *arguments: object) -> object:
        if self._call is None:
            raise PickleRefused(f"holds a call of {self.name}, which is admitted as a name only")
        result = self._call(*arguments)
        if isinstance(result, _StandIn):
            self._kept.add(result)
        return result

    def __setstate__(self, state: object) -> None:
        raise PickleRefused(f"would change {self.name} itself")

    def resolved(self) -> object:
        raise PickleRefused(f"holds {self.name} itself as a value, not a value made by it")


class _DataType(_StandIn):
    """Stands for a numeric `numpy.dtype`."""

    __slots__ = ("value",)

    def __init__(self, text: object, align: object = False, copied: object = True):
        if not isinstance(text, str) or not _NUMERIC.fullmatch(text) or not _flags(align, copied):
            raise PickleRefused(f"holds the numpy data type {shown(text)}; only numeric ones are admitted")
        self.value = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        """Take the byte order: the one thing that the pickled state of a plain numeric data type says."""
        plain = isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:] == (None, None, None, -1, -1, 0)
        if not plain or state[1] not in _ORDERS:  # type: ignore[index] # `plain` says that it is a tuple
            raise PickleRefused("holds a numpy data type with fields, shape, references or other than numeric state")
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
        """Take a shape and raw bytes that fit it exactly; the array is in this machine's byte order."""
        if type(raw) is str and raw and max(raw) <= "\xff":
            raw = raw.encode("latin1")  # what Python 2 wrote, read as Latin-1
        if not isinstance(data_type, _DataType) or not isinstance(raw, bytes | bytearray):
            raise PickleRefused("holds a numpy array whose data are not the raw bytes of a numeric data type")
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
            raise PickleRefused("holds a numpy array that was never filled")
        return self.value


def _flags(*values: object) -> bool:
    """Return whether all are truth values, which numpy has written as bool and as 0 and 1."""
    return all(type(value) in (bool, int) and value in (0, 1) for value in values)


def _reconstruct(kind: object, shape: object, typecode: object) -> _Array:
    if not isinstance(kind, _Admitted) or kind.name != "numpy.ndarray" or shape != (0,) or typecode not in (b"b", "b"):
        raise PickleRefused("holds a numpy array of a class of its own")
    return _Array()


def _frombuffer(raw: object, data_type: object, shape: object, order: object) -> _Array:
    if order not in ("C", "F"):
        raise PickleRefused(f"holds a numpy array in the order {shown(order)}")
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
        raise PickleRefused("holds an OrderedDict that is not made of pairs")
    return dict(pairs)


def _defaulting(factory: object = None) -> dict[Any, Any]:
    if factory is not None and not (isinstance(factory, _Admitted) and factory.name in _FACTORIES):
        maker = factory.name if isinstance(factory, _Admitted) else shown(factory)
        raise PickleRefused(f"holds a defaultdict made by {maker}; admitted are {', '.join(sorted(_FACTORIES))}")
    return {}


def _members(items: object = ()) -> list[Any]:
    if type(items) not in (list, tuple):
        raise PickleRefused("holds a set that is not made of a list")
    return list(items)  # type: ignore[call-overload, no-any-return] # a list or a tuple, as was just checked


def _complex(real: object, imaginary: object) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise PickleRefused("holds a complex number that is not made of two numbers")
    return complex(real, imaginary)


def _encode(text: object, codec: object) -> bytes:
    """Return bytes, which pickles before protocol 3 spell as text in Latin-1."""
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
# (module, name) as the stream writes them -> what a call of it does; None is 'may be named, not called'.
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
            raise PickleRefused(f"holds {_printable(f'{module}.{name}')}; only {ADMITTED_KINDS} are read, and nothing of it was run")
        stand_in = _Admitted(f"{'builtins' if module == '__builtin__' else module}.{name}", _ADMITTED[module, name], self.kept)
        self.kept.add(stand_in)
        return stand_in

    def persistent_load(self, identifier: object) -> None:
        raise PickleRefused(f"holds the persistent identifier {shown(identifier)}; only {ADMITTED_KINDS} are read")


def load(stream: IO[bytes], where: str, encoding: Literal["ascii", "latin1"] = "ascii") -> Any:
    """Return the value of the next pickle in a stream, which stays just behind it.

    `encoding` is that of Python 2's strings, which were bytes as well: arrays that Python 2 pickled need `latin1`.
    `PickleRefused` names what is not a plain value, and `TableError` says that the stream is damaged; both begin with `where`.
    """
    # An extension code that some library has used before would be answered from this cache, past `find_class`.
    copyreg.clear_extension_cache()
    unpickler = _Unpickler(stream, encoding)
    try:
        value = unpickler.load()
        kept = unpickler.kept
        del unpickler  # and with it the memo, so that the stand-ins left are those in the value itself
        return _resolved(value, {}) if kept else value
    except PickleRefused as refusal:
        raise PickleRefused(f"{where} {refusal}") from None
    except MemoryError:
        raise TableError(f"{where} needs more memory than this process may have") from None
    except RecursionError:
        raise PickleRefused(f"{where} holds values that are nested too deeply") from None
    except Exception as error:  # damaged bytes end in whichever exception the instruction that they happen to spell meets
        said = _printable(str(error).split("\n")[0])
        raise TableError(f"{where} is cut off, damaged or no pickle ({type(error).__name__}: {said}); get the file again") from None


def loads(data: bytes, where: str) -> Any:
    """Return the value of a pickle held in memory; errors as for `load`."""
    return load(io.BytesIO(data), where)


def _resolved(value: Any, done: dict[int, tuple[object, object]]) -> Any:
    """Return `value` with every stand-in in it replaced; lists, dictionaries and sets in place, so that what is shared stays shared."""
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
    """Return a short printable text for an error: long text is cut, nested and unprintable values are named by their type."""
    if isinstance(value, str):
        return ascii(value[:120])
    if value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() < 128):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _printable(text: str) -> str:
    return ascii(text[:120])[1:-1]
