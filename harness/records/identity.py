"""Canonical JSON: one text for one value, so that identities and records are the same bytes everywhere."""

from __future__ import annotations

import hashlib
import json
from typing import Any

DEFAULT_EVALUATOR = "table"  # identities leave its name out, as those of version 0.2 did


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys, no spaces and no NaN or infinity (`ValueError`); floats in their shortest exact form.

    >>> canonical_json({"b": (1, 0.1), "a": None})
    '{"a":null,"b":[1,0.1]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def identity_of(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
