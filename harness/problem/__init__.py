"""What a method may import besides `spaces.space`: problem, limit, allowance, evaluator, relaxation, and helpers for methods."""

from budgetnas.harness.problem.alphas import check_adam, repaired, summary
from budgetnas.harness.problem.fields import since
from budgetnas.harness.problem.problem import (
    Allowance,
    AllowanceSpent,
    Evaluator,
    Limit,
    Method,
    Need,
    Problem,
    Search,
)
from budgetnas.harness.problem.relaxation import Relaxation, Stateful, Step
from budgetnas.spaces.space import Architecture, SearchedCell, SupernetOptions
from budgetnas.spaces.task import Task

__all__ = [
    "Allowance", "AllowanceSpent", "Architecture", "Evaluator", "Limit", "Method", "Need", "Problem", "Relaxation", "Search",
    "SearchedCell", "Stateful", "Step", "SupernetOptions", "Task", "check_adam", "repaired", "since", "summary",
]  # fmt: skip
