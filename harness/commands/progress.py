"""The progress bar of every command, on standard error: the amount done, the total and the time left."""

from __future__ import annotations

from enum import Enum, auto
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class Amount(Enum):
    """The unit of a bar."""

    ITEMS = auto()
    BYTES = auto()
    SHARE = auto()  # between 0 and 1


def progress_of(console: Console, amount: Amount = Amount.ITEMS, drawn: bool = True, transient: bool = False) -> Progress:
    """Return a display of bars, each with its name, the bar, the amount done, an extra text and the time left.

    A task that is added to it needs `text=`, which may be empty.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    amounts: dict[Amount, tuple[ProgressColumn, ...]] = {
        Amount.ITEMS: (MofNCompleteColumn(),),
        Amount.BYTES: (DownloadColumn(), TransferSpeedColumn()),
        Amount.SHARE: (TaskProgressColumn(),),
    }
    times = (TimeElapsedColumn(), TimeRemainingColumn()) if amount is Amount.ITEMS else (TimeRemainingColumn(),)
    # Texts wrap on a narrow terminal: cut off at the right, the figures would be invisible.
    name, text = (TextColumn(f"{{task.{field}}}", markup=False, table_column=Column()) for field in ("description", "fields[text]"))
    # An item may take minutes, and the first results come late, so the speed of items is measured over the last ten minutes.
    period = 600.0 if amount is Amount.ITEMS else 30.0
    columns = (name, BarColumn(), *amounts[amount], text, *times)
    return Progress(*columns, console=console, disable=not drawn, transient=transient, speed_estimate_period=period)


class Bars:
    """A context that draws bars on standard error, one for each name that `show` receives.

    Args:
        amount: the unit of the bars.
        everywhere: also write the last state of the bars if standard error is not a terminal; by default nothing is written then.
    """

    def __init__(self, amount: Amount = Amount.ITEMS, everywhere: bool = False):
        from rich.console import Console

        self.console = Console(stderr=True)
        self._progress = progress_of(self.console, amount, drawn=everywhere or self.console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, name: str, done: float = 0, total: float | None = None, text: str = "") -> None:
        """Draw the bar called `name`, with `text` beside it; `total` is None while it is unknown."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, text=text)
        self._progress.update(self._tasks[name], completed=done, total=total, text=text)

    def hide(self, name: str) -> None:
        """Remove the bar called `name`."""
        self._progress.update(self._tasks[name], visible=False)
