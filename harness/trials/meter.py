"""Wraps an evaluator for a method: charges new accuracies, answers repeated questions for free, and logs every question in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Protocol, cast, runtime_checkable

import numpy as np

from budgetnas.harness.problem import Allowance, AllowanceSpent, Architecture, Evaluator, Need, Relaxation, SupernetOptions
from budgetnas.spaces.space import Enumerable, Space, check_genes

Key = int | tuple[int, ...]
MOST_QUESTIONS = 2_000_000  # of one search, free ones included: more than any sensible search asks, and the record still fits in memory
MOST_REFUSALS = 1_000
# After this many free questions in a row a search has seen all that it can reach, and it ends as if its allowance were spent. So a method
# may loop for ever even if nothing is feasible. A given cell among 15,625, drawn uniformly, is missed with probability 0.0017.
MOST_FREE_IN_A_ROW = 100_000


@runtime_checkable
class Timed(Protocol):
    """An evaluator that trains to answer: the seconds of an answer are known only afterwards, and a batch is answered in parallel."""

    def seconds_of(self, arch: Architecture) -> float:
        """Return the seconds that the training behind the answer for `arch` took when it was made."""


class Runaway(BaseException):
    """Raised to end a method that keeps asking after its allowance is spent, or asks more questions than a record can hold.

    It is not an `Exception`, so that a method that catches every `Exception` does not catch it.
    """


class Meter:
    """An evaluator around another one. `log` holds the questions; `queries`, `repeats` and `seconds` hold the charges.

    Args:
        evaluator: The evaluator that answers.
        seconds: A table's training seconds by index; None without a table.
        space: The space of the architectures.
        allowance: The limits on queries and seconds.
    """

    def __init__(self, evaluator: Evaluator, seconds: Sequence[float] | None, space: Space, allowance: Allowance):
        self._evaluator = evaluator
        self._space = space
        self._index = space.index if isinstance(space, Enumerable) else None
        self._training_seconds = seconds
        self._most_queries = float("inf") if allowance.queries is None else allowance.queries
        self._most_seconds = float("inf") if allowance.seconds is None else allowance.seconds
        self._costs: dict[Key, Mapping[str, float]] = {}
        self.answers: dict[Key, float] = {}
        self.log: list[tuple[bool, Key]] = []  # (whether it is about accuracy, architecture), in order
        self.relaxations: list[Relaxation] = []
        self._ready: dict[Key, float] = {}  # answers of a batch that are not charged yet
        self.queries = 0
        self.repeats = 0
        self.refusals = 0
        self.free_in_a_row = 0
        self.seconds = 0.0

    @property
    def offers(self) -> frozenset[Need]:
        """The kinds of questions that the evaluator can answer."""
        return self._evaluator.offers

    def key(self, arch: Architecture) -> Key:
        """Return the key of `arch` in records: its index if the space has indices, else its genes.

        Raises:
            InvalidArchitecture: `arch` is not an architecture of the space.
        """
        if self._index is not None:
            return self._index(arch)
        check_genes(self._space, arch)
        # Records are JSON, which cannot hold NumPy numbers.
        return tuple([int(gene) for gene in arch.genes])

    def architecture(self, key: Key) -> Architecture:
        """Return the architecture with the key `key` in records."""
        if isinstance(key, int):
            return cast(Enumerable, self._space).at(key)
        return Architecture(self._space.name, key)

    def cost(self, arch: Architecture) -> Mapping[str, float]:
        """Return all known resources of `arch`, for free. Raises `AllowanceSpent` after `MOST_FREE_IN_A_ROW` free questions in a row."""
        key = self.key(arch)
        self._note_free(False, key)
        found = self._costs.get(key)
        if found is None:
            found = self._costs[key] = self._evaluator.cost(arch)
        return found

    def accuracy(self, arch: Architecture) -> float:
        """Return the validation accuracy [%]. A new one is charged; raises `AllowanceSpent` if the allowance does not cover it."""
        key = self.key(arch)
        known = self.answers.get(key)
        if known is not None:
            self._note_free(True, key)
            self.repeats += 1
            return known
        seconds = self._seconds_of(key)
        if self.queries + 1 > self._most_queries or self.seconds + seconds > self._most_seconds:
            raise self._refusal()
        answer = self._ready.pop(key, None)
        if answer is None:
            answer = self._evaluator.accuracy(arch)
        self.answers[key] = answer
        self.queries += 1
        self.seconds += seconds
        if isinstance(self._evaluator, Timed):
            self.seconds += self._evaluator.seconds_of(arch)
        self.free_in_a_row = 0
        self.log.append((True, key))
        return answer

    def accuracies(self, archs: Sequence[Architecture]) -> list[float]:
        """Return the accuracies [%] of a batch, charged one by one. Raises `AllowanceSpent` at the first that is not covered."""
        if isinstance(self._evaluator, Timed):
            # New architectures that the allowance covers are trained in parallel; then each one is charged in order.
            new = list(dict.fromkeys(key for key in map(self.key, archs) if key not in self.answers and key not in self._ready))
            covered = new if self._most_queries == float("inf") else new[: max(int(self._most_queries) - self.queries, 0)]
            if covered and self.seconds < self._most_seconds:
                self._ready.update(zip(covered, self._evaluator.accuracies([self.architecture(key) for key in covered]), strict=True))
        return [self.accuracy(arch) for arch in archs]

    def relaxation(self, options: SupernetOptions, rng: np.random.Generator, deviation: float = 1e-3) -> Relaxation:
        """Return the evaluator's relaxation. The relaxation of a table is charged as one query for every architecture, without a limit."""
        found = self._evaluator.relaxation(options, rng, deviation)
        if self._training_seconds is not None and not self.relaxations:
            self.queries += len(self._training_seconds)
            self.seconds += sum(self._training_seconds)
        self.relaxations.append(found)
        return found

    def _note_free(self, about_accuracy: bool, key: Key) -> None:
        self.free_in_a_row += 1
        if self.free_in_a_row > MOST_FREE_IN_A_ROW:
            raise self._refusal()
        self.log.append((about_accuracy, key))
        if len(self.log) > MOST_QUESTIONS:
            raise Runaway(f"the method asked {MOST_QUESTIONS:,} questions and does not end")

    def _refusal(self) -> AllowanceSpent | Runaway:
        self.refusals += 1
        if self.refusals > MOST_REFUSALS:
            return Runaway(f"the method goes on asking: {self.refusals} questions after its allowance was spent")
        return AllowanceSpent(f"the allowance is spent: {self.queries} queries, {self.seconds:.0f} s of training")

    def _seconds_of(self, key: Key) -> float:
        if self._training_seconds is None or not isinstance(key, int):
            return 0.0
        return self._training_seconds[key]

    def questions(self) -> Iterator[tuple[str, list[Key]]]:
        """Yield all questions in order, grouped by kind: ("cost" or "accuracy", keys of the architectures)."""
        for about_accuracy, group in groupby(self.log, key=lambda entry: entry[0]):
            yield "accuracy" if about_accuracy else "cost", [key for _, key in group]
