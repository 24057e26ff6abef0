"""The spaces by name, some with parameters: `darts`, `darts[groups=3]`. The module of a space is imported on first use."""

from __future__ import annotations

import importlib
import re
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from budgetnas.spaces.space import Space

SPACES = {
    "nasbench201": "budgetnas.spaces.nasbench201:NASBench201",
    "darts": "budgetnas.spaces.darts:DARTS",
    "rcnet": "budgetnas.spaces.chains:RCNet",
    "fbnet": "budgetnas.spaces.chains:FBNet",
}
_NAME = re.compile(r"(\w+)(?:\[([^\[\]]*)\])?")


class UnknownSpace(ValueError):
    """The space, or a parameter of it, does not exist; the message lists the existing ones."""


def space_of(name: str) -> Space:
    """Return the space with this name, written `name` or `name[key=value,...]`. Equal parameters give the same object.

    Raises:
        UnknownSpace: The name, a parameter or its value is not known; the message lists the known ones.
    """
    match = _NAME.fullmatch(name.strip()) if len(name) < 200 else None
    if match is None or match[1] not in SPACES:
        raise UnknownSpace(f"unknown space '{name:.60}'; choose one of {', '.join(SPACES)}")
    given = _given(match[1], match[2] or "")
    return _made(match[1], tuple(sorted(given.items())))


@cache
def _class_of(base: str) -> type[Any]:
    module, _, attribute = SPACES[base].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


@cache
def _made(base: str, given: tuple[tuple[str, Any], ...]) -> Space:
    try:
        made: Space = _class_of(base)(**dict(given))
    except ValueError as refusal:
        raise UnknownSpace(f"space '{base}': {refusal}") from None
    # A space is one object, whichever way its name is written: stating a default value does not make a second one.
    canonical = _NAME.fullmatch(made.name)
    written = _given(base, canonical[2] or "") if canonical else dict(given)
    return made if written == dict(given) else _made(base, tuple(sorted(written.items())))


def _given(base: str, text: str) -> dict[str, Any]:
    """Return the parameters in `key=value,...`, each converted to the type that the class of the space declares."""
    cls = _class_of(base)
    known = [field.name for field in fields(cls) if field.init and field.default is not MISSING] if is_dataclass(cls) else []
    kinds = get_type_hints(cls) if known else {}
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in known or not equals:
            raise UnknownSpace(
                f"space '{base}' has no parameter '{part:.40}'; it takes {', '.join(known) or 'none'}, written {base}[key=value]"
            )
        given[key] = _value(base, key, value, str(kinds[key]))
    return given


def _value(base: str, key: str, text: str, kind: str) -> Any:
    if "bool" in kind and text in ("true", "false"):
        return text == "true"
    if "int" in kind and re.fullmatch(r"[0-9]{1,6}", text):
        return int(text)
    if "str" in kind and re.fullmatch(r"\w+", text):
        return text
    expected = "true or false" if "bool" in kind else "a whole number" if "int" in kind else "a word"
    raise UnknownSpace(f"space '{base}': {key} is '{text:.40}'; expected {expected}")
