"""Methods that each break one clause of the contract and are otherwise sound."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import Need
from budgetnas.spaces.space import sample


@dataclass(frozen=True)
class Sound:
    """Random search among feasible architectures, written as a user would write it."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    draws: int = 5_000

    def search(self, problem, evaluator, rng):
        best = -1.0
        for _ in range(self.draws):
            arch = sample(problem.space, self.generator(rng))
            if problem.feasible(arch, evaluator.cost(arch)) and (accuracy := evaluator.accuracy(arch)) > best:
                best = accuracy
                yield (arch,)

    def generator(self, rng):
        return rng


class IgnoresLimits(Sound):
    def search(self, problem, evaluator, rng):
        best = -1.0
        while True:
            arch = sample(problem.space, rng)
            if (accuracy := evaluator.accuracy(arch)) > best:
                best = accuracy
                yield (arch,)


class UsesGlobalGenerator(Sound):
    def generator(self, rng):
        return np.random


class TakesTheFirst(Sound):
    def search(self, problem, evaluator, rng):
        yield from islice(super().search(problem, evaluator, rng), 1)


class Raises(Sound):
    def search(self, problem, evaluator, rng):
        yield from super().search(problem, evaluator, rng)
        raise ZeroDivisionError("at the end")


class RaisesAtOnce(Sound):
    def search(self, problem, evaluator, rng):
        raise ZeroDivisionError("at the start")
        yield


class SaysDeterministic(Sound):
    deterministic: ClassVar[bool] = True


class Remembers(Sound):
    seen: ClassVar[list[int]] = []

    def search(self, problem, evaluator, rng):
        self.seen.append(0)
        evaluator.accuracy(problem.space.at(len(self.seen)))
        yield from super().search(problem, evaluator, rng)


class AsksForMore(Sound):
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY, Need.WEIGHTS})


class Hangs(Sound):
    def search(self, problem, evaluator, rng):
        while True:
            time.sleep(60)
        yield


class NotADataclass:
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def search(self, problem, evaluator, rng):
        yield ()


@dataclass(frozen=True)
class NoNeeds:
    def search(self, problem, evaluator, rng):
        yield ()


@dataclass(frozen=True)
class NoSearch:
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
