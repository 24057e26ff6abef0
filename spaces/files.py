"""Writes files atomically, and provides locks between processes."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PARTIAL = ".partial"


class Busy(OSError):
    """Another process, or another block of this process, holds the lock; `filename` is the path of the lock."""


@contextmanager
def replacing(path: Path, mode: int = 0o644, sync: bool = False) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`, which replaces `path` when the block ends without an error.

    After an error the temporary file is deleted and `path` is unchanged. A killed process leaves the file behind; see `remove_leftovers`.

    Args:
        path: the file to write; its folder is created if it is missing.
        mode: the permissions of the new file, whatever the umask.
        sync: make sure that the new file survives a power failure.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent)
    os.fchmod(handle, 0o600)  # whatever the umask: the block must be able to open the file
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(mode)
        if sync:
            _sync(partial)
        partial.replace(path)
        if sync:
            # The new file is complete and in place, so a file system that cannot sync a folder is not an error.
            with suppress(OSError):
                _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, sync: bool = False) -> None:
    r"""Write `text` to `path` atomically, as UTF-8 with `\n` line ends. Raises as `replacing` does."""
    with replacing(path, sync=sync) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def exclusive(path: Path, wait: bool) -> Iterator[None]:
    """Hold the lock at `path` while the block runs: one process at a time, and one block at a time within a process.

    It is a kernel lock (`flock`), so it is released whenever its process ends, even if that is killed. The lock file is never deleted: a
    process that already has it open and one that creates it again would both hold a lock.

    Args:
        path: the lock file, created if it is missing, or an existing folder.
        wait: wait until the lock is free.

    Raises:
        Busy: the lock is taken, and `wait` is false.
        OSError: the file cannot be created, or the file system has no locks.
    """
    from filelock import lock_descriptor

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not lock_descriptor(descriptor, blocking=wait):
            raise Busy(errno.EAGAIN, "another process holds the lock", str(path))
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed processes left in `folder`. Hold a lock: nobody else may be writing there."""
    for pattern in (f".*{_PARTIAL}", f".*{_PARTIAL}-*"):  # the second: journals that SQLite writes beside such a file
        for leftover in folder.glob(pattern):
            leftover.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents so that they survive a power failure. Raises OSError as `mkdir` does."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        with suppress(OSError):  # as in `replacing`
            _sync(each.parent)


def sync_folder(path: Path) -> None:
    """Make sure that renames in a folder survive a power failure."""
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
