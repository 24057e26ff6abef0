"""Finds methods: the project's own by name, others by `module:Class`, `file.py:Class` or the entry-point group `budgetnas.methods`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from budgetnas.harness.problem import Method, Need
from budgetnas.harness.problem.fields import hashed_fields
from budgetnas.harness.records.identity import canonical_json

ENTRY_POINTS = "budgetnas.methods"


class MethodError(ValueError):
    """A method cannot be found, loaded or created with the given settings; the message states what was expected."""


@dataclass(frozen=True, slots=True)
class FoundMethod:
    """A method's class and its origin.

    Args:
        reference: the text that found it: a name, `module:Class` or `file.py:Class`.
        cls: the class.
        version: changes whenever the behaviour may change; for a plug-in the hash of its source file.
        plugin: whether the method comes from outside the project.
    """

    reference: str
    cls: type[Any]
    version: str
    plugin: bool

    @property
    def needs(self) -> frozenset[Need]:
        """The questions that the method must be able to ask an evaluator."""
        return frozenset(self.cls.needs)

    @property
    def deterministic(self) -> bool:
        """Whether the method uses no random numbers, so that one seed is enough."""
        return bool(getattr(self.cls, "deterministic", False))

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given settings and the defaults of all others, except settings added by a later version (`since`) at their default.

        Raises:
            MethodError: a setting does not exist, has the wrong type, cannot be part of an identity, or is refused by the method.
        """
        fields = {field.name: field for field in dataclasses.fields(self.cls) if field.init}
        kinds = _kinds(self.cls)
        for name, value in given.items():
            if name not in fields:
                raise MethodError(f"method '{self.reference}' has no setting '{name}'; it has {', '.join(fields) or 'none'}")
            if not _fits(value, kinds.get(name, Any)):
                raise MethodError(f"setting '{name}' of method '{self.reference}' is {value!r}; expected {_in_words(kinds[name])}")
        method = self.make(given)
        chosen = {}
        for name in fields:
            try:
                chosen[name] = getattr(method, name)
                canonical_json(chosen[name])
            except (TypeError, ValueError, RecursionError, AttributeError) as error:
                reason = f"setting '{name}' of method '{self.reference}' is not a plain value ({error})"
                raise MethodError(f"{reason}; use numbers, text, true or false, and lists of these") from None
        hashed = hashed_fields(method)
        return {name: value for name, value in chosen.items() if name in hashed}

    def make(self, settings: Mapping[str, Any]) -> Method:
        """Return the method with settings.

        Raises:
            MethodError: the method refuses the settings; the message ends with its own error.
        """
        try:
            method: Method = self.cls(**settings)
        except Exception as error:
            reason = str(error) if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: {error}"
            raise MethodError(f"method '{self.reference}' refuses its settings: {reason}") from None
        return method


def _kinds(cls: type[Any]) -> dict[str, Any]:
    """Return the types of a class's settings; an empty dictionary if an annotation cannot be resolved, such as a TYPE_CHECKING import."""
    try:
        return typing.get_type_hints(cls)
    except Exception:
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value from a study file fits a setting's type; True for types that a study file cannot express."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in options)
    if origin is typing.Literal:
        return any(value == option and type(value) is type(option) for option in options)
    plain = origin or kind
    if not isinstance(plain, type) or plain in (object, Any):
        return True
    if isinstance(value, bool) or plain is bool:
        return isinstance(value, bool) and plain is bool
    if plain is float and isinstance(value, int):
        return True
    if isinstance(value, list) and issubclass(plain, (tuple, list, Sequence)) and plain is not str:
        if len(options) > 1 and options[1] is not ...:  # a tuple of fixed length
            return len(value) == len(options) and all(_fits(part, each) for part, each in zip(value, options, strict=True))
        return all(_fits(part, options[0] if options else object) for part in value)
    return isinstance(value, plain)


def _in_words(kind: Any) -> str:
    """Return a type in words, for values as a study file writes them.

    >>> _in_words(int | None), _in_words(tuple[float, float]), _in_words(typing.Literal["steps", "linear"])
    ('a whole number', 'a list of 2: a number, a number', "one of 'steps', 'linear'")
    """
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(_in_words(option) for option in options if option is not type(None))
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, options))}"
    if origin in (tuple, list) and options:
        if len(options) == 1 or options[1] is ...:
            return f"a list in which each item is {_in_words(options[0])}"
        return f"a list of {len(options)}: {', '.join(map(_in_words, options))}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
    return words.get(kind) or (kind.__name__ if isinstance(kind, type) else str(kind))


