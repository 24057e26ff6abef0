"""Records on disk: `records/<identity>.json`, written once and whole; what a clock said goes to `timings/` beside it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from budgetnas.harness.records.identity import canonical_json, identity_of


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why."""


def checkpoint_folder(root: Path, identity: str) -> Path:
    """Return where a trial of a run keeps its checkpoints."""
    return root / "checkpoints" / identity


class Store:
    """The folder of a run. Every write is atomic: a file is there whole or not at all."""

    def __init__(self, root: Path):
        self.root = root
        self.records = root / "records"
        self.timings = root / "timings"
        self.context = root / "context"
        self.logs = root / "logs"

    def create(self) -> None:
        """Make the folders. `RunError` if they cannot be made."""
        try:
            for folder in (self.records, self.timings, self.context):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write the run into {self.root}: {error.strerror}; choose another folder with --out") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. `RunError` if another one holds it. What an interrupted process left half-written is removed."""
        self.create()
        with self._lock():
            for folder in (self.root, self.records, self.timings, self.context):
                for leftover in folder.glob(".*.partial"):
                    leftover.unlink(missing_ok=True)
            yield

    def drop_checkpoints(self, identity: str) -> None:
        """Delete what a trial kept to go on from: it has its record."""
        shutil.rmtree(checkpoint_folder(self.root, identity), ignore_errors=True)

    def _lock(self) -> IO[str]:
        try:
            handle = (self.root / ".lock").open("w")
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise RunError(f"another process is at work in {self.root}; wait for it, or choose another folder with --out") from None
        except OSError as error:
            raise RunError(f"cannot write the run into {self.root}: {error.strerror}; choose another folder with --out") from None
        return handle

    def path(self, identity: str) -> Path:
        """Return where the record with an identity is."""
        return self.records / f"{identity}.json"

    def done(self) -> set[str]:
        """Return the identities that have a record."""
        return {path.stem for path in self.records.glob("*.json")}

    def put(self, record: dict[str, Any], timing: dict[str, Any] | None = None) -> None:
        """Write a record, and its timing first, so that a record that is there has its timing."""
        if timing is not None:
            self.write(self.timings / f"{record['identity']}.json", timing)
        self.write(self.path(record["identity"]), record)

    def get(self, identity: str) -> dict[str, Any]:
        """Return a record. `RunError` if it is missing or damaged, or says another trial than its name."""
        path = self.path(identity)
        record: Any = self.read(path)
        whole = isinstance(record, dict) and record.get("identity") == identity and record.get("status") in ("ok", "failed")
        if not whole or not _is_of(record.get("trial"), identity):
            raise RunError(f"{path} is no record of the trial that it is named after; delete it and run the study again")
        return dict(record)

    def write(self, path: Path, value: Any) -> None:
        """Write canonical JSON to `path`, whole or not at all. `RunError` if the disk refuses."""
        partial = ""
        try:
            handle, partial = tempfile.mkstemp(prefix=f".{path.stem[:16]}.", suffix=".partial", dir=path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(handle, 0o644)  # a temporary file is its owner's alone; a record is for whoever may read the folder
                file.write(canonical_json(value) + "\n")
            Path(partial).replace(path)
            partial = ""
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}; make room or choose another folder, and run the study again") from None
        finally:
            if partial:
                Path(partial).unlink(missing_ok=True)

    def read(self, path: Path) -> Any:
        """Return the JSON value of a file of the run. `RunError` if it is missing or damaged."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} is missing; run the study again: what is there is kept") from None
        except (ValueError, RecursionError, OSError) as error:
            raise RunError(f"{path} is damaged ({error}); delete it and run the study again") from None

    def discard(self, identities: Iterable[str]) -> None:
        """Delete records, so that their trials are run again."""
        for identity in identities:
            self.path(identity).unlink(missing_ok=True)


def _is_of(payload: Any, identity: str) -> bool:
    try:
        return identity_of(payload) == identity
    except (ValueError, RecursionError):  # NaN and the like, which only an edited record has
        return False
