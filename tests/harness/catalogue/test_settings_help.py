"""What a method's settings mean, read from beside them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from budgetnas.harness.catalogue.catalogue import find_method, own_methods
from budgetnas.harness.catalogue.settings_help import meanings


@dataclass(frozen=True)
class Commented:
    """A class with comments in every place."""

    beside: int = 1  # of this one
    on: tuple[int, ...] = (1, 2)  # begins here
    # and goes on
    bare: int = 2
    # above
    # in two lines
    above: int = 3

    apart: int = 4


def test_a_comment_is_of_the_field_that_it_stands_beside_or_above() -> None:
    assert meanings(Commented) == {
        "beside": "of this one", "on": "begins here and goes on", "bare": "", "above": "above in two lines", "apart": "",
    }  # fmt: skip


def test_what_has_no_source_has_no_meanings() -> None:
    assert meanings(type("Made", (), {})) == {}


@pytest.mark.parametrize("method", own_methods())
def test_every_setting_of_ours_says_what_it_means(method: str) -> None:
    found = find_method(method)
    said = meanings(found.cls)
    assert [name for name in found.settings({}) if not said.get(name)] == []
