"""Where relaxed searches lost their limits: expected and delivered costs over the limit."""

from __future__ import annotations

import math

import pandas as pd

from budgetnas.leaderboards.shared.expectations import expectation_table, upper_limits

UPPERS = upper_limits("toy", "digits", "", [("small", "params", 100.0), ("small", "macs", 0.0), ("free", "params", math.inf)])


def search(method, expected, delivered, violation=0.0, problem="small"):
    report = {} if expected is None else {"expected_params": expected}
    return {
        "space": "toy", "dataset": "digits", "device": "", "problem": problem, "method": method, "report": report,
        "params": delivered, "macs": 7.0, "violation": violation,
    }  # fmt: skip


def test_only_upper_limits_count():
    assert UPPERS == {("toy", "digits", "", "small"): {"params": 100.0}}


def test_the_table_has_a_row_per_method_with_its_shares():
    table = pd.DataFrame(
        [
            search("kept", 90.0, 80.0),
            search("kept", 110.0, 100.0),
            search("lost|it", 100.0, 150.0, 0.5),
            search("broken", 50.0, 20.0, math.inf),  # disconnected: cheap, but it keeps no limit
            search("silent", None, 20.0),
            search("nothing", 50.0, math.nan, math.inf),
            search("kept", 1.0, 1.0, problem="free"),
        ]
    )
    lines = expectation_table(table, UPPERS).splitlines()
    assert lines[2:] == [
        "| broken | 1 | 0.50 [0.50, 0.50] | 100 % | 0.20 [0.20, 0.20] | 0 % |",
        "| kept | 2 | 1.00 [0.90, 1.10] | 50 % | 0.90 [0.80, 1.00] | 100 % |",
        "| lost\\|it | 1 | 1.00 [1.00, 1.00] | 100 % | 1.50 [1.50, 1.50] | 0 % |",
    ]


def test_without_expected_costs_there_is_no_table():
    assert expectation_table(pd.DataFrame([search("silent", None, 20.0)]), UPPERS) == ""
