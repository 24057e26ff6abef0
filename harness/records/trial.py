"""One seeded trial: a method on a problem, made into one record."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from budgetnas.harness.problem import Allowance, Limit
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR, identity_of

SCHEMA = 1
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """The recipe by which a trial trains, and the checksums of the recipe and of the images."""

    recipe: str  # the name of one that comes with the project, or a path
    recipe_checksum: str
    images: str


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything that decides what a trial does. `folder` is where a plug-in was named from; it is no part of the identity."""

    space: str
    dataset: str
    device: str | None
    limits: tuple[Limit, ...]
    allowance: Allowance
    validation: Literal["mean", "seed"]
    method: str
    settings: tuple[tuple[str, Any], ...]
    version: str
    table: str
    seed: int
    folder: Path | None = None
    training: TrainingSpec | None = None  # for evaluators that need a recipe
    evaluator: str = DEFAULT_EVALUATOR  # answers the method's questions; see `harness/evaluators/registry.py`

    def payload(self) -> dict[str, Any]:
        """Return what the identity is the hash of. A recipe's name and path are no part of it, only what is in it."""
        return self._answered() | {
            "schema": SCHEMA,
            "space": self.space,
            "dataset": self.dataset,
            "device": self.device,
            "limits": [{"resource": x.resource, "lower": x.lower, "upper": None if x.upper == math.inf else x.upper} for x in self.limits],
            "allowance": asdict(self.allowance),
            "validation": self.validation,
            "method": {"name": self.method, "settings": dict(self.settings), "version": self.version},
            "table": self.table,
            "seed": self.seed,
        }

    def _answered(self) -> dict[str, Any]:
        """Return what the identity holds of the evaluator and its recipe; nothing of the default evaluator without one."""
        training = self.training
        if training:
            return {"training": {"evaluator": self.evaluator, "recipe": training.recipe_checksum, "images": training.images}}
        return {} if self.evaluator == DEFAULT_EVALUATOR else {"evaluator": self.evaluator}

    @property
    def identity(self) -> str:
        """The sha256 of the canonical JSON of all that decides the trial."""
        return identity_of(self.payload())

    def rng(self) -> np.random.Generator:
        """Return the trial's own generator, seeded with its identity."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(self.identity, 16))))


def reason_of(error: BaseException) -> str:
    """Return an exception in one line that is the same in every run: its type and text, without addresses in memory."""
    try:
        text = str(error).strip().split("\n")[0]
    except Exception:
        text = "(its text cannot be had)"
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return _ADDRESS.sub("", line)[:500].encode("utf-8", "backslashreplace").decode()
