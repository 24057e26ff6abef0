"""The checkpoint from which a search in a supernet is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetnas.harness.training import checkpoint

FILE = "search.pt"


@dataclass(frozen=True, slots=True)
class SearchCheckpoint:
    """The checkpoint of a search in `folder` (None: nothing is saved). Only a search with the same `identity` can resume from it."""

    folder: Path | None
    identity: Mapping[str, Any]

    def save(self, payload: Callable[[], Mapping[str, Any]]) -> None:
        """Replace the checkpoint by the result of `payload`. Its key `epochs` must hold the number of finished epochs."""
        if self.folder is not None:
            checkpoint.save(self.folder / FILE, self.identity, payload())

    def restore(self, take_up: Callable[[Mapping[str, Any]], None]) -> int:
        """Pass the last checkpoint to `take_up`, and return its number of finished epochs; 0 if there is no checkpoint.

        Raises:
            BadCheckpoint: The file is damaged, belongs to another search, or does not fit this version.
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
                f"{path} does not fit this version of budgetnas ({reason:.120}); move it away, or delete it, to start again"
            ) from None
