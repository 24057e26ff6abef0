"""Which of the processes side by side this one is, so that each can train on a GPU of its own."""

from __future__ import annotations

import os

_VARIABLE = "BUDGETNAS_WORKER"


def take_slot(number: int) -> None:
    """Let this process, and those that it starts, be worker `number`, counted from 0."""
    os.environ[_VARIABLE] = str(number)


def slot() -> int | None:
    """Return this process's number among the workers of now, or None where it is none's."""
    value = os.environ.get(_VARIABLE, "")
    return int(value) if value.isdecimal() else None
