"""The descriptions of a method's settings, read from the comments beside them."""

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


def test_a_comment_describes_the_field_that_it_is_beside_or_above() -> None:
    assert meanings(Commented) == {
        "beside": "of this one", "on": "begins here and goes on", "bare": "", "above": "above in two lines", "apart": "",
    }  # fmt: skip


def test_a_class_without_source_has_no_descriptions() -> None:
    assert meanings(type("Made", (), {})) == {}


@pytest.mark.parametrize("method", own_methods())
def test_every_setting_of_our_methods_has_a_description(method: str) -> None:
    found = find_method(method)
    described = meanings(found.cls)
    assert [name for name in found.settings({}) if not described.get(name)] == []
