"""Canonical JSON: exactly one text for each value, so that identities and records have the same bytes on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

DEFAULT_EVALUATOR = "table"  # its name is left out of identities, so that they equal those of version 0.2


def canonical_json(value: Any) -> str:
    """Return a value as JSON with sorted keys, without spaces, and with floats in their shortest exact form.

    Raises:
        ValueError: The value contains NaN or infinity.

    >>> canonical_json({"b": (1, 0.1), "a": None})
    '{"a":null,"b":[1,0.1]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def identity_of(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
