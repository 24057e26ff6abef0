"""Finds methods: the project's own by name, a user's by `module:Class`, `file.py:Class` or the entry-point group `budgetnas.methods`."""

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
    """A method that cannot be found, loaded or set up as asked; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class FoundMethod:
    """A method's class and where it came from. `version` changes when its behaviour may: for a plug-in it is the hash of its source."""

    reference: str
    cls: type[Any]
    version: str
    plugin: bool

    @property
    def needs(self) -> frozenset[Need]:
        """What it must be able to ask."""
        return frozenset(self.cls.needs)

    @property
    def deterministic(self) -> bool:
        """Whether it draws nothing from its generator, so that one run says all."""
        return bool(getattr(self.cls, "deterministic", False))

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings, defaults filled in, but for a default that a later version added (`since`).

        `MethodError` names a setting that the method does not have or that has the wrong type.
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
                reason = f"setting '{name}' of method '{self.reference}' is no plain value ({error})"
                raise MethodError(f"{reason}; use numbers, text, truth values, and lists of them") from None
        hashed = hashed_fields(method)
        return {name: value for name, value in chosen.items() if name in hashed}

    def make(self, settings: Mapping[str, Any]) -> Method:
        """Return the method with settings. `MethodError` carries the method's own objection."""
        try:
            method: Method = self.cls(**settings)
        except Exception as error:
            reason = str(error) if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: {error}"
            raise MethodError(f"method '{self.reference}' refuses its settings: {reason}") from None
        return method


def _kinds(cls: type[Any]) -> dict[str, Any]:
    """Return the types of a class's settings; nothing of them where one names what only a type checker imports."""
    try:
        return typing.get_type_hints(cls)
    except Exception:
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value from a study file may be a setting of this type; what a study file cannot write is left to the method."""
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
        if len(options) > 1 and options[1] is not ...:  # a tuple of so many
            return len(value) == len(options) and all(_fits(part, each) for part, each in zip(value, options, strict=True))
        return all(_fits(part, options[0] if options else object) for part in value)
    return isinstance(value, plain)


def _in_words(kind: Any) -> str:
    """Return a type as a person writes values of it in a study file.

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
            return f"a list, each of it {_in_words(options[0])}"
        return f"a list of {len(options)}: {', '.join(map(_in_words, options))}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
    return words.get(kind) or (kind.__name__ if isinstance(kind, type) else str(kind))


def own_methods() -> list[str]:
    """Return the names of the methods that come with the project, sorted."""
    import budgetnas.methods

    return sorted(module.name for module in pkgutil.iter_modules(budgetnas.methods.__path__))


def announced_methods() -> dict[str, str]:
    """Return the methods that installed packages announce: name -> reference, sorted by name."""
    return {point.name: point.value for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)}


@cache
def find_method(reference: str, folder: Path | None = None) -> FoundMethod:
    """Return a method by name, `module:Class` or `file.py:Class`; files and modules are also looked for in `folder`.

    Finding a plug-in runs its module, as importing does. `MethodError` says what was looked for and what there is.
    """
    if ":" not in reference:
        if reference in own_methods():
            return _own(reference)
        if reference in announced_methods():
            return find_method(announced_methods()[reference], folder)
        known = [*own_methods(), *announced_methods()]
        raise MethodError(f"unknown method '{reference}'; choose one of {', '.join(known)}, or write module:Class or file.py:Class")
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # as Python does for a script: its modules find each other
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
            f"the source of '{reference}' cannot be read, so nothing would tell its versions apart; write it into a file"
        ) from None


def _own(name: str) -> FoundMethod:
    module = importlib.import_module(f"budgetnas.methods.{name}")
    wanted = name.replace("_", "")
    for attribute, cls in vars(module).items():
        if inspect.isclass(cls) and cls.__module__ == module.__name__ and attribute.lower() == wanted:
            return FoundMethod(name, cls, str(getattr(cls, "version", 1)), plugin=False)
    raise MethodError(f"methods/{name}.py does not define the class that it is named after")


def check_class(reference: str, cls: Any) -> None:
    """Raise `MethodError` unless `cls` has the shape of a method."""
    if not inspect.isclass(cls) or not dataclasses.is_dataclass(cls):
        raise MethodError(f"'{reference}' is not a dataclass; a method is a frozen dataclass whose fields are its settings")
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
            raise MethodError(f"no module '{name}' can be imported from {folder or Path.cwd()}; or write file.py:Class") from None
        raise MethodError(f"module '{name}' cannot be imported: {error}") from None
    except (Exception, SystemExit) as error:
        raise MethodError(f"module '{name}' cannot be imported: {type(error).__name__}: {error}") from None


def _load_file(path: Path, folder: Path | None) -> ModuleType:
    found = path if path.is_absolute() or folder is None else folder / path
    if not found.is_file():
        raise MethodError(f"there is no file {found}")
    # A name of its own, made from the path, so that two files of one name do not meet and dataclasses can find their module.
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
