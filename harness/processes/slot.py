"""The number of this process among the parallel workers, so that each can train on a different GPU."""

from __future__ import annotations

import os

_VARIABLE = "BUDGETNAS_WORKER"


def take_slot(number: int) -> None:
    """Make this process, and the processes that it starts, worker `number`, counted from 0."""
    os.environ[_VARIABLE] = str(number)


def slot() -> int | None:
    """Return the number of this process among the parallel workers, or None if it is not one of them."""
    value = os.environ.get(_VARIABLE, "")
    return int(value) if value.isdecimal() else None
