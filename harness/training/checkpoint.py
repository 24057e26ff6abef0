"""Checkpoints: whole or not there, and never taken for another training's."""

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
    """A checkpoint that is damaged or of another training; the file is left as it is, and the message says what to do."""


def save(path: Path, identity: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """Write a checkpoint in place of the last one, whole or not at all.

    `identity` says which training it belongs to, in plain values; `payload` is what it takes to go on: tensors and plain values.
    `BadCheckpoint` if the folder cannot be written.
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
    """Return the payload of a checkpoint, its tensors on the processor, or None where there is no file.

    `BadCheckpoint` if it is cut off or no checkpoint at all, or if it belongs to another training: the message names what differs.
    """
    remedy = f"move {path} away, or delete it, to begin anew"
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
    """Return what a file holds, or None unless it is, to the byte, what was written."""
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
