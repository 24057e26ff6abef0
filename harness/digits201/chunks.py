"""Keeps the results of a long computation in small files, each written atomically, so that it can be stopped and resumed at any time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from budgetnas.harness.processes.parallel import ProcessEnded, map_in_processes
from budgetnas.harness.records.identity import canonical_json, identity_of
from budgetnas.spaces.files import Busy, exclusive, remove_leftovers, write_text
from budgetnas.spaces.tables.home import data_home


class BuildError(ValueError):
    """A build that cannot continue; the message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """The files of one computation. A file (chunk) maps each of its items to a result that JSON can represent.

    Attributes:
        name: the computation's name.
        conditions: everything that the results depend on. Other conditions use another folder.
        items: the indices of the cells to compute.
        size: items per file.
    """

    name: str
    conditions: Mapping[str, Any]
    items: tuple[int, ...]
    size: int

    @property
    def folder(self) -> Path:
        """The folder of the files, below the user's data folder."""
        described = {"conditions": dict(self.conditions), "items": list(self.items), "size": self.size}
        return data_home() / "digits201-build" / f"{self.name}-{identity_of(described)[:16]}"

    @property
    def count(self) -> int:
        """The number of files of a finished computation."""
        return -(-len(self.items) // self.size)

    def items_of(self, number: int) -> tuple[int, ...]:
        """Return the items of chunk `number`."""
        return self.items[number * self.size : (number + 1) * self.size]

    def missing(self) -> list[int]:
        """Return the numbers of the chunks without a valid file, ascending."""
        return [number for number in range(self.count) if self.read(number) is None]

    def path(self, number: int) -> Path:
        """Return the path of a chunk's file."""
        return self.folder / f"{number:05d}.json"

    def read(self, number: int) -> dict[int, Any] | None:
        """Return a chunk's results by item. None if its file is missing, damaged, or has other items."""
        try:
            content = json.loads(self.path(number).read_text(encoding="utf-8"))
            results, checksum = content["results"], content["sha256"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        wanted = [str(item) for item in self.items_of(number)]
        if not isinstance(results, dict) or sorted(results) != sorted(wanted) or checksum != identity_of(results):
            return None
        return {int(item): result for item, result in results.items()}

    def write(self, number: int, results: Mapping[int, Any]) -> None:
        """Write a chunk's results. Raises BuildError if that fails."""
        named = {str(item): result for item, result in results.items()}
        path = self.path(number)
        try:
            write_text(path, canonical_json({"results": named, "sha256": identity_of(named)}) + "\n", sync=True)
        except OSError as error:
            raise BuildError(
                f"cannot write {path}: {error.strerror}; make room and run the command again: it goes on where it stopped"
            ) from None

    def all(self) -> dict[int, Any]:
        """Return all results by item. Raises BuildError if some are missing."""
        results: dict[int, Any] = {}
        for number in range(self.count):
            part = self.read(number)
            if part is None:
                raise BuildError(
                    f"{self.name}: {len(self.missing())} of {self.count} parts are missing; run the command again without --step"
                )
            results |= part
        return results

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder, made if need be, against another process. `BuildError` if one holds it. Leftovers of an interrupted one go."""
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(self.folder, wait=False))
            except Busy:
                raise BuildError(f"another process is using {self.folder}; wait until it has finished") from None
            except OSError as error:
                raise BuildError(f"cannot write {self.folder}: {error.strerror}; set BUDGETNAS_DATA to a writable folder") from None
            remove_leftovers(self.folder)
            yield


def resume(chunks: Chunks, compute: Callable[[int], Any], workers: int, show: Callable[[int, int], None]) -> None:
    """Compute the missing chunks.

    Args:
        chunks: the files.
        compute: maps an item to its result. It must be picklable.
        workers: the number of processes; with 1 the work is done in this process.
        show: called with the number of finished items and of all items.

    Raises:
        BuildError: a process was killed, or the files cannot be written.
    """
    with chunks.held():
        missing = chunks.missing()
        done = len(chunks.items) - sum(len(chunks.items_of(number)) for number in missing)
        show(done, len(chunks.items))
        try:
            for number, _ in map_in_processes(partial(_compute_chunk, chunks, compute), missing, workers):
                done += len(chunks.items_of(number))
                show(done, len(chunks.items))
        except ProcessEnded as error:
            raise BuildError(f"{error}: it resumes where it stopped") from None


def _compute_chunk(chunks: Chunks, compute: Callable[[int], Any], number: int) -> None:
    chunks.write(number, {item: compute(item) for item in chunks.items_of(number)})
