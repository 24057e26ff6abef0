"""TOML files into models: the first mistake in a file becomes one line that names the file, the key and what was expected there."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class TomlTable(BaseModel):
    """A table of a file: no key but its own, values of the exact type, and never changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def hashed_values(self) -> dict[str, Any]:
        """Return the values that identities include, as JSON has them: all but keys of later versions that have their default.

        A key that a later version adds is marked by `Field(json_schema_extra={"since": "0.3"})`.
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
    """Files of one kind, and how to speak of them.

    Args:
        error: what is raised for every mistake.
        kind: what such a file is, for example "recipe".
        wanted: what to give instead of a path where there is no file.
    """

    error: type[ValueError]
    kind: str
    wanted: str = "the path of a TOML file"

    def text(self, reference: str, known: Collection[str]) -> str:
        """Return the text of the file at a path.

        Raises:
            ValueError: `error`; the file is missing or no text. The message lists `known`, the names that come with the project.
        """
        names = ", ".join(known)
        try:
            return Path(reference).read_text(encoding="utf-8-sig")  # as some editors save it
        except FileNotFoundError:
            raise self.error(f"there is no {self.kind} {reference}; give {self.wanted}, or one of {names}") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise self.error(f"{reference} cannot be read: {reason}; give a {self.kind} file, or one of {names}") from None

    def parsed(self, reference: str, text: str, model: type[Model]) -> Model:
        """Return a file's text as a model.

        Raises:
            ValueError: `error`; the text is no TOML, or not what the model asks for.
        """
        try:
            return model.model_validate(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise self.error(f"{reference} is no TOML: {error}") from None
        except ValidationError as error:
            raise self.error(f"{reference}: {_objection(error, model, self.kind)}") from None


def _objection(error: ValidationError, model: type[BaseModel], whole: str) -> str:
    """Return the first mistake: its key (`whole` if it has none), what was expected there, and what stands there."""
    # A key that is misspelt is also missing; the misspelling says more.
    first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    key = ".".join(map(str, first["loc"])) or whole
    if first["type"] == "extra_forbidden":
        return f"{key}: there is no such key; expected one of {', '.join(_keys(model, first['loc'][:-1]))}"
    given = "" if first["type"] in ("missing", "value_error", "too_short") else f", not {first['input']!r:.60}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{given}"


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the table at a path: of the model itself, or of the model that a field of it holds."""
    for name in path:
        field = model.model_fields.get(str(name))
        if field is None:  # a key of a dictionary of tables, such as the dataset in [on.DATASET.validation]
            continue
        inner = [kind for kind in _kinds(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        model = inner[0] if inner else model
    return list(model.model_fields)


def _kinds(annotation: Any) -> list[Any]:
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds(part))]
