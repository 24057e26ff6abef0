"""Batches of rows: how many rows wait, for how long, and when each is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.harness.records.commits import MOST_ROWS, MOST_SECONDS, Commits
from budgetnas.harness.records.store import Row, RunError, Store

MakeRow = Callable[..., Row]


class Noted(Store):
    """A store that records every row it receives, and keeps it unless it is set to refuse."""

    def __init__(self) -> None:
        self.transactions: list[list[Row]] = []
        self.refusals: list[BaseException] = []

    def write_rows(self, rows: Sequence[Row]) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.transactions.append(list(rows))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Noted:
    return Noted()


def test_rows_are_written_when_there_are_enough(store: Noted, make_row: MakeRow) -> None:
    reported: list[Row] = []
    commits = Commits(store, reported.append, Clock())
    rows = [make_row(number, 1) for number in range(2 * MOST_ROWS + 3)]
    for number, row in enumerate(rows, start=1):
        commits.add(row)
        assert reported == rows[: number // MOST_ROWS * MOST_ROWS]
    commits.write()
    assert reported == rows
    assert [len(rows) for rows in store.transactions] == [MOST_ROWS, MOST_ROWS, 3]


def test_rows_are_written_when_the_oldest_is_due(store: Noted, make_row: MakeRow) -> None:
    clock, reported = Clock(), list[Row]()
    commits = Commits(store, reported.append, clock)
    assert commits.seconds_left() is None
    commits.write_if_due()
    commits.add(make_row(0))
    assert commits.seconds_left() == MOST_SECONDS
    clock.now += 0.75 * MOST_SECONDS
    commits.add(make_row(1))
    assert commits.seconds_left() == 0.25 * MOST_SECONDS  # of the first row
    commits.write_if_due()
    assert reported == []
    clock.now += 0.25 * MOST_SECONDS
    assert commits.seconds_left() == 0.0
    commits.write_if_due()
    assert reported == [make_row(0), make_row(1)] and commits.seconds_left() is None
    clock.now += 100.0
    commits.add(make_row(2))
    assert commits.seconds_left() == MOST_SECONDS  # counted from the new row


@given(waits=st.lists(st.floats(0, 2 * MOST_SECONDS), max_size=120))
def test_every_row_is_written_once_in_order_and_reported_after_that(make_row: MakeRow, waits: list[float]) -> None:
    store, clock, reported = Noted(), Clock(), list[Row]()

    def written(row: Row) -> None:
        assert row in store.transactions[-1]
        reported.append(row)

    commits = Commits(store, written, clock)
    rows = [make_row(number, 1) for number in range(len(waits))]
    for row, wait in zip(rows, waits, strict=True):
        clock.now += wait
        commits.write_if_due()
        commits.add(row)
        assert (commits.seconds_left() or 0.0) <= MOST_SECONDS
    commits.write()
    assert reported == rows == [row for transaction in store.transactions for row in transaction]
    assert all(0 < len(transaction) <= MOST_ROWS for transaction in store.transactions)


@pytest.mark.parametrize("stop", [RunError("no space"), KeyboardInterrupt()])
def test_rows_of_a_failed_write_are_not_reported_and_kept(store: Noted, make_row: MakeRow, stop: BaseException) -> None:
    reported: list[Row] = []
    commits = Commits(store, reported.append, Clock())
    commits.add(make_row(0))
    store.refusals = [stop]
    with pytest.raises(type(stop)):
        commits.write()
    assert reported == []
    commits.add(make_row(1))
    commits.write()  # as a run does when it is interrupted
    assert reported == [make_row(0), make_row(1)]
    commits.write()
    assert store.transactions == [[make_row(0), make_row(1)]]


def test_interrupted_report_writes_no_row_twice(store: Noted, make_row: MakeRow) -> None:
    def interrupt(row: Row) -> None:
        raise KeyboardInterrupt

    commits = Commits(store, interrupt, Clock())
    commits.add(make_row(0))
    commits.add(make_row(1))
    with pytest.raises(KeyboardInterrupt):
        commits.write()
    commits.write()
    assert store.transactions == [[make_row(0), make_row(1)]]


@settings(max_examples=10)  # a commit waits for the disk
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_reported_rows_are_in_the_file(make_row: MakeRow, tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    root: Path = tmp_path_factory.mktemp("run")
    store, number = Store(root), 0
    store.create()
    # A new connection each time, so that nothing comes from the memory of this one.
    commits = Commits(store, lambda row: None if Store(root).row(row.identity) == row else pytest.fail("it is not there"), Clock())
    for size in sizes:
        for _ in range(size):
            commits.add(make_row(number, 1))
            number += 1
        commits.write()
    assert len(store.statuses()) == number
