"""A user's method for the golden studies. Its source is hashed into identities: do not edit it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from budgetnas.harness.problem import Need


@dataclass(frozen=True)
class FirstCells:
    """Ask about the first cells of the space, in order."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    start: int = 0
    fails: bool = False

    def search(self, problem: Any, evaluator: Any, rng: Any) -> Iterator[Any]:
        """Yield each cell that is better than those before it."""
        best = -1.0
        for index in range(self.start, problem.space.size):
            arch = problem.space.at(index)
            accuracy = evaluator.accuracy(arch)
            if self.fails and index == self.start + 3:
                raise ValueError("this one fails on purpose")
            if accuracy > best:
                best = accuracy
                yield (arch,)
