"""The accuracies of digits201: every class of identical networks trained with every seed of the recipe, resumable at any moment."""

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

_CELLS_A_CHUNK = 16  # a few seconds of work: what an interruption costs


def accuracy_chunks() -> Chunks:
    """Return the computation: its folder depends on the recipe and on the version of torch, so that versions never mix.

    `BuildError` without PyTorch.
    """
    if find_spec("torch") is None:
        raise BuildError("PyTorch is not installed, so nothing can be trained; run `pip install budgetnas[train]`")
    recipe = digits201_recipe()
    representatives = tuple(np.unique(canonical_indices()).tolist())
    return Chunks("accuracies", {"recipe": recipe.checksum, "torch": version("torch").split("+")[0]}, representatives, _CELLS_A_CHUNK)


def train_class(index: int) -> dict[str, Any]:
    """Return what the network of a cell reaches: validation and test accuracy [%] by seed, seconds of the processor and of the clock."""
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
    """Train what is not trained yet, `workers` cells at a time; `show` is told the classes done and in all."""
    digits201_recipe().images()  # said once here, and not by every worker, if they cannot be had
    resume(accuracy_chunks(), train_class, workers, show)
