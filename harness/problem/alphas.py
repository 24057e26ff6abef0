"""What every method of architecture variables (alphas) shares: the check of its settings, the repair of its result, its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from budgetnas.harness.problem.problem import Evaluator, Problem
from budgetnas.harness.problem.relaxation import Relaxation
from budgetnas.spaces.repair import nearest
from budgetnas.spaces.space import Architecture, Relaxable

if TYPE_CHECKING:
    from torch import Tensor


def check_adam(method: str, learning_rate: float, momentum: Sequence[float], weight_decay: float, deviation: float) -> None:
    """Raise `ValueError` if the settings that every method of alphas shares make no optimiser, or no start."""
    if not learning_rate > 0.0 or not weight_decay >= 0.0 or not deviation >= 0.0:
        raise ValueError(f"{method} needs a learning_rate above 0, and weight_decay and deviation of 0 or more")
    if not all(0.0 <= beta < 1.0 for beta in momentum):
        raise ValueError(f"momentum of {method} is {list(momentum)}; give Adam's two betas, each at least 0 and less than 1")


def repaired(problem: Problem, evaluator: Evaluator, strengths: Sequence[Tensor]) -> Architecture | None:
    """Return the feasible architecture that gives up the least strength, the strongest itself if it is feasible; None if none was found.

    strengths: of the operations, (edges, operations), one tensor a searched cell. What is given up is measured by the product of the
    strengths of what an architecture keeps. Costs are free questions. `spaces.nearest` says how exact the answer is in large spaces.
    It stands here because every constrained method of alphas offers it, and this module and the space's are what methods may import.
    """
    arrays = [each.detach().cpu().numpy() for each in strengths]
    return nearest(cast(Relaxable, problem.space), arrays, lambda arch: problem.violation(arch, evaluator.cost(arch)))


def summary(problem: Problem, relaxation: Relaxation) -> dict[str, float]:
    """Return how a relaxed search ended, for the figures that a method returns.

    `entropy` [nats], the mean over edges of that of their strengths; `skip_share`, of the edges that the discrete architecture keeps;
    `expected_RESOURCE` for every limited one that has an expectation; `not_modelled_OPTION`, 1 for every option asked for in vain.
    """
    strengths = [each.detach().cpu().numpy() for each in relaxation.strengths()]
    edges = [row / row.sum() for each in strengths for row in each]
    figures = {"entropy": float(np.mean([-np.sum(row * np.log(np.where(row > 0.0, row, 1.0))) for row in edges]))}
    hot = cast(Relaxable, problem.space).one_hot(relaxation.discretise())
    names = [cell.operations[int(row.argmax())] for cell, each in zip(relaxation.cells, hot, strict=True) for row in each if row.any()]
    figures["skip_share"] = names.count("skip_connect") / max(len(names) - names.count("none"), 1)
    for resource in problem.resources:
        try:
            figures[f"expected_{resource}"] = float(relaxation.expected_cost(resource).detach())
        except ValueError:
            continue  # a relaxation may know no expectation of it, which hinders no method that does not use one
    return figures | {f"not_modelled_{option}": 1.0 for option in relaxation.not_modelled}
