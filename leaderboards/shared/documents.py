"""Pages as files: templates filled in, texts written the same on every machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDEX = "README.md"


class LeaderboardError(ValueError):
    """Records or contexts that no page can be made of; the message names the fault and the remedy."""


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a template of this room filled in; a name that the context lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is Markdown: every cell is escaped for it where it is made
    )
    return environment.get_template(template).render(context)


def file_part(text: str) -> str:
    """Return a text as a part of a file's name: what a link or a file system may trip over becomes a hyphen.

    >>> file_part("DCA-NAS (size 0.5)")
    'DCA-NAS-size-0.5'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-") or "method"


def write(path: Path, text: str) -> Path:
    """Return the path, having written the text with plain line ends."""
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
