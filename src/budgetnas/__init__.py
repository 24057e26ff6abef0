"""budgetnas ranks neural architecture searches that must respect a budget."""

__version__ = "0.3.0.dev0"
