"""Imports original benchmark files that a user already has. They are recognised by their contents and read into checked tables.

The files are pickles of unknown origin. `unpickle.py` decides what they may contain. This module reads them in a separate process, so a
file that needs too much memory or overflows Python's stack ends only that process and gives an error.
"""

from __future__ import annotations

import bz2
import gc
import multiprocessing
import signal
import sys
import tarfile
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from budgetnas.spaces.tables.columnar import Table, TableError
from budgetnas.spaces.tables.upstream import torch_containers
from budgetnas.spaces.tables.upstream.hardware_pickle import SPACES, read_hardware_pickle
from budgetnas.spaces.tables.upstream.nasbench_archives import Progress, read_archive, read_folder, read_single, read_tar
from budgetnas.spaces.tables.upstream.unpickle import load

Tables = dict[str, Table]
READABLE = (
    "NATS-tss-v1_0-3ffb9-simple (folder or .tar), NATS-tss-v1_0-3ffb9.pickle.pbz2, NAS-Bench-201-v1_1-096897.pth, HW-NAS-Bench-v1_0.pickle"
)
# NAS-Bench-201-v1_1 takes 4.7 GB as a pickle and about 28 GB as Python objects.
_MEMORY_A_PICKLED_BYTE = 6
_SMALL_BYTES = 2 << 30
_SAMPLE_BYTES = 1 << 20


class PartialImport(UserWarning):
    """The file has only some cells of the space; the others are NaN in the table."""


def _silent(done: int, total: int) -> None:
    """Report nothing."""


def import_upstream(path: Path, force: bool = False, progress: Progress = _silent) -> Tables:
    """Return the tables in an upstream file, by the name of their space. Warns with PartialImport if the file lacks cells.

    Args:
        path: The file or folder.
        force: Read the file even if it needs more memory than is free.
        progress: Called with (done, total) as cells are read.

    Raises:
        TableError: The file cannot be read or is not known, or needs more memory than is free; the message gives the reason.
        PickleRefused: The file contains more than plain data.
    """
    check_memory(path, force)
    tables = _read_apart(path, None if force else 2 * memory_bytes(path) + _SMALL_BYTES, progress)
    for table in tables.values():
        known = int(np.any([~np.isnan(table.column(name)) for name in table], axis=0).sum())
        if known < table.rows:
            warnings.warn(f"{path} has {known} of {table.space}'s {table.rows} cells; the others stay unknown", PartialImport, stacklevel=2)
    return tables


def read(path: Path, progress: Progress = _silent) -> Tables:
    """Return the tables in an upstream file, read in this process. Raises as `import_upstream` does."""
    if path.is_dir():
        return _named(read_folder(path, progress))
    start = _start(path)
    if start.startswith(torch_containers.ZIP_START):
        return _contents(torch_containers.load_zip(path), path, progress)
    if start.startswith(torch_containers.LEGACY_START):
        return _contents(torch_containers.load_legacy(path), path, progress)
    if start and tarfile.is_tarfile(path):
        return _named(read_tar(path, progress))
    if start.startswith(b"BZh"):
        return _contents(read_single(path), path, progress)
    if start.startswith(b"\x80"):
        with path.open("rb") as stream:
            return _contents(load(stream, str(path)), path, progress)
    raise TableError(f"{path} is not a file that can be imported; these can: {READABLE}")


def memory_bytes(path: Path) -> int:
    """Return approximately how many bytes of memory reading a file needs; 0 for archives that are read one cell at a time."""
    if path.is_dir():
        return 0
    start, size = _start(path), path.stat().st_size
    if start.startswith((torch_containers.ZIP_START, torch_containers.LEGACY_START, b"\x80")):
        return _MEMORY_A_PICKLED_BYTE * size
    if start.startswith(b"BZh") and not tarfile.is_tarfile(path):
        return int(_MEMORY_A_PICKLED_BYTE * size * _expansion(path))
    return 0


def check_memory(path: Path, force: bool = False) -> None:
    """Raise TableError, with the figures, if a file needs more memory than is free, unless `force` is true."""
    import psutil

    needed, free = memory_bytes(path), psutil.virtual_memory().available
    if needed > free and not force:
        raise TableError(
            f"reading {path} needs about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
            f"import NATS-Bench's archive NATS-tss-v1_0-3ffb9-simple instead, which is read one cell at a time, or pass --force"
        )


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(len(torch_containers.LEGACY_START))
    except FileNotFoundError:
        raise TableError(f"there is no file {path}; these files can be imported: {READABLE}") from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from None


def _expansion(path: Path) -> float:
    """Return the factor by which the beginning of a bz2 file grows on decompression."""
    with path.open("rb") as stream:
        compressed = stream.read(_SAMPLE_BYTES)
    try:
        # A file of zeros grows a million times, so the decompressed size is bounded, and with it the work.
        return len(bz2.BZ2Decompressor().decompress(compressed, max_length=64 * _SAMPLE_BYTES)) / len(compressed)
    except (OSError, EOFError) as error:
        raise TableError(f"{path} is damaged ({error}); get the file again") from None


def _named(table: Table) -> Tables:
    return {table.space: table}


def _contents(content: Any, path: Path, progress: Progress) -> Tables:
    if isinstance(content, dict) and "arch2infos" in content:
        return _named(read_archive(content, path, progress))
    if isinstance(content, dict) and any(space in content for space in SPACES):
        return read_hardware_pickle(content, path, progress)
    raise TableError(f"{path} is a pickle, but not one that can be imported; these can: {READABLE}")


def _read_apart(path: Path, memory_limit: int | None, progress: Progress) -> Tables:
    """Return `read(path)`, computed in a separate process that may use `memory_limit` more bytes than at its start."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(path, memory_limit, sender), daemon=True)
    process.start()
    sender.close()
    try:
        while True:
            what, value = receiver.recv()
            if what == "progress":
                progress(*value)
            elif what == "error":
                raise value
            else:
                return {table.space: table for table in map(_fresh, value)}
    except EOFError:
        process.join()
        raise TableError(f"{path} was not imported: {_ending(process.exitcode)}") from None
    finally:
        receiver.close()
        process.kill()
        process.join()


def _serve(path: Path, memory_limit: int | None, sender: Connection) -> None:
    """Read a file and send messages: ("progress", (done, total)), then ("error", TableError) or ("tables", [...])."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on an interrupt, the parent ends this process
    gc.disable()  # hundreds of millions of objects, without reference cycles
    _limit_memory(memory_limit)
    try:
        tables = read(path, lambda done, total: sender.send(("progress", (done, total))))
    except TableError as error:
        sender.send(("error", error))
    except MemoryError:
        sender.send(
            ("error", TableError(f"{path} needs more memory than expected for its kind and size: it is damaged; if not, pass --force"))
        )
    else:
        sender.send(("tables", list(tables.values())))


def _limit_memory(more_bytes: int | None) -> None:
    """Limit the growth of this process to `more_bytes`, on Linux only, and disable core files."""
    if sys.platform != "linux":
        return
    import resource

    import psutil

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if more_bytes is not None:
        bound = psutil.Process().memory_info().data + more_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"{signal.Signals(-code).name} ended the process that read it, so the file is damaged or malicious, or the memory ran out"
    return f"the process that read it failed with exit code {code}; see its own message"


def _fresh(table: Table) -> Table:
    """Return a table as if this process had built it, with its columns checked and read-only."""
    return Table.from_columns(table.space, {name: table.column(name) for name in table}, table.sources)
