"""Rows of made-up records, the same ones in every run."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from budgetnas.harness.records.database import Row
from budgetnas.harness.records.identity import identity_of

MakeRow = Callable[..., Row]


def _made_row(number: int, size: int = 200, version: int = 0, status: str = "ok", timing: float = 0.5, attempts: int = 1) -> Row:
    trial = {"seed": number}
    noise = random.Random(f"{number} {version}").randbytes(size).hex()
    record = {"identity": identity_of(trial), "status": status, "trial": trial, "version": version, "noise": noise}
    return Row.of(record, {"trial_seconds": timing}, attempts)


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    """Make the row of trial `number`: about `size` bytes of content, another one for every `version`."""
    return _made_row
