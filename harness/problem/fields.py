"""Fields that a later version added: left out of identities while they have their default, so that older runs can be resumed."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any, TypeVar

_SINCE = "since"
T = TypeVar("T")


def since(version: str, default: T) -> T:
    """Return a dataclass field that version `version` added, with the value that older versions behave as if they had.

    A trial's identity does not include it while it has this value.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Search:
    ...     steps: int = 10
    ...     restarts: int = since("0.3", 1)
    >>> hashed_fields(Search()), hashed_fields(Search(restarts=2))
    ({'steps': 10}, {'steps': 10, 'restarts': 2})
    """
    made: T = field(default=default, metadata={_SINCE: version})
    return made


def hashed_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that identities include: all but those that a later version added and that have their default."""
    names = (each.name for each in fields(value) if not (_SINCE in each.metadata and getattr(value, each.name) == each.default))
    return {name: getattr(value, name) for name in names}
