"""Files that are written whole or not at all, and locks that keep other processes out."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PARTIAL = ".partial"


class Busy(OSError):
    """Another process holds the lock, or this one does already; `filename` is the path of the lock."""


@contextmanager
def replacing(path: Path, mode: int = 0o644, sync: bool = False) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`, which replaces `path` when the block ends without an error.

    After an error the temporary file is deleted, and `path` is as it was. A process that is killed leaves both; see `remove_leftovers`.

    Args:
        path: the file to write; its folder is made if it is missing.
        mode: the permissions of the new file, whatever the umask.
        sync: make sure that the new file outlasts a power failure.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent)
    os.fchmod(handle, 0o600)  # whatever the umask: the block opens the file by its name
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(mode)
        if sync:
            _sync(partial)
        partial.replace(path)
        if sync:
            # The new file is whole and in place: a file system that cannot sync a folder is no reason to call it a failure.
            with suppress(OSError):
                _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, sync: bool = False) -> None:
    r"""Write `text` to `path` as UTF-8 with `\n` at the line ends, whole or not at all. Raises as `replacing` does."""
    with replacing(path, sync=sync) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def exclusive(path: Path, wait: bool) -> Iterator[None]:
    """Hold the lock at `path` while the block runs: one process at a time, and one block at a time within a process.

    The lock is the kernel's (`flock`), so it goes when its process ends, however that ends. The file stays: if it were deleted, a process
    that has it open already and one that makes it anew would both hold "the" lock.

    Args:
        path: the lock file, made if it is missing, or a folder that exists.
        wait: wait until the lock is free.

    Raises:
        Busy: the lock is taken, and `wait` is false.
        OSError: the file cannot be made, or the file system has no locks.
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
    """Delete the temporary files that killed processes left in `folder`. Nobody else may be writing there: hold a lock."""
    for ending in (_PARTIAL, f"{_PARTIAL}-journal"):  # SQLite has a journal beside the file that it makes
        for leftover in folder.glob(f".*{ending}"):
            leftover.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless they are there; new ones outlast a power failure. Raises OSError as `mkdir` does."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        with suppress(OSError):  # as above
            _sync(each.parent)


def sync_folder(path: Path) -> None:
    """Make sure that what was renamed in a folder outlasts a power failure."""
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
