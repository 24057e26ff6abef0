"""Checkpoints of trainings. They are written atomically, and checked to belong to the same training when read."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from budgetnas.harness.records.store import RunError
from budgetnas.spaces.files import replacing

# How a file begins; then come the sha256 of the rest and a line's end. torch itself does not notice a changed byte of a tensor.
_START = b"budgetnas checkpoint 1\n"
_DIGEST_LENGTH = 64


class BadCheckpoint(RunError):
    """A checkpoint that is damaged or belongs to another training; the file is not changed, and the message gives the remedy."""


def save(path: Path, identity: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """Write a checkpoint, and replace the last one atomically.

    Args:
        path: the file.
        identity: the training that it belongs to, as plain values.
        payload: the state to resume from, as tensors and plain values.

    Raises:
        BadCheckpoint: the file cannot be written.
    """
    content = io.BytesIO()
    torch.save({"identity": dict(identity), "payload": dict(payload)}, content)
    try:
        with replacing(path, sync=True) as partial, partial.open("wb") as stream:
            stream.write(_START + hashlib.sha256(content.getbuffer()).hexdigest().encode() + b"\n")
            stream.write(content.getbuffer())
    except OSError as error:
        raise BadCheckpoint(f"cannot write the checkpoint {path}: {error.strerror}; choose another folder with --out") from None


def load(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the payload of a checkpoint, with its tensors on the processor, or None if there is no file.

    Raises BadCheckpoint if the file is damaged, is not a checkpoint, or belongs to another training; the message names the difference.
    """
    remedy = f"move {path} away, or delete it, to start from the beginning"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadCheckpoint(f"the checkpoint {path} cannot be read: {error.strerror}; {remedy}") from None
    found = _content(data)
    if found is None:
        raise BadCheckpoint(f"{path} is cut off, damaged or no checkpoint; {remedy}")
    written: dict[str, Any] = found["identity"]
    for key in sorted({*written, *identity}):
        if key not in written or key not in identity or written[key] != identity[key]:
            raise BadCheckpoint(
                f"{path} is the checkpoint of another training: its {key} is {written.get(key)!s:.80}, "
                f"here it is {identity.get(key)!s:.80}; choose another folder with --out, or {remedy}"
            )
    payload: dict[str, Any] = found["payload"]
    return payload


def _content(data: bytes) -> dict[str, Any] | None:
    """Return the contents of a checkpoint file, or None if any byte was changed since it was written."""
    begins = len(_START) + _DIGEST_LENGTH + 1
    content = memoryview(data)[begins:]
    if data[:begins] != _START + hashlib.sha256(content).hexdigest().encode() + b"\n":
        return None
    try:
        # Tensors and plain values only: nothing that a file names is ever run.
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError, pickle.UnpicklingError):
        return None
    return found if isinstance(found, dict) and set(found) == {"identity", "payload"} else None
