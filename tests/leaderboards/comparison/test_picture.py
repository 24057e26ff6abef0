"""The panels of a comparison's picture."""

from __future__ import annotations

import math

import pytest

from budgetnas.leaderboards.comparison.picture import Dot, panels_of
from budgetnas.leaderboards.comparison.rows import networks_of


def test_each_kind_of_known_accuracy_has_a_panel(recipe_rows, table_of):
    rows = [recipe_rows(10, [97.0, 96.0], [60.0, 62.0], methods=("darts", "a"), validation_early_stopped=55.0), recipe_rows(11, [], [70.0])]
    queried, early = panels_of(networks_of(table_of(*rows)))
    assert (queried.title, queried.before, queried.retrained) == (
        "toy on digits201",
        "queried test accuracy [%]",
        "retrained test accuracy [%]",
    )
    assert queried.dots == (Dot("a", 96.5, 61.0, pytest.approx(math.sqrt(2.0))),)
    assert early.retrained == "retrained validation accuracy [%]" and early.dots == (Dot("a", 55.0, 60.0, pytest.approx(math.sqrt(2.0))),)


def test_without_known_accuracies_each_method_has_a_dot(recipe_rows, table_of):
    (panel,) = panels_of(networks_of(table_of(recipe_rows(10, [], [60.0], methods=("darts", "a", "darts")))))
    assert panel.before == "" and panel.dots == (Dot("a", None, 60.0, 0.0), Dot("darts", None, 60.0, 0.0))
