"""Checkpoints: whole or not there, and never taken for another training's."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

FORMAT = 1


class BadCheckpoint(ValueError):
    """A checkpoint that is damaged or of another training; the file is left as it is, and the message says what to do."""


def save(path: Path, identity: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """Write a checkpoint in place of the last one, whole or not at all.

    `identity` says which training it belongs to, in plain values; `payload` is what it takes to go on: tensors and plain values.
    `BadCheckpoint` if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, written = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise BadCheckpoint(f"cannot write the checkpoint {path}: {error.strerror}; choose another folder with --out") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            torch.save({"format": FORMAT, "identity": dict(identity), "payload": dict(payload)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(written).replace(path)
    except OSError as error:
        raise BadCheckpoint(f"cannot write the checkpoint {path}: {error.strerror}; choose another folder with --out") from None
    finally:
        Path(written).unlink(missing_ok=True)


def load(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the payload of a checkpoint, its tensors on the processor, or None where there is no file.

    `BadCheckpoint` if it is cut off or no checkpoint at all, or if it belongs to another training: the message names what differs.
    """
    remedy = f"move {path} away, or delete it, to begin anew"
    try:
        # Tensors and plain values only: nothing that a file names is ever run.
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadCheckpoint(f"the checkpoint {path} cannot be read: {error.strerror or error}; {remedy}") from None
    except (RuntimeError, ValueError, EOFError, KeyError, AttributeError, pickle.UnpicklingError):
        raise BadCheckpoint(f"{path} is cut off, damaged or no checkpoint; {remedy}") from None
    if not isinstance(found, dict) or set(found) != {"format", "identity", "payload"} or found["format"] != FORMAT:
        raise BadCheckpoint(f"{path} is no checkpoint of this version of budgetnas; {remedy}")
    written: dict[str, Any] = found["identity"]
    for key in sorted({*written, *identity}):
        if key not in written or key not in identity or written[key] != identity[key]:
            raise BadCheckpoint(
                f"{path} is the checkpoint of another training: its {key} is {written.get(key)!s:.80}, "
                f"here it is {identity.get(key)!s:.80}; choose another folder with --out, or {remedy}"
            )
    payload: dict[str, Any] = found["payload"]
    return payload
