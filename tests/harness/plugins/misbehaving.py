"""Methods for the tests of confinement. Each makes, at its first step, a mistake that a user's method may make."""

from __future__ import annotations

import multiprocessing.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from budgetnas.harness.problem import AllowanceSpent, Architecture, Need
from budgetnas.spaces.space import sample


@dataclass(frozen=True)
class Good:
    """A method without a fault."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def search(self, problem, evaluator, rng):
        """Ask about random architectures until the allowance is spent."""
        self.before(problem, evaluator)
        while True:
            arch = sample(problem.space, rng)
            evaluator.accuracy(arch)
            yield (arch,)

    def before(self, problem, evaluator):
        """Do nothing. Subclasses make here the mistake that they are named after."""


class Raises(Good):
    def before(self, problem, evaluator):
        raise RuntimeError(f"no {object()}\nand more")


class PrintsALot(Good):
    def before(self, problem, evaluator):
        for _ in range(20_000):
            print("trials ━━━━━━━━━━━━━━━━━━━━ 1000/1000", end="\r")
        os.write(1, b"straight to the descriptor")
        print("to standard error", file=sys.stderr)


class SaysWhichWorker(Good):
    def before(self, problem, evaluator):
        print(os.environ["BUDGETNAS_WORKER"])


class Exits(Good):
    def before(self, problem, evaluator):
        os._exit(3)


class ExitsAsIfFailed(Good):
    def before(self, problem, evaluator):
        os._exit(0)


class SystemExits(Good):
    def before(self, problem, evaluator):
        sys.exit("enough")


class Interrupts(Good):
    def before(self, problem, evaluator):
        raise KeyboardInterrupt


class KillsItself(Good):
    def before(self, problem, evaluator):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DiesOnce(Good):
    """Dies as by the out-of-memory killer, unless it has died before."""

    mark: str = ""

    def before(self, problem, evaluator):
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class KillsItselfOddly(Good):
    def before(self, problem, evaluator):
        os.kill(os.getpid(), signal.SIGRTMIN + 6)


class Hangs(Good):
    def before(self, problem, evaluator):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)


class EatsMemory(Good):
    def before(self, problem, evaluator):
        np.ones(2**33)


class EatsMemoryBitByBit(Good):
    def before(self, problem, evaluator):
        held = []
        while True:
            held.append(bytearray(2**24))


class Recurses(Good):
    def before(self, problem, evaluator):
        self.before(problem, evaluator)


class AsksOn(Good):
    def search(self, problem, evaluator, rng):
        while True:
            try:
                evaluator.accuracy(sample(problem.space, rng))
            except AllowanceSpent:
                pass
            yield ()


class ReturnsNone(Good):
    def search(self, problem, evaluator, rng):
        return None


class YieldsNone(Good):
    def search(self, problem, evaluator, rng):
        yield None


class YieldsText(Good):
    def search(self, problem, evaluator, rng):
        yield "|none~0|"


class YieldsForeign(Good):
    def search(self, problem, evaluator, rng):
        yield (Architecture("another", (0,) * 6),)


class YieldsBeyond(Good):
    def search(self, problem, evaluator, rng):
        yield (Architecture(problem.space.name, (0, 0, 0, 0, 0, -1)),)


class YieldsList(Good):
    def search(self, problem, evaluator, rng):
        yield [problem.space.at(3), problem.space.at(4)]


class YieldsNothing(Good):
    def search(self, problem, evaluator, rng):
        evaluator.accuracy(problem.space.at(6))
        yield ()


class ChangesSettings(Good):
    def before(self, problem, evaluator):
        os.chdir("/")
        os.environ.clear()
        os.umask(0o777)
        sys.setrecursionlimit(60)
        np.seterr(all="raise")
        sys.stdout = sys.stderr = None


class ClosesEverything(Good):
    def before(self, problem, evaluator):
        os.closerange(3, 500)


class LeavesTraps(Good):
    def before(self, problem, evaluator):
        multiprocessing.util.Finalize(None, os._exit, args=(9,), exitpriority=1)


class LeavesChildren(Good):
    def before(self, problem, evaluator):
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        forked = os.fork()
        if forked == 0:
            time.sleep(1000)
            os._exit(0)
        print(sleeper.pid, forked)


class WalksSets(Good):
    def search(self, problem, evaluator, rng):
        for letter in {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}:
            evaluator.accuracy(problem.space.at(ord(letter)))
        yield ()
