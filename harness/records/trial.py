"""A trial: a method with its settings on a problem with a seed, and the identity computed from all of these."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from budgetnas.harness.problem import Allowance, Limit
from budgetnas.harness.problem.fields import hashed_fields
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR, canonical_json, identity_of

SCHEMA = 1
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """The recipe of a trial that trains, and the checksums of the recipe and of the images."""

    recipe: str  # the name of a recipe of the project, or a path
    recipe_checksum: str
    images: str


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything that decides what a trial does. `folder`, where the path of a plug-in starts, is not part of the identity."""

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
    _identity: str = field(default="", init=False, repr=False, compare=False)  # empty until it is computed

    def payload(self) -> dict[str, Any]:
        """Return the value whose hash is the identity. It holds the checksum of a recipe, not its name or path."""
        return self._answered() | {
            "schema": SCHEMA,
            "space": self.space,
            "dataset": self.dataset,
            "device": self.device,
            "limits": [{"resource": x.resource, "lower": x.lower, "upper": None if x.upper == math.inf else x.upper} for x in self.limits],
            "allowance": hashed_fields(self.allowance),
            "validation": self.validation,
            "method": {"name": self.method, "settings": dict(self.settings), "version": self.version},
            "table": self.table,
            "seed": self.seed,
        }

    def _answered(self) -> dict[str, Any]:
        """Return the part of the payload about the evaluator and its recipe; empty for the default evaluator without a recipe."""
        training = self.training
        if training:
            return {"training": {"evaluator": self.evaluator, "recipe": training.recipe_checksum, "images": training.images}}
        return {} if self.evaluator == DEFAULT_EVALUATOR else {"evaluator": self.evaluator}

    @property
    def identity(self) -> str:
        """The sha256 of the canonical JSON of `payload()`, in hexadecimal; computed once."""
        if not self._identity:
            object.__setattr__(self, "_identity", identity_of(self.payload()))
        return self._identity

    def with_seeds(self, seeds: Sequence[int]) -> list[Trial]:
        """Return copies of this trial with the given seeds. The hash of the text that their payloads share is computed only once."""
        payload = self.payload()
        texts = {name: canonical_json(value) for name, value in payload.items()}
        before = ",".join(f'"{name}":{texts[name]}' for name in sorted(texts) if name < "seed")
        behind = "".join(f',"{name}":{texts[name]}' for name in sorted(texts) if name > "seed")
        start, end = hashlib.sha256(f'{{{before},"seed":'.encode()), f"{behind}}}"
        shared = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("seed", "_identity")}
        trials = []
        for seed in seeds:
            digest = start.copy()
            digest.update(f"{seed}{end}".encode())
            trial = Trial(**shared, seed=seed)
            object.__setattr__(trial, "_identity", digest.hexdigest())
            trials.append(trial)
        return trials

    def rng(self) -> np.random.Generator:
        """Return the random generator of the trial, seeded with its identity."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(self.identity, 16))))


def reason_of(error: BaseException) -> str:
    """Return the type and text of an exception in one line, without memory addresses, so that it is the same in every run."""
    try:
        text = str(error).strip().split("\n")[0]
    except Exception:
        text = "(its text cannot be had)"
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return _ADDRESS.sub("", line)[:500].encode("utf-8", "backslashreplace").decode()
