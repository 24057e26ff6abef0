"""The values of a file that `torch.save` wrote, read without torch: its zip container, and the row of pickles it wrote before version 1.6.

Only plain values are read. A file with tensors in it is refused.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO, Any

from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.tables.upstream.unpickle import PickleRefused, load, shown

ZIP_START = b"PK\x03\x04"
# The number with which the older files begin, as a pickle of protocol 2.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_VERSION = 1001
# What torch writes beside the pickle; none of it matters where there are no tensors.
_BESIDE = {"version", "byteorder", ".data/serialization_id", ".format_version", ".storage_alignment"}
_STORAGE = re.compile(r"data/\d+")


def load_zip(path: Path) -> Any:
    """Return the value in a zip container. `PickleRefused` names a tensor or any other odd member, `TableError` says what is damaged."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_pickle_member(path, archive)) as member:
            return load(member, str(path))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise TableError(f"{path} is no whole zip container of torch ({error}); get the file again") from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from None


def _pickle_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one pickle of the container, after a look at all that lies beside it."""
    members = {member.filename: member for member in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise PickleRefused(f"{path} has two members of one name; torch writes no such file")
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].count("/") != 1:
        raise TableError(
            f"{path} is a zip file, but none that torch wrote: it has {len(pickles)} members data.pkl in a folder; it needs one"
        )
    folder = pickles[0].removesuffix("data.pkl")
    for name in members:
        beside = name.removeprefix(folder)
        if name.startswith(folder) and _STORAGE.fullmatch(beside):
            raise PickleRefused(f"{path} holds the torch tensor {name!a}; only files without weights are read")
        if name != pickles[0] and not (name.startswith(folder) and beside in _BESIDE):
            raise PickleRefused(f"{path} has the odd member {name!a}; torch writes no such file")
    if members[pickles[0]].compress_type != zipfile.ZIP_STORED:
        raise PickleRefused(f"{path} has a compressed member {pickles[0]!a}; torch writes it uncompressed")
    return members[pickles[0]]


def load_legacy(path: Path) -> Any:
    """Return the value in a file of torch before 1.6: magic number, version, machine, the value, the tensors' keys.

    Errors as for `load_zip`.
    """
    try:
        with path.open("rb") as stream:
            return _load_legacy(stream, path)
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from None


def _load_legacy(stream: IO[bytes], path: Path) -> Any:
    load(stream, str(path))
    version = load(stream, str(path))
    if version != _LEGACY_VERSION:
        raise TableError(f"{path} is of torch's format {shown(version)}; {_LEGACY_VERSION} is the one that is read")
    machine = load(stream, str(path))
    if not isinstance(machine, dict):
        raise TableError(f"{path} does not say which machine wrote it, as torch's files do; get the file again")
    value = load(stream, str(path))
    storages = load(stream, str(path))
    if storages:
        raise PickleRefused(f"{path} holds torch tensors; only files without weights are read")
    return value
