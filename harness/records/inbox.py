"""Passes rows from a confined process to the run, one file for each row, because a user's method may have closed every pipe.

The process that wrote such a file has run a user's code, so the file is not trusted: its size is limited, its content is checked, and
nothing in it is executed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from budgetnas.harness.records.database import Row, RunError
from budgetnas.harness.records.identity import canonical_json
from budgetnas.spaces.files import replacing

FOLDER = "inbox"
LARGEST_BYTES = 2**28


def leave(root: Path, row: Row) -> None:
    """Write a row for the process that writes the records. Raises `RunError` if the file cannot be written."""
    path = root / FOLDER / row.identity
    header = canonical_json({"status": row.status, "sha256": row.sha256, "timing": row.timing})
    try:
        with replacing(path) as partial:
            partial.write_bytes(header.encode() + b"\n" + row.content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; make room or choose another folder, and run the study again") from None


def take(root: Path, identity: str) -> Row | None:
    """Return the row that a trial left, and remove its file. Returns None if there is no file, or if it is not the trial's record."""
    path = root / FOLDER / identity
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            return None
        header, _, content = path.read_bytes().partition(b"\n")
        values = json.loads(header)
        timing = json.loads(values["timing"])
        if not isinstance(timing, dict):
            return None
        kept = canonical_json(timing)
        kept.encode()  # raises for a lone surrogate, which UTF-8 cannot encode
        row = Row(identity, str(values["status"]), str(values["sha256"]), content, kept)
        row.record()
        return row
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    finally:
        with suppress(OSError):  # the path may be a folder, or the inbox a file
            path.unlink(missing_ok=True)
