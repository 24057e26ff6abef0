"""`budgetnas data build digits201`: builds the benchmark that ships with the project."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from budgetnas.harness.commands.progress import Bars

_LOGGED_EVERY_SECONDS = 60.0  # without a terminal, which shows a bar instead


class Benchmark(StrEnum):
    """The benchmarks that can be built."""

    DIGITS201 = "digits201"


class Step(StrEnum):
    """The steps of a build, in order."""

    ACCURACIES = "accuracies"
    LATENCY = "latency"
    TABLE = "table"


def build_command(
    benchmark: Annotated[Benchmark, typer.Argument(metavar="BENCHMARK", help="The benchmark to build.")],
    step: Annotated[
        Step | None, typer.Option(help="Run this step only; by default every step that is not done yet.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that train networks.")] = os.cpu_count() or 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the table and its card; by default the data folder.", show_default=False)
    ] = None,
) -> None:
    """Train every network of a benchmark, measure its latency, and write the table with its card.

    The build may be stopped at any moment; run the command again to continue.
    One process measures latency: run nothing else on the machine during that step.
    """
    steps = [step] if step else list(Step)
    if Step.ACCURACIES in steps:
        from budgetnas.harness.digits201.builder import build_accuracies

        with _progress("training") as show:
            build_accuracies(workers, show)
    if Step.LATENCY in steps:
        from budgetnas.harness.digits201.latency import measure_latencies

        with _progress("measuring latency") as show:
            measure_latencies(show)
    if Step.TABLE in steps:
        from budgetnas.harness.digits201.table import write_table
        from budgetnas.spaces.tables.home import data_home

        for path in write_table(out or data_home()):
            typer.echo(f"written: {path}")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total). It draws a bar with the time left or, without a terminal, writes a line every minute."""
    with Bars() as bars:
        bars.show(name)
        yield partial(bars.show, name) if bars.console.is_terminal else _Log(name).write


class _Log:
    """Writes lines of progress: at most one a minute, and always the last one."""

    def __init__(self, name: str):
        self._name = name
        self._began = time.monotonic()
        self._written_at = -_LOGGED_EVERY_SECONDS
        self._done_before: int | None = None

    def write(self, done: int, total: int) -> None:
        """Write a line if one is due: done, total, and the minutes left at the average speed since the start."""
        elapsed = time.monotonic() - self._began
        if self._done_before is None:
            self._done_before = done
        if elapsed - self._written_at < _LOGGED_EVERY_SECONDS and done < total:
            return
        self._written_at = elapsed
        fresh = done - self._done_before
        left = f", {elapsed / fresh * (total - done) / 60:.0f} minutes left" if fresh else ""
        typer.echo(f"{self._name}: {done:,} of {total:,}{left}", err=True)
