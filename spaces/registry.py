"""The spaces by name. A space is imported when it is first asked for."""

from __future__ import annotations

import importlib
from functools import cache

from budgetnas.spaces.space import Space

SPACES = {"nasbench201": "budgetnas.spaces.nasbench201:NASBench201"}


class UnknownSpace(ValueError):
    """A space that the project does not have; the message lists those it has."""


@cache
def space_of(name: str) -> Space:
    """Return a space by its name; `UnknownSpace` lists the names there are."""
    if name not in SPACES:
        raise UnknownSpace(f"unknown space '{name}'; choose one of {', '.join(SPACES)}")
    module, _, attribute = SPACES[name].partition(":")
    space: Space = getattr(importlib.import_module(module), attribute)()
    return space
