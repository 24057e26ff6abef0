"""Pages as files: templates filled in, texts written the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDEX = "README.md"


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a template of this room filled in; a name that the context lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is Markdown: every cell is escaped for it where it is made
    )
    return environment.get_template(template).render(context)


def write(path: Path, text: str) -> Path:
    """Return the path, having written the text with plain line ends."""
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
