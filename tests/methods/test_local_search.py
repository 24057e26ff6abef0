"""Local search: it climbs to local optima, reduces violations without queries, restarts, ends, and beats random search."""

from __future__ import annotations

import numpy as np
import pytest
from searching import LANDSCAPE, LIMITS, SPACE, ask

from budgetnas.harness.problem import Limit
from budgetnas.methods.local_search import LocalSearch, _Walk
from budgetnas.spaces.space import neighbours, sample


@pytest.mark.parametrize("first_improvement", [True, False])
def test_a_climb_ends_when_no_feasible_neighbour_is_better(first_improvement: bool) -> None:
    problem, meter = ask(LIMITS["one"], None)
    admitted, validation = LANDSCAPE.admitted(problem.limits), LANDSCAPE.validation
    for seed, start in enumerate(np.flatnonzero(admitted)[::200]):
        walk = _Walk(problem, meter, np.random.default_rng(seed))
        answers = dict(walk.climb(SPACE.at(int(start)), first_improvement))
        top = max(answers, key=answers.__getitem__)
        near = [SPACE.index(arch) for arch in neighbours(SPACE, top)]
        assert max([validation[index] for index in near if admitted[index]], default=0.0) <= answers[top]


def test_without_first_improvement_a_climb_takes_the_steepest_step() -> None:
    problem, meter = ask((), None)
    walk = _Walk(problem, meter, np.random.default_rng(0))
    start = arch = SPACE.decode("|skip_connect~0|+|none~0|none~1|+|none~0|avg_pool_3x3~1|none~2|")
    asked, steps = {SPACE.index(arch)}, 0
    while True:
        near = [SPACE.index(other) for other in neighbours(SPACE, arch)]
        near = [index for index in near if LANDSCAPE.eligible[index]]
        asked |= set(near)
        top = max(near, key=LANDSCAPE.validation.__getitem__)
        if LANDSCAPE.validation[top] <= LANDSCAPE.validation[SPACE.index(arch)]:
            break
        arch, steps = SPACE.at(top), steps + 1
    assert steps > 2
    assert {SPACE.index(other) for other, _ in walk.climb(start, first_improvement=False)} == asked


def test_a_descent_costs_no_query_and_ends_feasible_or_when_no_neighbour_has_a_smaller_violation() -> None:
    problem, meter = ask(LIMITS["several"], None)
    rng = np.random.default_rng(0)
    walk, ends = _Walk(problem, meter, rng), []
    for _ in range(100):
        start = sample(SPACE, rng)
        end = walk.descend(start)
        ends.append(end is not None)
        if end is not None:
            assert walk.violation(end) == 0.0
    assert any(ends)
    assert meter.queries == 0
    out_of_reach = ask((Limit("params", lower=1e9),), None)[0]
    assert _Walk(out_of_reach, meter, rng).descend(SPACE.at(0)) is None


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="patience of local search is 0 restarts; give 1 or more"):
        LocalSearch(patience=0)