def own_methods() -> list[str]:
    """Return the names of the methods that come with the project, sorted."""
    import budgetnas.methods

    return sorted(module.name for module in pkgutil.iter_modules(budgetnas.methods.__path__))


def announced_methods() -> dict[str, str]:
    """Return the methods of installed packages as {name: reference}, sorted by name."""
    return {point.name: point.value for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)}


@cache
def find_method(reference: str, folder: Path | None = None) -> FoundMethod:
    """Return the method of a reference. A plug-in's module is imported, so its code runs.

    Args:
        reference: a name, `module:Class` or `file.py:Class`.
        folder: where files and modules are also searched; it is added to `sys.path`.

    Raises:
        MethodError: there is no such method, its module cannot be imported, or its class is not a method.
    """
    if ":" not in reference:
        if reference in own_methods():
            return _own(reference)
        if reference in announced_methods():
            return find_method(announced_methods()[reference], folder)
        known = [*own_methods(), *announced_methods()]
        raise MethodError(f"unknown method '{reference}'; choose one of {', '.join(known)}, or write module:Class or file.py:Class")
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # as Python does for a script, so that modules there find each other
    place, _, name = reference.rpartition(":")
    module = _load_file(Path(place), folder) if place.endswith(".py") else _load_module(place, folder)
    cls = getattr(module, name, None)
    if cls is None:
        raise MethodError(f"'{place}' has no class '{name}'")
    check_class(reference, cls)
    return FoundMethod(reference, cls, f"sha256:{_source_digest(reference, cls)}", plugin=True)


def _source_digest(reference: str, cls: type[Any]) -> str:
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(cls) or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        raise MethodError(
            f"the source of '{reference}' cannot be read, so its version cannot be determined; write the class in a file"
        ) from None


def _own(name: str) -> FoundMethod:
    module = importlib.import_module(f"budgetnas.methods.{name}")
    wanted = name.replace("_", "")
    for attribute, cls in vars(module).items():
        if inspect.isclass(cls) and cls.__module__ == module.__name__ and attribute.lower() == wanted:
            return FoundMethod(name, cls, str(getattr(cls, "version", 1)), plugin=False)
    raise MethodError(f"methods/{name}.py has no class that is named like the file")


def check_class(reference: str, cls: Any) -> None:
    """Raise `MethodError` unless `cls` is a dataclass with `needs` and `search`."""
    if not inspect.isclass(cls) or not dataclasses.is_dataclass(cls):
        raise MethodError(f"'{reference}' is not a dataclass; a method is a frozen dataclass with its settings as fields")
    needs = getattr(cls, "needs", None)
    if not isinstance(needs, (set, frozenset)) or not all(isinstance(need, Need) for need in needs):
        raise MethodError(f"'{reference}' needs the class attribute `needs`, a frozenset of budgetnas.harness.problem.Need")
    if not callable(getattr(cls, "search", None)):
        raise MethodError(f"'{reference}' has no method `search(problem, evaluator, rng)`")


def _load_module(name: str, folder: Path | None) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise MethodError(
                f"no module '{name}' can be imported from {folder or Path.cwd()}; install it, or write file.py:Class"
            ) from None
        raise MethodError(f"module '{name}' cannot be imported: {error}") from None
    except (Exception, SystemExit) as error:
        raise MethodError(f"module '{name}' cannot be imported: {type(error).__name__}: {error}") from None


def _load_file(path: Path, folder: Path | None) -> ModuleType:
    found = path if path.is_absolute() or folder is None else folder / path
    if not found.is_file():
        raise MethodError(f"there is no file {found}")
    # A module name made from the path: two files of the same name do not clash, and dataclasses find their module.
    name = f"budgetnas_plugin_{hashlib.sha256(str(found.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, found)
    if spec is None or spec.loader is None:
        raise MethodError(f"{found} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise MethodError(f"{found} cannot be loaded: {type(error).__name__}: {error}") from None
    return module
