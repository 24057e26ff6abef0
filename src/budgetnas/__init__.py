"""budgetnas ranks neural architecture searches that must respect a budget."""

__version__ = "0.2.0"
