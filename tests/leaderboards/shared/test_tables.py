"""Markdown and CSV, character by character."""

import math

import pandas as pd
import pytest

from budgetnas.leaderboards.shared import tables
from budgetnas.leaderboards.shared.statistics import Estimate, Interval


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random_search", "random_search"),
        ("_private_ x", r"\_private\_ x"),
        ("a|b<c>&d", r"a\|b&lt;c&gt;&amp;d"),
        ("*bold* `code` [link] ~x~", r"\*bold\* \`code\` \[link\] \~x\~"),
        ("two\nlines\t here", "two lines here"),
        ("back\\slash", r"back\\slash"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_escape(text, expected):
    assert tables.escape(text) == expected


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        (1234.567, 1, "1,234.6"),
        (-0.001, 2, "0.00"),
        (-0.5, 2, "-0.50"),
        (math.nan, 2, "—"),
        (None, 2, "—"),
        (-0.0, 0, "0"),
        (200, 0, "200"),
    ],
)
def test_number(value, decimals, expected):
    assert tables.number(value, decimals) == expected


def test_estimates_percents_and_p_values():
    assert tables.estimate(Estimate(93.118, Interval(93.0149, 93.25))) == "93.12 [93.01, 93.25]"
    assert tables.estimate(Estimate(93.118)) == "93.12 [—]"
    assert tables.estimate(None) == tables.estimate(Estimate(math.nan)) == "—"
    assert (tables.percent(1.0), tables.percent(0.962), tables.percent(0.0)) == ("100 %", "96.2 %", "0 %")
    assert (tables.p_value(0.03125), tables.p_value(1.0), tables.p_value(None)) == ("0.031", "1.0", "—")
    assert (tables.several(1, "seed"), tables.several(7200, "trial")) == ("1 seed", "7,200 trials")


def test_markdown_table():
    text = tables.markdown_table(["method", "regret"], [["a", "0.1"], ["b", "0.2"]])
    assert text == "| method | regret |\n| :--- | ---: |\n| a | 0.1 |\n| b | 0.2 |"
    with pytest.raises(ValueError, match="3 cells"):
        tables.markdown_table(["a", "b"], [["1", "2", "3"]])


def test_p_table_shows_each_pair_once():
    table = pd.DataFrame([[1.0, 0.02], [0.02, 1.0]], index=["a", "b"], columns=["a", "b"])
    assert tables.p_table(table).splitlines()[2:] == ["| a | — |  |", "| b | 0.020 | — |"]


def test_csv_keeps_full_precision_and_quotes():
    rows = [{"method": 'odd, "name"', "x": 0.1 + 0.2, "low": None}, {"method": "b", "x": math.nan, "low": 1.0}]
    assert tables.csv_text(rows) == 'method,x,low\n"odd, ""name""",0.30000000000000004,\nb,,1.0\n'
    assert tables.csv_text([]) == ""
