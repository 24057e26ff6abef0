"""Reads the settings of a method from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """Return settings from NAME=VALUE texts. A value is read as TOML, or as plain text if it is not TOML.

    Raises:
        typer.BadParameter: a text is not NAME=VALUE.
    """
    import tomllib

    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise typer.BadParameter(f"'{text}' is not NAME=VALUE; write for example epochs=50")
        try:
            settings[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[name] = value
    return settings
