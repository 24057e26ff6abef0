"""Random search: it samples the feasible architectures uniformly without repetition, and it ends."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare
from searching import EMPTY, Blocks, Rated, run

from budgetnas.harness.problem import Allowance, Problem
from budgetnas.methods.random_search import RandomSearch
from budgetnas.spaces.tables.closed_form import DATASET
from budgetnas.spaces.task import task_of


def test_gives_up_after_its_patience() -> None:
    assert 300 <= len(run(RandomSearch(patience=300), EMPTY).meter.log) <= 600


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="patience of random search is 0 draws; give 1 or more"):
        RandomSearch(patience=0)


ARITY = (3, 2, 4)
ODD = frozenset(genes for genes in product(*map(range, ARITY)) if sum(genes) % 2)  # half of them


def test_every_feasible_architecture_is_as_likely_as_any_other() -> None:
    problem = Problem(Blocks(ARITY, cut=ODD), task_of(DATASET), None, (), Allowance(None))  # type: ignore[arg-type]
    counts: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for seed in range(600):
        evaluator = Rated(lambda genes: 50.0, lambda genes: {})
        list(RandomSearch().search(problem, evaluator, np.random.default_rng(seed)))
        assert len(evaluator.asked) == len(set(evaluator.asked)) == math.prod(ARITY) - len(ODD) == 12
        counts.update((place, evaluator.asked[at]) for place, at in (("first", 0), ("last", -1)))
    for place in ("first", "last"):
        seen = [count for (where, _), count in counts.items() if where == place]
        assert len(seen) == 12
        assert chisquare(seen).pvalue > 1e-4  # uniform draws fail for one set of seeds in 10,000
