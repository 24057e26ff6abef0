"""A table's answers: validation accuracy as it was trained once, costs as they were measured once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from budgetnas.harness.costs.tabulated_space import TabulatedSpace, tabulated_space_of
from budgetnas.harness.evaluators.registry import Evaluation, Watch, torch_is_installed
from budgetnas.harness.problem import Architecture, Need, Relaxation, SupernetOptions
from budgetnas.spaces.space import Relaxable, Space

if TYPE_CHECKING:
    from budgetnas.harness.records.trial import Trial


class TableEvaluator:
    """Answers from a tabulated space's arrays. It holds validation figures only: test accuracy cannot be asked for."""

    offers = frozenset({Need.ACCURACY})  # of any table; of a space that can be relaxed, where torch is installed, a relaxation too

    def __init__(self, tabulated: TabulatedSpace, search_seed: int | None = None):
        """`search_seed` makes it answer one training seed's validation accuracy (seed modulo seeds) instead of the mean."""
        validation = tabulated.validation if search_seed is None else tabulated.validation_of_seed(search_seed)
        self.offers = offers(tabulated.space)
        self._space, self._task = tabulated.space, tabulated.task
        self._index = tabulated.space.index
        self._validation: list[float] = validation.tolist()
        self._names = tabulated.resources
        self._columns = [tabulated.resource(name).tolist() for name in tabulated.resources]

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return every known resource, in the unit of its name; NaN is 'not supported'."""
        index = self._index(arch)
        return {name: column[index] for name, column in zip(self._names, self._columns, strict=True)}

    def accuracy(self, arch: Architecture) -> float:
        """Return validation accuracy [%]."""
        return self._validation[self._index(arch)]

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        """Return validation accuracies [%] of a batch."""
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Relaxation:
        """Return the exact relaxation, expectations over the whole table; `NotRelaxable` says of which spaces there is one."""
        if Need.RELAXATION not in self.offers:
            raise NotImplementedError("this evaluator offers accuracy only; ask evaluator.offers first")
        from budgetnas.harness.evaluators.table_relaxation import relaxation_of_table

        columns = dict(zip(self._names, self._columns, strict=True))
        return relaxation_of_table(self._space, self._task, self._validation, columns, options, rng, deviation)


def offers(space: Space) -> frozenset[Need]:
    """Return what a table can answer about a space: accuracies, and a relaxation where the space has one and torch is installed."""
    relaxed = {Need.RELAXATION} if isinstance(space, Relaxable) and torch_is_installed() else set()
    return TableEvaluator.offers | relaxed


@lru_cache(maxsize=64)
def _evaluator(tabulated: TabulatedSpace, search_seed: int | None) -> tuple[TableEvaluator, list[float]]:
    return TableEvaluator(tabulated, search_seed), tabulated.training_seconds.tolist()


def evaluation(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    """Return the table's evaluator for a trial, the same for all trials on the same table, device and training seed."""
    tabulated = tabulated_space_of(trial.space, trial.dataset, trial.device)
    evaluator, seconds = _evaluator(tabulated, trial.seed if trial.validation == "seed" else None)
    return Evaluation(evaluator, tabulated, seconds)
