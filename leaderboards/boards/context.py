"""A board: one space, dataset and device, with data that records do not have: all cells, the exact front, quoted results."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budgetnas.leaderboards.shared.documents import LeaderboardError

Floats = NDArray[np.float64]
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Optimum:
    """The exact best feasible cell of a problem. Accuracies are in percent, and `cost` is in the unit of the board's resource."""

    arch: str
    index: int
    test: float
    validation: float
    cost: float


@dataclass(frozen=True, slots=True)
class BoardLimit:
    """Bounds on a resource, in the unit of its name. Both bounds are allowed values."""

    resource: str
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class BoardProblem:
    """A problem of the board: its limits, the number and share of feasible cells, and the exact best by test and by validation.

    Both best cells are None if no cell keeps the limits.
    """

    label: str
    limits_text: str
    limits: tuple[BoardLimit, ...]
    feasible: int
    share: float
    best_by_test: Optimum | None
    best_by_validation: Optimum | None


@dataclass(frozen=True, slots=True)
class Quoted:
    """A published result without a limit: test accuracy [%], its deviation if the source gives one, and the source."""

    method: str
    test: float
    deviation: float | None
    source: str
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """One space, dataset and device. `cloud` and `front` are (n, 2): cost in `unit` and test accuracy [%]. `chance` is in percent."""

    space: str
    dataset: str
    device: str
    device_title: str
    resource: str
    unit: str
    origin: str
    chance: float
    table_checksum: str
    seeds_note: str
    cloud: Floats
    front: Floats
    problems: tuple[BoardProblem, ...]
    quoted: tuple[Quoted, ...]

    @property
    def key(self) -> Key:
        """The board's identity in records: space, dataset, device."""
        return self.space, self.dataset, self.device

    @property
    def stem(self) -> str:
        """The file name of the board's page without its ending. Characters that are special in links or file systems become hyphens."""
        return re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(part for part in self.key if part)).strip("-")

    @property
    def hypervolume_reference(self) -> tuple[float, float]:
        """The reference point: the loosest upper bound on the board's resource, and chance accuracy [%].

        If a problem has no upper bound on the resource, the cost is the largest of all cells.
        """
        uppers = [
            min((limit.upper for limit in problem.limits if limit.resource == self.resource), default=math.inf) for problem in self.problems
        ]
        largest = max(uppers, default=math.inf)
        return (largest if math.isfinite(largest) else float(self.cloud[:, 0].max())), self.chance

    def problem(self, label: str) -> BoardProblem:
        """Return the problem with that label. Raises LeaderboardError, with all labels, if there is none."""
        for problem in self.problems:
            if problem.label == label:
                return problem
        known = ", ".join(problem.label for problem in self.problems)
        raise LeaderboardError(
            f"records have the problem '{label}' on {self.stem}, but its context file has {known}; "
            "run the study again, which keeps existing results"
        )


def _points(rows: Sequence[tuple[float, float]]) -> Floats:
    return np.asarray(rows, dtype=np.float64).reshape(-1, 2)


def _optimum(entry: Mapping[str, Any] | None) -> Optimum | None:
    if entry is None:
        return None
    return Optimum(str(entry["arch"]), int(entry["index"]), float(entry["test"]), float(entry["validation"]), float(entry["cost"]))


def _limit(entry: Mapping[str, Any]) -> BoardLimit:
    upper, lower = entry.get("upper"), entry.get("lower")
    return BoardLimit(str(entry["resource"]), 0.0 if lower is None else float(lower), math.inf if upper is None else float(upper))


def _problem(entry: Mapping[str, Any]) -> BoardProblem:
    return BoardProblem(
        label=str(entry["problem"]),
        limits_text=str(entry["limits_text"]),
        limits=tuple(_limit(limit) for limit in entry["limits"]),
        feasible=int(entry["feasible"]),
        share=float(entry["share"]),
        best_by_test=_optimum(entry["best_by_test"]),
        best_by_validation=_optimum(entry["best_by_validation"]),
    )


def _quoted(entry: Mapping[str, Any]) -> Quoted:
    deviation = entry.get("deviation")
    return Quoted(
        str(entry["method"]),
        float(entry["test"]),
        None if deviation is None else float(deviation),
        str(entry["source"]),
        str(entry.get("note") or ""),
    )


def _board(entry: Mapping[str, Any]) -> Board:
    text = {
        name: str(entry[name])
        for name in ("space", "dataset", "device_title", "resource", "unit", "origin", "table_checksum", "seeds_note")
    }
    return Board(
        **text,
        device=str(entry["device"] or ""),
        chance=float(entry["chance"]),
        cloud=_points(list(zip(entry["cloud"]["cost"], entry["cloud"]["test"], strict=True))),
        front=_points([(cell["cost"], cell["test"]) for cell in entry["front"]]),
        problems=tuple(_problem(problem) for problem in entry["problems"]),
        quoted=tuple(_quoted(row) for row in entry["quoted"]),
    )


def read_board(path: Path) -> Board:
    """Return the board in a context file. Raises LeaderboardError, with the file and the reason, if it is invalid."""
    try:
        board = _board(json.loads(path.read_text(encoding="utf-8")))
    except KeyError as error:
        raise LeaderboardError(f"{path}: the key {error} is missing; run the study again, which keeps existing results") from None
    except (TypeError, ValueError) as error:
        raise LeaderboardError(f"{path}: {error}; run the study again, which keeps existing results") from None
    if not len(board.cloud) or not len(board.front):
        raise LeaderboardError(f"{path}: there are no cells in the cloud or on the front; a board needs at least one supported cell")
    return board


def read_boards(paths: Sequence[Path]) -> list[Board]:
    """Return all boards, in the order of space, dataset and device. Raises LeaderboardError if two boards have the same page."""
    boards = sorted((read_board(path) for path in paths), key=lambda board: [part.casefold() for part in board.key])
    stems = [board.stem for board in boards]
    for stem in stems:
        if stems.count(stem) > 1:
            raise LeaderboardError(f"two context files describe '{stem}'; keep one for each space, dataset and device")
    return boards
