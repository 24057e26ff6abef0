"""The inputs of a search in a supernet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from budgetnas.harness.evaluators.registry import Watch
from budgetnas.harness.problem import Task
from budgetnas.harness.training.images.dataset import Dataset
from budgetnas.harness.training.recipes.search_recipe import SearchRecipe
from budgetnas.spaces.space import Relaxable

if TYPE_CHECKING:
    from budgetnas.harness.evaluators.table_relaxation import TableRelaxation


@dataclass(frozen=True, slots=True)
class SupernetInputs:
    """The inputs of a search in a supernet.

    Args:
        space: The space.
        task: The task.
        recipe: The search recipe.
        dataset: The images.
        resources: The names of all known resources.
        table: The relaxation of a table with the costs on the device; None without such a table.
        identity: The identity of the search; only a search with the same identity can resume from its checkpoint.
        folder: The folder of the checkpoint; with None, nothing is saved.
        watch: Called after every step.
    """

    space: Relaxable
    task: Task
    recipe: SearchRecipe
    dataset: Dataset
    resources: tuple[str, ...]
    table: TableRelaxation | None
    identity: Mapping[str, Any]
    folder: Path | None
    watch: Watch | None = None
