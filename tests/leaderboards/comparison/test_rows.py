"""Reading the rows of a comparison as networks."""

from __future__ import annotations

import math

import pytest

from budgetnas.leaderboards.comparison.rows import by_dataset, networks_of
from budgetnas.leaderboards.shared.documents import LeaderboardError


def test_the_rows_of_a_network_become_one_network(own_rows, recipe_rows, table_of):
    table = table_of(own_rows(10, [97.0, 96.0], [97.0, 96.5]), recipe_rows(20, [90.0, 91.0, 92.0], [80.0, 82.0], index=None))
    own, by_recipe = networks_of(table)
    assert (own.index, own.won, own.seeds) == (10, 1, (0, 1))
    assert (own.compared, own.equal, own.difference("queried"), own.retrained("queried")) == (4, 3, 0.25, 96.75)
    assert (by_recipe.index, by_recipe.won, by_recipe.seeds) == (None, None, (1_000_000, 1_000_001))
    assert (by_recipe.compared, by_recipe.test_queried, by_recipe.difference("queried")) == (0, 91.0, -10.0)
    assert math.isnan(own.known("early_stopped")) and math.isnan(own.difference("early_stopped"))


def test_only_the_seeds_that_were_retrained_are_compared(own_rows, table_of):
    """The table has three seeds; two were retrained."""
    rows = own_rows(10, [97.0, 96.0, 80.0], [97.0, 96.0, 80.0])[:2]
    (network,) = networks_of(table_of(rows))
    assert (
        network.test_queried == 96.5 and network.difference("queried") == 0.0 and list(network.test_queried_by_seed) == [97.0, 96.0, 80.0]
    )


def test_networks_are_grouped_by_space_and_dataset(own_rows, table_of):
    rows = [own_rows(1, [90.0], [90.0]), own_rows(1, [80.0], [80.0], dataset="cifar10"), own_rows(2, [70.0], [70.0])]
    groups = by_dataset(networks_of(table_of(*rows)))
    assert [[(network.dataset, network.index) for network in group] for group in groups] == [
        [("digits201", 1), ("digits201", 2)],
        [("cifar10", 1)],
    ]


def test_a_table_that_lacks_a_column_or_has_no_rows_is_refused(own_rows, table_of):
    table = table_of(own_rows(10, [97.0], [97.0]))
    with pytest.raises(LeaderboardError, match="lacks the columns won, recipe;"):
        networks_of(table.drop(columns=["won", "recipe"]))
    with pytest.raises(LeaderboardError, match="no network was retrained"):
        networks_of(table[:0])
