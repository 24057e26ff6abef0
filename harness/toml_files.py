"""Reads TOML files into models. The first mistake in a file becomes a one-line error with the file, the key and what was expected."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class TomlTable(BaseModel):
    """A table of a file: unknown keys are refused, types are exact, and the table is frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def hashed_values(self) -> dict[str, Any]:
        """Return the values that identities include, as JSON values. Keys of later versions are left out while they have their default.

        Mark a key that is added after version 0.2 with `Field(json_schema_extra={"since": "0.3"})`.
        """
        values = self.model_dump(mode="json")
        for name, info in type(self).model_fields.items():
            value, extra = getattr(self, name), info.json_schema_extra
            if isinstance(extra, dict) and "since" in extra and value == info.get_default(call_default_factory=True):
                del values[name]
            elif isinstance(value, TomlTable):
                values[name] = value.hashed_values()
            elif isinstance(value, dict):
                values[name] |= {key: each.hashed_values() for key, each in value.items() if isinstance(each, TomlTable)}
        return values


@dataclass(frozen=True, slots=True)
class TomlFiles:
    """Reads the files of one kind, such as recipes.

    Args:
        error: the exception that is raised for every mistake.
        kind: the word for such a file in messages, for example "recipe".
        wanted: what a message asks for if a file is missing.
    """

    error: type[ValueError]
    kind: str
    wanted: str = "the path of a TOML file"

    def text(self, reference: str, known: Collection[str]) -> str:
        """Return the text of the file at a path.

        Raises:
            ValueError: of the type `error`; the file is missing or not text. The message lists `known`, the names shipped with the project.
        """
        names = ", ".join(known)
        try:
            return Path(reference).read_text(encoding="utf-8-sig")  # some editors add a byte order mark
        except FileNotFoundError:
            raise self.error(f"there is no {self.kind} {reference}; give {self.wanted}, or one of {names}") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise self.error(f"{reference} cannot be read: {reason}; give a {self.kind} file, or one of {names}") from None

    def parsed(self, reference: str, text: str, model: type[Model]) -> Model:
        """Return the text of a file as a model.

        Raises:
            ValueError: of the type `error`; the text is not TOML, or does not fit the model.
        """
        try:
            return model.model_validate(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise self.error(f"{reference} is not TOML: {error}") from None
        except ValidationError as error:
            raise self.error(f"{reference}: {_objection(error, model, self.kind)}") from None


def _objection(error: ValidationError, model: type[BaseModel], whole: str) -> str:
    """Return the first mistake: its key (`whole` if it has none), what was expected, and the value found."""
    # A misspelt key is also reported as missing; the misspelling is the better message.
    first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    key = ".".join(map(str, first["loc"])) or whole
    if first["type"] == "extra_forbidden":
        return f"{key}: there is no such key; expected one of {', '.join(_keys(model, first['loc'][:-1]))}"
    given = "" if first["type"] in ("missing", "value_error", "too_short") else f", not {first['input']!r:.60}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{given}"


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the table at a path below `model`."""
    for name in path:
        field = model.model_fields.get(str(name))
        if field is None:  # a key of a dictionary of tables, such as the dataset in [on.DATASET.validation]
            continue
        inner = [kind for kind in _kinds(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        model = inner[0] if inner else model
    return list(model.model_fields)


def _kinds(annotation: Any) -> list[Any]:
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds(part))]
