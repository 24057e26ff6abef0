"""Training a network of a table again, from nothing, with a seed of the table: what a queried accuracy is held against."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

# A module for every table that this project can train again; it is imported when it is first asked for.
_TRAINERS = {("nasbench201", "digits201"): "budgetnas.harness.training.digits201.retraining"}


class CannotRetrain(ValueError):
    """A dataset that cannot be trained here, or a machine that lacks what training needs; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """A network trained again: accuracy [%] on the validation and the test images, and what it took [processor seconds]."""

    index: int
    seed: int
    validation: float
    test: float
    seconds: float


class Trainer(Protocol):
    """What such a module offers."""

    def require(self) -> None:
        """Raise a `ValueError` for people unless networks can be trained on this machine."""

    def retrain_seed(self, index: int, seed: int) -> Retrained:
        """Return what the network with an index reaches with a seed of the table."""

    def retrain(self, index: int) -> list[Retrained]:
        """Return what it reaches with every seed of the table."""


def can_retrain(space: str, dataset: str) -> bool:
    """Return whether the project has a trainer for the dataset."""
    return (space, dataset) in _TRAINERS


def trainer_of(space: str, dataset: str) -> Trainer:
    """Return what trains the networks of a space on a dataset. `CannotRetrain` lists the datasets that can be retrained."""
    if not can_retrain(space, dataset):
        known = ", ".join(name for of_space, name in _TRAINERS if of_space == space) or "none"
        raise CannotRetrain(f"networks of {space} cannot be retrained on {dataset} yet; choose one of {known}")
    return cast(Trainer, importlib.import_module(_TRAINERS[space, dataset]))
