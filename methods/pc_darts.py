"""PC-DARTS: DARTS in a part of the channels, with a weight for every edge."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem, SupernetOptions, check_adam, repaired, summary


@dataclass(frozen=True)
class PCDARTS:
    """Search as DARTS does with one in `partial` channels in the operations, weighted edges, and alphas that wait for the weights.

    Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search" (ICLR 2020): only 1/K of the channels goes
    through the mixed operation, the rest past it; a strength is softmax(alpha) over the operations of an edge times softmax(beta) over a
    node's incoming edges; alphas and betas rest while the weights warm up. First order. Like DARTS it ignores limits, and `repair` is not
    part of it.

    On a table there are no channels and no weights to warm up, and what is left is DARTS: so it needs trained weights, and a study of a
    table skips it with that reason.
    """

    partial: int = 4  # K: one in so many channels; PC-DARTS, section 4.2 (CIFAR-10)
    edge_weights: bool = True  # edge normalisation; PC-DARTS, section 3.3
    warm_up: float = 0.3  # the share of epochs in which alphas rest: 15 of 50; PC-DARTS, section 4.2
    learning_rate: float = 6e-4  # of Adam for alphas and betas; PC-DARTS, section 4.2 (CIFAR-10)
    momentum: tuple[float, float] = (0.5, 0.999)  # Adam's betas; PC-DARTS, section 4.2
    weight_decay: float = 1e-3  # of alphas and betas; PC-DARTS, section 4.2
    deviation: float = 1e-3  # of the normal distribution that alphas start from; PC-DARTS's release
    steps: int | None = None  # None: as many as the recipe has
    channels: int | None = None  # of the search network; None: the space's own
    cells: int | None = None  # of the search network; None: the space's own
    repair: bool = False  # replace the last recommendation by the feasible architecture that gives up the least strength

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION, Need.WEIGHTS})

    def __post_init__(self) -> None:
        check_adam("PC-DARTS", self.learning_rate, self.momentum, self.weight_decay, self.deviation)
        if self.partial < 1:
            raise ValueError(f"partial of PC-DARTS is {self.partial}; give 1 (all channels) or more")
        if not 0.0 <= self.warm_up < 1.0:
            raise ValueError(f"warm_up of PC-DARTS is {self.warm_up}; give a share of the epochs, at least 0 and less than 1")

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return its figures at the end."""
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
