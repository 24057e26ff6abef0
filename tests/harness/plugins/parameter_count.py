"""An evaluator for tests: more parameters mean a higher accuracy. It needs no recipe and reads no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetnas.harness.costs.costed_space import CostedSpace, costed_space_of
from budgetnas.harness.evaluators.registry import Evaluation, Watch
from budgetnas.harness.problem import Architecture, Need
from budgetnas.harness.records.trial import Trial
from budgetnas.spaces.space import Space


class ParameterCount:
    """Answers with an accuracy [%] that grows with the number of parameters."""

    offers = frozenset({Need.ACCURACY})

    def __init__(self, costed: CostedSpace):
        self._costed = costed

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        return self._costed.cost_of(arch)

    def accuracy(self, arch: Architecture) -> float:
        params = self.cost(arch)["params"]
        return 100.0 * params / (params + 5_000.0)

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, *args: Any) -> Any:
        raise NotImplementedError


def offers(space: Space) -> frozenset[Need]:
    return ParameterCount.offers


def evaluation(trial: Trial, workspace: Path | None, watch: Watch | None = None) -> Evaluation:
    costed = costed_space_of(trial.space, trial.dataset, trial.device)
    return Evaluation(ParameterCount(costed), costed)
