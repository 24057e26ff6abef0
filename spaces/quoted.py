"""Results as others published them: quoted beside ours, never ranked with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quoted:
    """A published mean and standard deviation of test accuracy [%] (None where none was given) on one dataset."""

    method: str
    dataset: str
    test: float
    deviation: float | None
    source: str
    note: str = ""
