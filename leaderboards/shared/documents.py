"""Renders templates, and writes pages with the same bytes on every machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDEX = "README.md"


class LeaderboardError(ValueError):
    """Records or contexts that cannot be made into pages; the message names the error and the remedy."""


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a template of `leaderboards/templates` with the values of `context`. A missing value is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is Markdown, and values are escaped for Markdown where they are created
    )
    return environment.get_template(template).render(context)


def file_part(text: str) -> str:
    """Return a text as a part of a file name. Characters that are special in links or file systems become hyphens.

    >>> file_part("DCA-NAS (size 0.5)")
    'DCA-NAS-size-0.5'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-") or "method"


def write(path: Path, text: str) -> Path:
    """Write the text with Unix line ends, and return the path."""
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
