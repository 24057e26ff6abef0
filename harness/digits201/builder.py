"""Computes the accuracies of digits201: trains each class of identical networks with all seeds. It can be stopped and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from budgetnas.harness.digits201.chunks import BuildError, Chunks, resume
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe
from budgetnas.spaces.nasbench201.identity import canonical_indices

_CELLS_A_CHUNK = 16  # a few seconds of work, which is lost in an interruption


def accuracy_chunks() -> Chunks:
    """Return the chunks of the training. Another recipe or version of PyTorch gives other chunks, so that results never mix.

    Raises BuildError if PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise BuildError("PyTorch is not installed, so nothing can be trained; run `pip install budgetnas[train]`")
    recipe = digits201_recipe()
    representatives = tuple(np.unique(canonical_indices()).tolist())
    return Chunks("accuracies", {"recipe": recipe.checksum, "torch": version("torch").split("+")[0]}, representatives, _CELLS_A_CHUNK)


def train_class(index: int) -> dict[str, Any]:
    """Return the result of training the network of a cell.

    It has `validation` and `test`, accuracies [%] by seed; `seconds`, processor time per seed; and `wall_seconds`, for all seeds.
    """
    from budgetnas.harness.digits201.together import train_together

    recipe = digits201_recipe()
    began = time.perf_counter()
    trained = train_together(index, recipe.seeds, recipe)
    return {
        "validation": [network.validation for network in trained],
        "test": [network.test for network in trained],
        "seconds": trained[0].seconds,
        "wall_seconds": time.perf_counter() - began,
    }


def build_accuracies(workers: int, show: Callable[[int, int], None]) -> None:
    """Train the classes not trained yet, `workers` at a time. `show` is called with the number of finished classes and of all classes."""
    digits201_recipe().images()  # raises here, once, if the images are missing, and not in every worker
    resume(accuracy_chunks(), train_class, workers, show)
