"""Helpers for methods with architecture variables (alphas): they check settings, repair a recommendation, and compute figures."""

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
    """Raise ValueError if a setting of Adam, or the standard deviation of the initial alphas, is out of its range.

    Args:
        method: the method's name, for the message.
        learning_rate: Adam's learning rate, above 0.
        momentum: Adam's betas, at least 0 and below 1.
        weight_decay: Adam's weight decay, 0 or more.
        deviation: the standard deviation, 0 or more.
    """
    if not learning_rate > 0.0 or not weight_decay >= 0.0 or not deviation >= 0.0:
        raise ValueError(
            f"{method} needs a learning_rate above 0, and weight_decay and deviation of 0 or more; "
            f"learning_rate is {learning_rate}, weight_decay {weight_decay}, deviation {deviation}"
        )
    if not all(0.0 <= beta < 1.0 for beta in momentum):
        raise ValueError(f"momentum of {method} is {list(momentum)}; give Adam's two betas, each at least 0 and below 1")


def repaired(problem: Problem, evaluator: Evaluator, strengths: Sequence[Tensor]) -> Architecture | None:
    """Return the feasible architecture with the largest product of the strengths of its operations; None if none was found.

    If the strongest architecture is feasible, it is the result. Costs are free, so no query is spent. In a space too large to list, the
    result may be approximate; see `spaces.repair.nearest`.

    Args:
        problem: the problem.
        evaluator: computes the costs.
        strengths: the strengths of operations, (edges, operations), one tensor per searched cell.
    """
    arrays = [each.detach().cpu().numpy() for each in strengths]
    return nearest(cast(Relaxable, problem.space), arrays, lambda arch: problem.violation(arch, evaluator.cost(arch)))


def summary(problem: Problem, relaxation: Relaxation) -> dict[str, float]:
    """Return the figures at the end of a search over a relaxation, by name.

    `entropy` [nats] is the entropy of an edge's strengths, averaged over edges. `skip_share` is the share of skip connections among the
    edges that the discrete architecture keeps. `expected_RESOURCE` is the expected cost of each limited resource for which the
    relaxation can compute it. `not_modelled_OPTION` is 1 for each requested option that the relaxation cannot model.
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
            continue  # the relaxation has no expected cost of this resource, and a method may not need it
    return figures | {f"not_modelled_{option}": 1.0 for option in relaxation.not_modelled}
