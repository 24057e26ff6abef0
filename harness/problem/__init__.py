"""Everything a method may import besides the space: problem, limit, allowance, evaluator, relaxation, and what methods share."""

from budgetnas.harness.problem.problem import (
    Allowance,
    AllowanceSpent,
    Architecture,
    Evaluator,
    Limit,
    Method,
    Need,
    Problem,
    Relaxation,
    Search,
    SearchedCell,
    Stateful,
    Step,
    SupernetOptions,
    Task,
    check_adam,
    repaired,
    summary,
)

__all__ = [
    "Allowance", "AllowanceSpent", "Architecture", "Evaluator", "Limit", "Method", "Need", "Problem", "Relaxation", "Search",
    "SearchedCell", "Stateful", "Step", "SupernetOptions", "Task", "check_adam", "repaired", "summary",
]  # fmt: skip
