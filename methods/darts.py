"""DARTS: gradient descent on mixing weights of operations, without any regard for limits."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem, SupernetOptions, check_adam, repaired, summary


@dataclass(frozen=True)
class DARTS:
    """Descend the validation loss in the alphas while the weights follow, then keep the strongest operations.

    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search" (ICLR 2019), algorithm 1: every step, Adam moves the alphas along
    the gradient of the validation loss, at the present weights (first order) or at weights one training step ahead (second order,
    equations 7 and 8); then the weights make a training step, which is the relaxation's part. The recommendation is the discrete
    architecture of the present alphas.

    It is the baseline of the constrained methods: limits are ignored, and an infeasible recommendation is recorded as one. `repair`, which
    is not part of DARTS, replaces the last recommendation by the feasible architecture that gives up the least strength.
    """

    unrolled: bool = False  # second order; DARTS, section 2.3 (on a table there is none, and it is recorded as not modelled)
    learning_rate: float = 3e-4  # of Adam for alphas; DARTS, appendix A.1.1
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas; DARTS, appendix A.1.1
    weight_decay: float = 1e-3  # of alphas, added to their gradient; DARTS, appendix A.1.1
    deviation: float = 1e-3  # of the normal distribution that alphas start from; DARTS's release
    steps: int | None = None  # None: as many as the recipe has, on a table as many as it takes to settle (`table_relaxation.STEPS`)
    channels: int | None = None  # of the search network; None: the space's own, for DARTS 16 (appendix A.1.1)
    cells: int | None = None  # of the search network; None: the space's own, for DARTS 8 (appendix A.1.1)
    repair: bool = False  # beyond the paper: end with the feasible network that gives up the least strength

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})

    def __post_init__(self) -> None:
        check_adam("DARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps of DARTS are {self.steps}; give 1 or more, or leave them out")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return its figures at the end."""
        from torch.optim import Adam

        relaxation = evaluator.relaxation(SupernetOptions(channels=self.channels, cells=self.cells), rng, self.deviation)
        betas = (self.momentum[0], self.momentum[1])
        optimizer = Adam(relaxation.parameters(), self.learning_rate, betas, weight_decay=self.weight_decay)
        recommended, loss = None, float("nan")
        for _ in relaxation.steps([optimizer], self.steps):
            optimizer.zero_grad()
            loss = relaxation.backward(unrolled=self.unrolled)
            optimizer.step()
            arch = relaxation.discretise()
            if arch != recommended:
                recommended = arch
                yield (arch,)
        figures = {"loss": loss} | summary(problem, relaxation)
        if self.repair:
            mended = repaired(problem, evaluator, relaxation.strengths())
            figures["repaired"] = float(mended not in (None, recommended))
            if mended is not None:
                yield (mended,)
        return figures
