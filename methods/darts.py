"""DARTS: gradient descent on the mixing weights of operations. It ignores limits."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem, SupernetOptions, check_adam, repaired, summary


@dataclass(frozen=True)
class DARTS:
    """Alternate gradient steps on the alphas and on the network's weights, then keep the strongest operations.

    Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search" (ICLR 2019), algorithm 1. In each step, Adam moves the alphas along
    the gradient of the validation loss, either at the current weights (first order) or at the weights after one more training step (second
    order, equations 7 and 8). Then the relaxation makes one training step of the weights. The recommendation is the discrete architecture
    of the current alphas.

    DARTS is the baseline of the constrained methods: it ignores limits, and its recommendation may be infeasible. `repair`, which is not
    part of DARTS, replaces the last recommendation by the feasible architecture that keeps the most strength.
    """

    unrolled: bool = False  # use the second-order gradient; DARTS, section 2.3. A table has none and reports `not_modelled_unrolled`
    learning_rate: float = 3e-4  # of Adam for the alphas; DARTS, appendix A.1.1
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas; DARTS, appendix A.1.1
    weight_decay: float = 1e-3  # of the alphas, added to their gradient; DARTS, appendix A.1.1
    deviation: float = 1e-3  # standard deviation of the initial alphas; DARTS's release
    steps: int | None = None  # of the search; left out: as many as the recipe has, or 5,000 on a table
    channels: int | None = None  # of the search network; left out: the space's default, 16 for DARTS (appendix A.1.1)
    cells: int | None = None  # of the search network; left out: the space's default, 8 for DARTS (appendix A.1.1)
    repair: bool = False  # beyond the paper: recommend, at the end, the feasible network that keeps the most strength

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})

    def __post_init__(self) -> None:
        check_adam("DARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps of DARTS is {self.steps}; give 1 or more, or leave it out")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return the search's figures at the end."""
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
