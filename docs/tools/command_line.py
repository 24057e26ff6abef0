"""The commands of budgetnas with their arguments and options, from the signatures of their functions, as a page."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from pages import table
from typer.models import OptionInfo

from budgetnas.harness.cli import app

# Defaults that the machine decides, in words.
OF_THE_MACHINE = {"--workers": "one a core"}


def command_line() -> str:
    """Return a section for every command: what it does, its arguments and its options."""
    return "\n\n".join(_section(name, function) for name, function in commands(app))


def commands(group: typer.Typer, name: str = "budgetnas") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every command of the program and of its groups, with the function that it calls."""
    for each in group.registered_commands:
        if each.callback is not None:
            yield f"{name} {each.name or each.callback.__name__.rstrip('_')}", each.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from commands(inner.typer_instance, f"{name} {inner.name}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or option of a command, as a person writes it."""

    written: str
    flags: tuple[str, ...]  # empty for an argument
    default: str
    meaning: str


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """Return the arguments and options of a command, from the signature of its function."""
    found = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])[:2]
        given = None if parameter.default is inspect.Parameter.empty else parameter.default
        flags = _flags(name, info) if isinstance(info, OptionInfo) else ()
        value = info.metavar or ("" if kind is bool else _kind(kind))
        written = f"{'/'.join(flags)} {value}".strip() if flags else str(info.metavar or name.upper())
        found.append(Parameter(written, flags, _default(flags, given), " ".join((info.help or "").split())))
    return found


def _flags(name: str, info: OptionInfo) -> tuple[str, ...]:
    """Return how an option is written. In an annotation, Typer takes its first name for a default."""
    first = [info.default] if isinstance(info.default, str) and info.default.startswith("-") else []
    return (*first, *(info.param_decls or ())) or (f"--{name.replace('_', '-')}",)


def _kind(kind: Any) -> str:
    """Return what a value is called: the choices of an enumeration, else a word for its type."""
    kinds = [each for each in (get_args(kind) or [kind]) if each is not type(None)]
    plain = (get_args(kinds[0]) or kinds)[0]
    if issubclass(plain, Enum):
        return "|".join(str(each.value) for each in plain)
    return {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(plain, "TEXT")


def _default(flags: Sequence[str], value: Any) -> str:
    if flags and flags[0] in OF_THE_MACHINE:
        return OF_THE_MACHINE[flags[0]]
    plain = value.value if isinstance(value, Enum) else value
    return "" if plain is None or plain is False or plain == "" else f"`{plain}`"


def _section(name: str, function: Callable[..., Any]) -> str:
    all_of_it = parameters(function)
    given, options = [each for each in all_of_it if not each.flags], [each for each in all_of_it if each.flags]
    usage = " ".join([name, *(each.written for each in given), *(["[OPTIONS]"] if options else [])])
    parts = [f"## `{name}`", f"```text\n{usage}\n```", " ".join((function.__doc__ or "").split())]
    if given:
        parts.append(table(["argument", "meaning"], [[f"`{each.written}`", each.meaning] for each in given]))
    if options:
        parts.append(table(["option", "default", "meaning"], [[f"`{each.written}`", each.default, each.meaning] for each in options]))
    return "\n\n".join(parts)
