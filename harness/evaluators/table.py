"""A table's answers: validation accuracy as it was trained once, costs as they were measured once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from budgetnas.harness.landscape import Landscape
from budgetnas.harness.problem import Architecture, Need, Relaxation, SupernetOptions


class TableEvaluator:
    """Answers from a landscape's arrays. It holds validation figures only: test accuracy cannot be asked for."""

    offers = frozenset({Need.ACCURACY})

    def __init__(self, landscape: Landscape, search_seed: int | None = None):
        """`search_seed` makes it answer one training seed's validation accuracy (seed modulo seeds) instead of the mean."""
        validation = landscape.validation if search_seed is None else landscape.validation_of_seed(search_seed)
        self._index = landscape.space.index
        self._validation: list[float] = validation.tolist()
        self._names = landscape.resources
        self._columns = [landscape.resource(name).tolist() for name in landscape.resources]

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
        """Refuse: relaxations come with the differentiable methods."""
        raise NotImplementedError("this evaluator offers accuracy only; ask evaluator.offers first")
