"""The DARTS space: a normal and a reduction cell, stacked (Liu, Simonyan and Yang, ICLR 2019)."""

from budgetnas.spaces.darts.space import DARTS

__all__ = ["DARTS"]
