"""What a search in a supernet starts from."""

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
    """A space, a task, a recipe and images, and where a search is kept.

    `table` knows the space's costs on devices, where a table does. A checkpoint is taken up only by a search with the same `identity`;
    `folder` keeps it (None: nothing can be resumed). `watch` is called after every step.
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
