"""Describes a method's settings: the comments beside its fields, with unit and source, and defaults as a study file writes them."""

from __future__ import annotations

import ast
import inspect
import io
import json
import textwrap
import tokenize
from typing import Any


def meanings(cls: type[Any]) -> dict[str, str]:
    """Return the description of every field of a class, '' for a field without one.

    The description is the string below the field; else the comment after it, with the comment lines that continue it; else the comment
    lines above it. The result is empty if the source of the class cannot be read.
    """
    try:
        source = textwrap.dedent(inspect.getsource(cls))
        body = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}
    code = {node.lineno for node in ast.walk(body) if hasattr(node, "lineno")}
    found: dict[str, str] = {}
    nodes = body.body if isinstance(body, ast.ClassDef) else []
    for node, following in zip(nodes, [*nodes[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                found[node.target.id] = " ".join(str(following.value.value).split())
                continue
            last = node.end_lineno or node.lineno
            beside = [last, *_alone(comments, code, last + 1, 1)] if last in comments else _alone(comments, code, node.lineno - 1, -1)[::-1]
            # Each comment describes one field: a comment that continues after a field is not also above the next one.
            found[node.target.id] = " ".join(comments.pop(line) for line in beside)
    return found


def _alone(comments: dict[int, str], code: set[int], line: int, way: int) -> list[int]:
    """Return the numbers of consecutive lines with only a comment, from `line` on; `way` is 1 for downwards, -1 for upwards."""
    lines = []
    while line in comments and line not in code:
        lines.append(line)
        line += way
    return lines


def as_written(value: Any) -> str:
    """Return a setting's value as a study file or `--setting` writes it; None is written by leaving the setting out.

    >>> as_written(True), as_written((0.5, 0.999)), as_written("auto"), as_written(None)
    ('true', '[0.5, 0.999]', '"auto"', '(left out)')
    """
    return "(left out)" if value is None else json.dumps(value)
