"""PC-DARTS: DARTS on a part of the channels, with a weight for each edge."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem, SupernetOptions, check_adam, repaired, summary


@dataclass(frozen=True)
class PCDARTS:
    """Search like DARTS, with operations on one in `partial` channels, weighted edges, and a warm-up during which alphas do not change.

    Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search" (ICLR 2020). Only 1/K of the channels goes
    through the mixed operation; the others bypass it. The strength of an operation is softmax(alpha) over the operations of its edge,
    multiplied by softmax(beta) over the edges that enter the same node. Alphas and betas do not change while the weights warm up. The
    gradient is first order. Like DARTS, PC-DARTS ignores limits, and `repair` is not part of it.

    A table has no channels and no weights to warm up, so PC-DARTS would be the same as DARTS there. It therefore needs trained weights,
    and a study of a table skips it and reports why.
    """

    partial: int = 4  # K: operations work on one in K channels; PC-DARTS, section 4.2 (CIFAR-10)
    edge_weights: bool = True  # edge normalisation; PC-DARTS, section 3.3
    warm_up: float = 0.3  # share of the epochs, from the first, in which alphas do not change: 15 of 50; PC-DARTS, section 4.2
    learning_rate: float = 6e-4  # of Adam for alphas and betas; PC-DARTS, section 4.2 (CIFAR-10)
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas; PC-DARTS, section 4.2
    weight_decay: float = 1e-3  # of alphas and betas, added to their gradient; PC-DARTS, section 4.2
    deviation: float = 1e-3  # standard deviation of the initial alphas; PC-DARTS's release
    steps: int | None = None  # of the search; left out: as many as the recipe has
    channels: int | None = None  # of the search network; left out: the space's default
    cells: int | None = None  # of the search network; left out: the space's default
    repair: bool = False  # beyond the paper: recommend, at the end, the feasible network that keeps the most strength

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION, Need.WEIGHTS})

    def __post_init__(self) -> None:
        check_adam("PC-DARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        if self.partial < 1:
            raise ValueError(f"partial of PC-DARTS is {self.partial}; give 1 (all channels) or more")
        if not 0.0 <= self.warm_up < 1.0:
            raise ValueError(f"warm_up of PC-DARTS is {self.warm_up}; give a share of the epochs, at least 0 and below 1")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return the search's figures at the end."""
        from torch.optim import Adam

        options = SupernetOptions(channels=self.channels, cells=self.cells, partial=self.partial, edge_weights=self.edge_weights)
        relaxation = evaluator.relaxation(options, rng, self.deviation)
        betas = (self.momentum[0], self.momentum[1])
        optimizer = Adam(relaxation.parameters(), self.learning_rate, betas, weight_decay=self.weight_decay)
        recommended, loss = None, float("nan")
        for step in relaxation.steps([optimizer], self.steps):
            if step.epoch < int(self.warm_up * step.epochs):
                continue
            optimizer.zero_grad()
            loss = relaxation.backward()
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
