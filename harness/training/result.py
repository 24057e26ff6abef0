"""The result of a training, and its file `result.json`, which is written atomically beside the checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.training.progress import Epoch
from budgetnas.spaces.files import write_text

FILE = "result.json"


class BadResult(ValueError):
    """A result that is damaged or belongs to another training; the file is not changed, and the message gives the remedy."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of training a network.

    Attributes:
        identity: the network and its training: space, arch, genes (of the representative of identical networks), dataset, images,
            recipe, seed.
        validation: accuracy [%] on the validation images after the last epoch; None if the recipe has none. Chance if it diverged.
        test: accuracy [%] on the test images. Chance if it diverged.
        epochs: the figures of each epoch.
        seconds: wall-clock time, without interruptions.
        peak_memory_bytes: largest memory in use, of the GPU or of the whole process.
        diverged: whether the training diverged.
        device: the name of the device.
        threads: processor threads.
        torch: the version of PyTorch.
        kept: whether the network was trained earlier, and the result was read from its file.
    """

    identity: Mapping[str, Any]
    validation: float | None
    test: float
    epochs: tuple[Epoch, ...]
    seconds: float
    peak_memory_bytes: int
    diverged: bool
    device: str
    threads: int
    torch: str
    kept: bool = False


def to_json(trained: Trained) -> dict[str, Any]:
    """Return a result as JSON values. A loss that is not finite becomes null."""
    values = asdict(trained)
    for epoch in values["epochs"]:
        epoch["loss"] = epoch["loss"] if math.isfinite(epoch["loss"]) else None
    del values["kept"]
    return values


def write(folder: Path, trained: Trained) -> None:
    """Write the result into a folder, atomically. Raises BadResult if it cannot be written."""
    try:
        write_text(folder / FILE, canonical_json(to_json(trained)) + "\n")
    except OSError as error:
        raise BadResult(f"cannot write {folder / FILE}: {error.strerror}; make room, or choose another folder with --out") from None


def read(folder: Path, identity: Mapping[str, Any]) -> Trained | None:
    """Return the result in a folder, or None if there is none. Raises BadResult if it is damaged or belongs to another training."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise BadResult(f"{path} cannot be read; move it away, or delete it, to train again") from None
    try:
        values = json.loads(text)
        written = values["identity"]
        epochs = tuple(Epoch(**{**epoch, "loss": math.nan if epoch["loss"] is None else epoch["loss"]}) for epoch in values.pop("epochs"))
        found = Trained(**values, epochs=epochs, kept=True)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadResult(f"{path} is damaged or no result; move it away, or delete it, to train again") from None
    # As JSON has it: a list where a tuple was.
    expected = json.loads(canonical_json(dict(identity)))
    for key in sorted({*written, *expected}):
        if written.get(key) != expected.get(key):
            raise BadResult(
                f"{path} is the result of another training: its {key} is {written.get(key)!s:.80}, here it is {expected.get(key)!s:.80}; "
                "choose another folder with --out"
            )
    return found
