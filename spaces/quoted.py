"""Results quoted from papers: shown beside our own results, never ranked with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quoted:
    """A published test accuracy [%] on one dataset: mean and standard deviation (None if the source gives none)."""

    method: str
    dataset: str
    test: float
    deviation: float | None
    source: str
    note: str = ""
