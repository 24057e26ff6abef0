"""The checkpoint that a search in a supernet is resumed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetnas.harness.training import checkpoint

FILE = "search.pt"


@dataclass(frozen=True, slots=True)
class SearchCheckpoint:
    """The file of a search in `folder`; None keeps nothing. Only a search with the same `identity` is resumed from it."""

    folder: Path | None
    identity: Mapping[str, Any]

    def save(self, payload: Callable[[], Mapping[str, Any]]) -> None:
        """Write what a payload function returns, in place of the last checkpoint. The payload has the key `epochs`: how many are done."""
        if self.folder is not None:
            checkpoint.save(self.folder / FILE, self.identity, payload())

    def restore(self, take_up: Callable[[Mapping[str, Any]], None]) -> int:
        """Return how many epochs are done after the last checkpoint was given to `take_up`; 0 where there is none.

        `BadCheckpoint` if the file is damaged, belongs to another search, or does not fit.
        """
        path = None if self.folder is None else self.folder / FILE
        found = None if path is None else checkpoint.load(path, self.identity)
        if found is None:
            return 0
        try:
            take_up(found)
            return int(found["epochs"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}".split("\n")[0]
            raise checkpoint.BadCheckpoint(
                f"{path} does not fit this version of budgetnas ({reason:.120}); move it away, or delete it, to begin anew"
            ) from None
