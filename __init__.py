"""budgetnas ranks neural architecture searches that must respect a budget."""

__version__ = "0.1.0"
