"""Trials whose process died: how often and when they are tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from budgetnas.harness.problem import Allowance
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.trials.deaths import MOST_DEATHS, PAUSES_SECONDS, Deaths, Unfinished, summary

TRIAL = Trial("nasbench201", "closed-form", None, (), Allowance(10), "mean", "random_search", (), "1", "", 0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_trial_waits_longer_each_time_and_is_given_up_in_the_end() -> None:
    clock = Clock()
    deaths = Deaths(clock)
    assert (deaths.seconds_left(), deaths.ready()) == (None, [])
    for pause in PAUSES_SECONDS:
        assert deaths.try_again(TRIAL)
        assert (deaths.seconds_left(), deaths.ready()) == (pause, [])
        clock.now += pause
        assert (deaths.seconds_left(), deaths.ready()) == (0.0, [TRIAL])
        assert (deaths.seconds_left(), deaths.ready()) == (None, [])
    assert not deaths.try_again(TRIAL)
    assert len(PAUSES_SECONDS) == MOST_DEATHS - 1 and deaths.seconds_left() is None


def test_trials_are_counted_one_by_one() -> None:
    deaths, other = Deaths(Clock()), replace(TRIAL, seed=1)
    assert [deaths.try_again(each) for each in (TRIAL, other, TRIAL, TRIAL, other)] == [True, True, True, False, True]


def test_the_summary_names_the_first_three() -> None:
    many: list[Any] = [Unfinished(replace(TRIAL, seed=seed), "its process was killed by SIGKILL") for seed in range(5)]
    line = summary(many)
    assert line.startswith("5 trials have no record, since their process died 3 times (random_search on closed-form, seed 0: its process")
    assert "seed 2" in line and "seed 3" not in line and "; and 2 more" in line and "run the same command again" in line
