"""Reads files of `torch.save` without torch: its zip container, and the sequence of pickles that it wrote before version 1.6.

Only plain values are read. A file with tensors is refused.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import IO, Any

from budgetnas.spaces.tables.columnar import TableError
from budgetnas.spaces.tables.upstream.unpickle import PickleRefused, load, shown

ZIP_START = b"PK\x03\x04"
# The magic number at the start of older files, as a pickle of protocol 2.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_VERSION = 1001
# Other members that torch writes, which are not needed without tensors.
_BESIDE = {"version", "byteorder", ".data/serialization_id", ".format_version", ".storage_alignment"}
_STORAGE = re.compile(r"data/\d+")


def load_zip(path: Path) -> Any:
    """Return the value in a zip container.

    Raises:
        PickleRefused: The container has a tensor or another unexpected member, or its pickle has more than plain values.
        TableError: The file is damaged or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_pickle_member(path, archive)) as member:
            return load(member, str(path))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise TableError(f"{path} is not a complete zip container of torch ({error}); get the file again") from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from None


def _pickle_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the only pickle in the container, after a check of all other members."""
    members = {member.filename: member for member in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise PickleRefused(f"{path} has two members of the same name; torch does not write such files")
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].count("/") != 1:
        raise TableError(
            f"{path} is a zip file, but torch did not write it: it has {len(pickles)} members data.pkl in a folder; expected 1"
        )
    folder = pickles[0].removesuffix("data.pkl")
    for name in members:
        beside = name.removeprefix(folder)
        if name.startswith(folder) and _STORAGE.fullmatch(beside):
            raise PickleRefused(f"{path} holds the torch tensor {name!a}; only files without weights are read")
        if name != pickles[0] and not (name.startswith(folder) and beside in _BESIDE):
            raise PickleRefused(f"{path} has the unexpected member {name!a}; torch does not write such files")
    if members[pickles[0]].compress_type != zipfile.ZIP_STORED:
        raise PickleRefused(f"{path} has a compressed member {pickles[0]!a}; torch writes it uncompressed")
    return members[pickles[0]]


def load_legacy(path: Path) -> Any:
    """Return the value in a file of torch before version 1.6: magic number, version, machine, value, keys of tensors.

    Raises as `load_zip` does.
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
        raise TableError(f"{path} has torch's format {shown(version)}; only {_LEGACY_VERSION} can be read")
    machine = load(stream, str(path))
    if not isinstance(machine, dict):
        raise TableError(f"{path} does not describe the machine that wrote it, as files of torch do; get the file again")
    value = load(stream, str(path))
    storages = load(stream, str(path))
    if storages:
        raise PickleRefused(f"{path} holds torch tensors; only files without weights are read")
    return value
