"""The evaluator `table`: validation accuracies and costs from a table, trained and measured in advance."""

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
    """Answers from the arrays of a tabulated space. It holds validation accuracies only, so a method cannot get test accuracies."""

    offers = frozenset({Need.ACCURACY})  # for any table; instances may also offer a relaxation, see `offers` below

    def __init__(self, tabulated: TabulatedSpace, search_seed: int | None = None):
        """With `search_seed`, accuracies are those of one training seed (see `validation_of_seed`) instead of the mean."""
        validation = tabulated.validation if search_seed is None else tabulated.validation_of_seed(search_seed)
        self.offers = offers(tabulated.space)
        self._space, self._task = tabulated.space, tabulated.task
        self._index = tabulated.space.index
        self._validation: list[float] = validation.tolist()
        self._names = tabulated.resources
        self._columns = [tabulated.resource(name).tolist() for name in tabulated.resources]

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return all known resources, each in the unit that its name gives; NaN means 'not supported'."""
        index = self._index(arch)
        return {name: column[index] for name, column in zip(self._names, self._columns, strict=True)}

    def accuracy(self, arch: Architecture) -> float:
        """Return the validation accuracy [%]."""
        return self._validation[self._index(arch)]

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        """Return the validation accuracies [%] of a batch."""
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Relaxation:
        """Return the exact relaxation, with expectations over the whole table. Raises `NotRelaxable` if the space has none."""
        if Need.RELAXATION not in self.offers:
            raise NotImplementedError("this evaluator offers accuracy only; ask evaluator.offers first")
        from budgetnas.harness.evaluators.table_relaxation import relaxation_of_table

        columns = dict(zip(self._names, self._columns, strict=True))
        return relaxation_of_table(self._space, self._task, self._validation, columns, options, rng, deviation)


def offers(space: Space) -> frozenset[Need]:
    """Return the kinds of questions that a table can answer: accuracies, and a relaxation if the space has one and PyTorch is installed."""
    relaxed = {Need.RELAXATION} if isinstance(space, Relaxable) and torch_is_installed() else set()
    return TableEvaluator.offers | relaxed


@lru_cache(maxsize=64)
def _evaluator(tabulated: TabulatedSpace, search_seed: int | None) -> tuple[TableEvaluator, list[float]]:
    return TableEvaluator(tabulated, search_seed), tabulated.training_seconds.tolist()


def evaluation(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    """Return the evaluator for a trial. Trials on the same table, device and training seed share one evaluator."""
    tabulated = tabulated_space_of(trial.space, trial.dataset, trial.device)
    evaluator, seconds = _evaluator(tabulated, trial.seed if trial.validation == "seed" else None)
    return Evaluation(evaluator, tabulated, seconds)
