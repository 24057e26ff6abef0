"""A search that follows gradients. Copy this file, rename the class, and write your own penalty."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import (
    Architecture,
    Evaluator,
    Need,
    Problem,
    SupernetOptions,
    repaired,
)


@dataclass(frozen=True)
class MyDifferentiableSearch:
    """Descend the validation loss plus a price on the expected excess over every upper limit.

    At the end, the result is repaired.
    """

    price: float = 1.0  # of an expected cost of twice the limit
    learning_rate: float = 3e-4  # of Adam

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RELAXATION})

    def search(
        self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator
    ) -> Generator[tuple[Architecture, ...], None, Mapping[str, float]]:
        """Yield the discrete architecture whenever it changes; return figures for the record."""
        from torch.optim import Adam  # inside the function: listing methods must work without torch

        limits = [limit for limit in problem.limits if limit.upper < math.inf]
        relaxation = evaluator.relaxation(SupernetOptions(), rng)
        optimizer = Adam(relaxation.parameters(), self.learning_rate)
        recommended, loss = None, math.nan
        for _ in relaxation.steps(
            [optimizer]
        ):  # training of weights, checkpoints and histories happen in here
            optimizer.zero_grad()
            excesses = [
                (relaxation.expected_cost(limit.resource) / limit.upper - 1.0).clamp_min(0.0)
                for limit in limits
            ]
            loss = relaxation.backward(penalty=self.price * sum(excesses) if excesses else None)
            optimizer.step()
            arch = relaxation.discretise()
            if arch != recommended:
                recommended = arch
                yield (arch,)
        mended = repaired(
            problem, evaluator, relaxation.strengths()
        )  # the feasible architecture that gives up the least strength
        if mended is not None:
            yield (mended,)
        return {"loss": loss}
