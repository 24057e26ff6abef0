"""Regularized evolution: feasibility first, ageing, tournaments, it ends, and it beats random search."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from searching import SPACE, Blocks, Rated, run

from budgetnas.harness.problem import Allowance, Architecture, Limit, Problem
from budgetnas.methods.regularized_evolution import RegularizedEvolution, _mutant, _winner
from budgetnas.spaces.tables.closed_form import DATASET
from budgetnas.spaces.task import task_of


def test_the_only_member_of_a_population_of_one_dies_even_for_a_worse_child() -> None:
    searched = run(RegularizedEvolution(population=1, sample=1), (Limit("latency_ms", 4.0),))
    walk = [SPACE.at(index) for index in searched.asked]
    distances = [sum(a != b for a, b in zip(before.genes, after.genes, strict=True)) for before, after in pairwise(walk)]
    assert distances == [1] * 199
    assert min(np.diff(list(searched.meter.answers.values()))) < 0.0


@pytest.mark.parametrize(("size", "draws"), [(10, 1), (10, 3), (100, 25), (4, 10)])
def test_a_tournament_by_one_uniform_number_has_the_distribution_of_all_its_draws(size: int, draws: int) -> None:
    grid = 100_000
    places = [_winner(size, 1.0 / draws, (i + 0.5) / grid) for i in range(grid)]
    expected = [((size - j) / size) ** draws - ((size - j - 1) / size) ** draws for j in range(size)]
    np.testing.assert_allclose(np.bincount(places, minlength=size) / grid, expected, atol=1.5 / grid)
    assert _winner(size, 1.0 / draws, 0.0) == 0
    assert _winner(size, 1.0 / draws, 1.0 - 2.0**-53) < size  # the greatest number that a generator draws


def test_a_mutant_differs_in_the_given_gene_and_all_other_values_are_equally_likely() -> None:
    mutants = [_mutant((0, 2, 1), (2, 4, 3), 1, (i + 0.5) / 300) for i in range(300)]
    assert {mutant: mutants.count(mutant) for mutant in mutants} == {(0, 3, 1): 100, (0, 0, 1): 100, (0, 1, 1): 100}


@pytest.mark.parametrize("setting", ["population", "sample", "refill", "patience"])
def test_settings_below_one_are_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} of regularized evolution is 0; give 1 or more"):
        RegularizedEvolution(**{setting: 0})


def test_a_space_of_one_architecture_is_asked_about_once() -> None:
    evaluator = Rated(lambda genes: 50.0, lambda genes: {})
    problem = Problem(Blocks((1, 1)), task_of(DATASET), None, (), Allowance(None))  # type: ignore[arg-type]  # only what a method uses
    found = list(RegularizedEvolution().search(problem, evaluator, np.random.default_rng(0)))  # type: ignore[arg-type]
    assert found == [(Architecture("blocks", (0, 0)),)] and evaluator.asked == [(0, 0)]
