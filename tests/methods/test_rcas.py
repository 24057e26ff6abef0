"""RCAS: the lazy greedy equals the eager one, saves evaluations, keeps its bound, and works as a search under any limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import LANDSCAPE, LIMITS, SPACE, Blocks, Rated, ask

from budgetnas.harness.problem import Allowance, Architecture, Limit, Problem
from budgetnas.methods.rcas import RCAS, Chosen, Element, _Networks, _order, lazy_greedy
from budgetnas.spaces.chains import FBNet
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.tables.closed_form import DATASET, DEVICE
from budgetnas.spaces.tables.columnar import Table
from budgetnas.spaces.tables.home import table_path
from budgetnas.spaces.tables.operators import OPERATORS, operator_keys
from budgetnas.spaces.task import task_of

SetFunction = Callable[[Chosen], float]


@dataclass
class Counted:
    """A set function that records the evaluated sets."""

    function: SetFunction
    asked: list[Chosen] = field(default_factory=list)

    def __call__(self, sets: Sequence[Chosen]) -> list[float]:
        self.asked += sets
        return [self.function(chosen) for chosen in sets]


def eager_greedy(
    elements: Sequence[Element], values: Counted, fits: Callable[[Chosen, Element], bool], cost: Callable[[Element], float]
) -> Chosen:
    """Return the picks of algorithm 1, which evaluates all elements at every pick."""
    chosen: Chosen = ()
    values([()])
    while True:
        open_elements = [v for v in elements if v.position not in {w.position for w in chosen} and fits(chosen, v)]
        if not open_elements:
            return chosen
        scores = values([(*chosen, v) for v in open_elements])
        base = values.function(chosen)
        ranked = sorted(zip(scores, open_elements, strict=True), key=lambda pair: (-(pair[0] - base) / cost(pair[1]), pair[1]))
        chosen = (*chosen, ranked[0][1])


def within(budget: float, cost: Callable[[Element], float]) -> Callable[[Chosen, Element], bool]:
    return lambda chosen, v: sum(map(cost, chosen)) + cost(v) <= budget


def uniform(element: Element) -> float:
    return 1.0


@st.composite
def coverage(draw: st.DrawFn, blocks: int) -> tuple[list[Element], SetFunction, Callable[[Element], float], float]:
    """Draw elements with `blocks` values per position, a weighted coverage (nondecreasing, submodular, integer), costs and a budget."""
    positions = draw(st.integers(1, 8 if blocks == 1 else 4))
    elements = [Element(position, value) for position in range(positions) for value in range(blocks)]
    points = draw(st.lists(st.integers(0, 9), min_size=1, max_size=10))
    covers = {v: draw(st.frozensets(st.integers(0, len(points) - 1))) for v in elements}
    costs = {v: draw(st.integers(1, 8)) for v in elements}
    budget = draw(st.integers(0, sum(costs.values())))
    return (
        elements,
        lambda chosen: float(sum(points[i] for i in frozenset().union(*map(covers.__getitem__, chosen)))),
        costs.__getitem__,
        budget,
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([1, 3]).flatmap(coverage), st.booleans())
def test_the_lazy_greedy_has_the_picks_of_the_eager_one_and_never_more_evaluations(problem: Any, by_ratio: bool) -> None:
    elements, function, cost, budget = problem
    fits, rule = within(budget, cost), cost if by_ratio else uniform
    lazy, eager = Counted(function), Counted(function)
    picks = list(lazy_greedy(elements, lazy, fits, rule))
    assert picks[-1].chosen == eager_greedy(elements, eager, fits, rule)
    assert picks[-1].value == function(picks[-1].chosen)
    assert set(lazy.asked) <= set(eager.asked)
    assert len(lazy.asked) == len(set(lazy.asked))
    assert max(chain.from_iterable(pick.changes.values() for pick in picks), default=0.0) <= 1e-9
    compared = {(*pick.chosen[:-1], v) for pick in picks for v in pick.candidates} | {()}
    assert compared == set(eager.asked)


@settings(max_examples=300, deadline=None)
@given(coverage(blocks=1))
def test_the_better_of_both_rules_satisfies_the_bound_of_theorem_1(problem: Any) -> None:
    elements, function, cost, budget = problem
    fits = within(budget, cost)
    found = max(list(lazy_greedy(elements, Counted(function), fits, rule))[-1].value for rule in (None, cost))
    subsets = chain.from_iterable(combinations(elements, size) for size in range(len(elements) + 1))
    best = max(function(subset) for subset in subsets if sum(map(cost, subset)) <= budget)
    assert found >= 0.5 * (1.0 - 1.0 / math.e) * best


@pytest.mark.parametrize("weights", [[5, 3, 8, 1, 6], [2, 2, 2, 2, 2], [9, 9, 1, 1, 4]])
@pytest.mark.parametrize("taken", range(1, 6))
def test_a_modular_function_takes_one_evaluation_per_element_and_one_per_further_pick(weights: list[int], taken: int) -> None:
    elements = [Element(position, 1) for position in range(5)]
    values = Counted(lambda chosen: float(sum(weights[v.position] for v in chosen)))
    picks = list(lazy_greedy(elements, values, within(taken, uniform)))
    assert len(picks[-1].chosen) == taken
    assert len(values.asked) - 1 == len(elements) + taken - 1  # one evaluation is that of the empty set
    assert list(picks[-1].chosen) == sorted(elements, key=lambda v: (-weights[v.position], v))[:taken]


def test_the_growth_of_increasing_returns_is_reported() -> None:
    elements = [Element(position, 1) for position in range(3)]
    picks = list(lazy_greedy(elements, Counted(lambda chosen: float(len(chosen) ** 2)), lambda chosen, v: True))
    # Gains are 1 at the first pick, 3 at the second, 5 at the third.
    assert [pick.value for pick in picks] == [0.0, 1.0, 4.0, 9.0]
    assert [dict(pick.changes) for pick in picks] == [{}, {}, {Element(1, 1): 2.0}, {Element(2, 1): 4.0}]


def test_the_first_batch_has_the_empty_set_and_all_fitting_single_elements() -> None:
    batches = []

    def values(sets: Sequence[Chosen]) -> list[float]:
        batches.append(list(sets))
        return [float(len(chosen)) for chosen in sets]

    elements = [Element(0, 1), Element(1, 1), Element(2, 1)]
    list(lazy_greedy(elements, values, within(2.0, lambda v: v.position * 1.5)))
    assert batches[0] == [(), (elements[0],), (elements[1],)]
    assert all(len(batch) == 1 for batch in batches[1:])


def test_an_element_that_does_not_fit_is_tried_again_later() -> None:
    saver, heavy, other = Element(0, 1), Element(1, 1), Element(2, 1)
    costs = {saver: -2.0, heavy: 3.0, other: 1.0}
    gain = {saver: 1.0, heavy: 9.0, other: 0.5}
    values = Counted(lambda chosen: sum(gain[v] for v in chosen))
    picks = list(lazy_greedy([saver, heavy, other], values, within(2.0, costs.__getitem__), costs.__getitem__))
    assert [pick.chosen[-1:] for pick in picks] == [(), (saver,), (heavy,), (other,)]
    assert (heavy,) not in values.asked


def test_a_position_holds_one_block() -> None:
    elements = [Element(0, 0), Element(0, 1), Element(1, 0)]
    picks = list(lazy_greedy(elements, Counted(lambda chosen: float(sum(1 + v.value for v in chosen))), lambda chosen, v: True))
    assert picks[-1].chosen == (Element(0, 1), Element(1, 0))


def test_the_queue_starts_with_free_gains_and_ends_with_unknown_costs() -> None:
    ranked = [
        (0.1, -1.0),
        (0.05, 0.0),
        (2.0, 1.0),
        (3.0, 2.0),
        (0.0, 0.0),
        (-3.0, 1.0),
        (-1.0, 0.0),
        (-2.0, -5.0),
        (9.0, math.nan),
        (-1.0, math.nan),
    ]
    assert sorted(ranked[5:] + ranked[:5], key=lambda pair: _order(*pair)) == ranked


# RCAS as a search, on small spaces made for the purpose.


class Unfillable(Blocks):
    """A space without an identity."""

    @property
    def identity(self) -> Architecture | None:
        return None


def run(
    space: Any, evaluator: Any, limits: Iterable[Limit] = (), allowance: Allowance | None = None
) -> tuple[list[tuple[int, ...]], Mapping[str, float]]:
    """Return the recommendations' genes, in order, and the figures."""
    problem = Problem(space, task_of(DATASET), DEVICE, tuple(limits), allowance or Allowance(200))
    rng = np.random.default_rng(0)
    untouched = rng.bit_generator.state
    search, found = RCAS().search(problem, evaluator, rng), []
    while True:
        try:
            found.append(next(search)[0].genes)
        except StopIteration as end:
            assert rng.bit_generator.state == untouched
            return found, end.value


def weighed(weights: Sequence[float]) -> Callable[[tuple[int, ...]], dict[str, float]]:
    return lambda genes: {"params": sum(weight for weight, gene in zip(weights, genes, strict=True) if gene)}


def test_the_example_of_section_3_defeats_the_ratio_rule_but_not_rcas() -> None:
    """Two blocks under a budget below p + epsilon: one has cost epsilon and accuracy 3 epsilon, the other cost p and accuracy 2 p."""
    epsilon, p = 0.01, 20.0
    values = Counted(lambda chosen: sum((3.0 * epsilon, 2.0 * p)[v.position] for v in chosen))
    elements, cost = [Element(0, 1), Element(1, 1)], lambda v: (epsilon, p)[v.position]
    assert list(lazy_greedy(elements, values, within(p, cost), cost))[-1].value == 3.0 * epsilon
    evaluator = Rated(lambda genes: 3.0 * epsilon * genes[0] + 2.0 * p * genes[1], weighed([epsilon, p]))
    found, _ = run(Blocks((2, 2)), evaluator, [Limit("params", p)])
    assert found[-1] == (0, 1)


def test_runs_share_their_evaluations_and_figures_count_them() -> None:
    """An eager greedy with both rules evaluates the identity and 4 single elements, then 3, 2, 1 sets on one path and 3, 2 on the other."""
    gains, weights = (10.0, 8.0, 3.0, 1.0), (8.0, 4.0, 1.0, 1.0)
    evaluator = Rated(lambda genes: 20.0 + sum(g for g, gene in zip(gains, genes, strict=True) if gene), weighed(weights))
    found, figures = run(Blocks((2, 2, 2, 2)), evaluator)
    # Picks by accuracy: 0, 1, 2, 3. By ratio (1.25, 2, 3, 1): 2, 1, 0, 3. F is modular, so a further pick takes at most one new evaluation.
    lazily = {(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 1, 0, 0), (1, 1, 1, 0), (1, 1, 1, 1), (0, 1, 1, 0)}
    assert set(evaluator.asked) == lazily
    assert len(evaluator.asked) == len(lazily)
    eagerly = lazily | {(1, 0, 1, 0), (1, 0, 0, 1), (1, 1, 0, 1), (0, 0, 1, 1), (0, 1, 1, 1)}
    assert figures == {
        "evaluations": len(lazily), "evaluations_saved": len(eagerly) - len(lazily), "reevaluations": 3 + 2, "reevaluations_rising": 0,
        "largest_rise_percent": 0.0, "mean_rise_percent": 0.0,
    }  # fmt: skip
    assert found == [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0), (1, 1, 1, 0), (1, 1, 1, 1)]


def test_rises_are_counted_and_measured_in_percentage_points() -> None:
    evaluator = Rated(lambda genes: 20.0 + sum(genes) ** 2, lambda genes: {})
    _, figures = run(Blocks((2, 2, 2)), evaluator)
    assert (figures["reevaluations"], figures["reevaluations_rising"]) == (2.0, 2.0)
    assert (figures["largest_rise_percent"], figures["mean_rise_percent"]) == (4.0, 3.0)


def test_a_disconnected_network_scores_chance_without_a_query_and_is_never_recommended() -> None:
    cut = frozenset({(1, 0), (1, 1)})
    evaluator = Rated(lambda genes: 5.0, weighed([0.0, 1.0]))  # worse than chance, so that the greedy prefers disconnected networks
    found, figures = run(Blocks((2, 2), cut), evaluator)
    assert set(evaluator.asked) == {(0, 0), (0, 1)}
    assert found == [(0, 0)]
    assert (figures["evaluations"], figures["reevaluations"]) == (2, 0)  # the run ends at once, so nothing is evaluated again


@pytest.mark.parametrize("rule", ["params", "macs", "energy_mj"])
def test_there_is_a_run_for_every_ratio(rule: str) -> None:
    """The two small blocks together are the best. Only the ratio to the resource in which blocks differ finds them.

    The limit on latency allows the two small blocks together, and the big block only alone. All single blocks have the same latency.
    """
    limit = Limit(rule, 4.0) if rule == "energy_mj" else Limit("latency_ms", 4.0)

    def costs(genes: tuple[int, ...]) -> dict[str, float]:
        latency_ms = 8.0 if genes[0] and sum(genes) > 1 else 4.0 * any(genes)
        equal = dict.fromkeys(("params", "macs", "energy_mj"), 1.0 * sum(genes)) | {"latency_ms": latency_ms}
        return equal | {rule: 4.0 * genes[0] + 2.0 * genes[1] + 2.0 * genes[2]}

    evaluator = Rated(lambda genes: 20.0 + 5.0 * genes[0] + 4.0 * genes[1] + 4.0 * genes[2], costs)
    found, _ = run(Blocks((2, 2, 2)), evaluator, [limit])
    assert found == [(0, 0, 0), (1, 0, 0), (0, 1, 1)]


def test_an_identity_beyond_the_limits_is_brought_within_them() -> None:
    """Value 1 saves one unit, value 2 saves two. The first pick must come closest to the limit, even if its accuracy is not the best."""
    evaluator = Rated(lambda genes: 50.0 - sum(genes) - genes[0], lambda genes: {"latency_ms": 10.0 - sum(genes)})
    found, _ = run(Blocks((3, 3, 2)), evaluator, [Limit("latency_ms", 7.0)])
    assert found[0] == (0, 2, 1)
    assert (0, 2, 0) in evaluator.asked
    assert (0, 0, 1) not in evaluator.asked


def test_if_no_network_is_within_the_limits_there_is_no_recommendation() -> None:
    evaluator = Rated(lambda genes: 50.0, lambda genes: {"latency_ms": 10.0 - sum(genes)})
    found, figures = run(Blocks((2, 2)), evaluator, [Limit("latency_ms", 7.0)])
    assert found == []
    assert figures["evaluations"] <= 4


def test_a_lower_limit_does_not_affect_the_picks_but_the_recommendation() -> None:
    evaluator = Rated(lambda genes: 50.0 - 1.0 * sum(genes), weighed([1.0, 1.0, 1.0]))
    found, _ = run(Blocks((2, 2, 2)), evaluator, [Limit("params", upper=2.0, lower=2.0)])
    assert found == [(1, 1, 0)]


def test_unsupported_networks_do_not_fit_and_an_element_unsupported_alone_can_join_later() -> None:
    def cost(genes: tuple[int, ...]) -> dict[str, float]:
        return {"latency_ms": math.nan if genes == (0, 1) else 1.0 + sum(genes)}

    evaluator = Rated(lambda genes: 50.0 + sum(genes), cost)
    found, _ = run(Blocks((2, 2)), evaluator, [Limit("latency_ms", 9.0)])
    assert found == [(0, 0), (1, 0), (1, 1)]
    assert (0, 1) not in evaluator.asked


def test_a_space_without_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="starts from an identity network, and the space 'blocks' has none; use another method"):
        run(Unfillable((2, 2)), Rated(lambda genes: 50.0, lambda genes: {}))


@pytest.mark.parametrize("covered", range(1, 5))
@pytest.mark.parametrize("in_seconds", [False, True])
def test_if_the_allowance_ends_in_the_first_batch_the_best_evaluated_network_is_recommended(covered: int, in_seconds: bool) -> None:
    evaluator = Rated(
        lambda genes: 50.0 + 4 * genes[0] + 3 * genes[1] + 9 * genes[2], lambda genes: {}, covered if in_seconds else math.inf
    )
    found, figures = run(
        Blocks((2, 2, 2)), evaluator, allowance=Allowance(None if in_seconds else covered, covered if in_seconds else None)
    )
    assert len(set(evaluator.asked)) == figures["evaluations"] == covered
    assert found[-1] == [(0, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 1)][covered - 1]
    # A batch that the seconds did not cover returned no answers, so its charged questions are repeated one by one, for free.
    assert len(evaluator.asked) == covered * (2 if in_seconds and covered < 4 else 1)


# RCAS on NAS-Bench-201.

ON_CELLS = LIMITS | {"no MACs at all": (Limit("macs", 1.0),)}


@pytest.mark.parametrize("queries", [1, 10, 30, 200])
@pytest.mark.parametrize("limits", ON_CELLS.values(), ids=ON_CELLS)
def test_on_cells_it_keeps_to_allowance_and_limits(limits: tuple[Limit, ...], queries: int) -> None:
    _, meter = ask(limits, queries)
    found, figures = run(SPACE, meter, limits, Allowance(queries))
    admitted = LANDSCAPE.admitted(limits)
    indices = [SPACE.index(Architecture(SPACE.name, genes)) for genes in found]
    assert all(admitted[indices])
    assert list(LANDSCAPE.validation[indices]) == sorted(set(LANDSCAPE.validation[indices]))
    assert bool(found) == any(admitted[list(meter.answers)])
    assert (meter.repeats, meter.refusals) == (0, 0)
    assert figures["evaluations"] == meter.queries <= queries


def test_on_cells_the_best_of_its_runs_is_returned() -> None:
    limits = (Limit("latency_ms", 3.0),)
    _, meter = ask(limits, None)
    found, figures = run(SPACE, meter, limits, Allowance(None))
    unfilled, admitted = SPACE.identity.genes, LANDSCAPE.admitted(limits)
    elements = [Element(i, value) for i, gene in enumerate(unfilled) for value in range(5) if value != gene]

    def index(chosen: Chosen) -> int:
        filled = dict(chosen)
        return SPACE.index(Architecture(SPACE.name, tuple(filled.get(i, gene) for i, gene in enumerate(unfilled))))

    def values(sets: Sequence[Chosen]) -> list[float]:
        return [float(LANDSCAPE.validation[index(chosen)]) for chosen in sets]

    def fits(chosen: Chosen, element: Element) -> bool:
        return bool(LANDSCAPE.resource("latency_ms")[index((*chosen, element))] <= 3.0)

    rules: list[Callable[[Element], float] | None] = [None]
    for name in ("params", "macs", "latency_ms"):
        column = LANDSCAPE.resource(name)
        rules.append(lambda element, column=column: float(column[index((element,))] - column[index(())]))  # type: ignore[misc]
    paths = [list(lazy_greedy(elements, values, fits, rule)) for rule in rules]
    on_paths = {index(pick.chosen) for path in paths for pick in path}
    best = max((i for i in on_paths if admitted[i]), key=LANDSCAPE.validation.__getitem__)
    assert SPACE.index(Architecture(SPACE.name, found[-1])) == best
    assert figures["evaluations_saved"] > 0


# RCAS's settings, on chains, a space that knows the cost of each element.


CHAIN = space_of("rcnet[positions=12,width=25]")


def filled_with(*codes: int) -> tuple[int, ...]:
    return (*codes, *(0,) * (12 - len(codes)))


def search(settings: Mapping[str, Any], space: Any, evaluator: Any, limits: Iterable[Limit] = (), queries: int = 200) -> Any:
    """Return the genes of all recommendations, as lists, and the figures."""
    problem = Problem(space, task_of("digits"), None, tuple(limits), Allowance(queries))
    running, found = RCAS(**settings).search(problem, evaluator, np.random.default_rng(0)), []
    while True:
        try:
            found.append([arch.genes for arch in next(running)])
        except StopIteration as end:
            return found, end.value


def chained(accuracy_of: Callable[[tuple[int, ...]], float]) -> Rated:
    """Return an evaluator of chains with their exact costs."""

    def cost(genes: tuple[int, ...]) -> dict[str, float]:
        complexity = CHAIN.complexity(Architecture(CHAIN.name, genes), task_of("digits"))
        return {"params": float(complexity.params), "macs": float(complexity.macs)}

    return Rated(accuracy_of, cost)


def test_the_cost_of_a_block_is_its_cost_at_its_position() -> None:
    """It is not the cost added to the empty chain: a block in a later stage also makes the last convolution larger."""
    task = task_of("digits")
    evaluator = chained(lambda genes: 50.0)
    networks = _Networks.of(Problem(CHAIN, task, None, (), Allowance(1)), evaluator, RCAS())
    for resource in ("params", "macs"):
        costs = networks.element_costs(resource)
        assert costs == {v: CHAIN.element_cost(v.position, v.value, task)[resource] for v in networks.elements}
    added = evaluator.cost_of(filled_with(0, 1))["params"] - evaluator.cost_of(filled_with())["params"]
    assert costs[Element(1, 1)] != added
    # If the space does not know an element's cost of a resource, the cost added to the identity is used.
    timed = Rated(lambda genes: 50.0, lambda genes: {"cycles": 7.0 + sum(genes)})
    networks = _Networks.of(Problem(CHAIN, task, None, (), Allowance(1)), timed, RCAS())
    assert networks.element_costs("cycles") == {v: float(v.value) for v in networks.elements}


def test_element_costs_are_those_of_the_problem_s_device() -> None:
    asked = []

    class OnDevice(type(CHAIN)):  # type: ignore[misc]
        def element_cost(self, position: int, value: int, task: Any, device: str | None = None) -> Mapping[str, float]:
            asked.append(device)
            return {"latency_ms": 0.5 * value}

    problem = Problem(OnDevice(12, 25), task_of("digits"), "pixel3", (Limit("latency_ms", 9.0),), Allowance(1))
    networks = _Networks.of(problem, Rated(lambda genes: 50.0, lambda genes: {"latency_ms": 1.0 + sum(genes)}), RCAS())
    assert networks.resources() == ("latency_ms",)
    assert set(networks.element_costs("latency_ms").values()) == {0.5, 1.0, 1.5, 2.0, 2.5, 3.0}
    assert set(asked) == {"pixel3"}


def test_values_restricts_the_search_to_given_block_types() -> None:
    evaluator = chained(lambda genes: 20.0 + sum(genes))
    limits = [Limit("params", 60_000.0)]
    found, _ = search({"values": (5,)}, CHAIN, evaluator, limits)
    assert {gene for genes in evaluator.asked for gene in genes} == {0, 5}
    assert set(found[-1][0]) == {0, 5} and evaluator.cost_of(found[-1][0])["params"] <= 60_000
    assert RCAS(values=[5]) == RCAS(values=(5,))  # type: ignore[arg-type] # as a study file has it
    with pytest.raises(ValueError, match=r"values of RCAS is \[5\]; positions of 'blocks' can be filled with \[1\]"):
        search({"values": (5,)}, Blocks((2, 2)), Rated(lambda genes: 50.0, lambda genes: {}))


def test_with_merge_identical_identical_networks_are_evaluated_once() -> None:
    """A block in either position of a stage gives the same network: the picks are the same, the first batch has half the questions."""
    accuracy = {False: chained(lambda genes: 20.0 + sum(genes)), True: chained(lambda genes: 20.0 + sum(genes))}
    limits = [Limit("params", 30_000.0)]
    found = {merged: search({"merge_identical": merged}, CHAIN, accuracy[merged], limits, 500)[0] for merged in (False, True)}

    def canonical(genes: tuple[int, ...]) -> tuple[int, ...]:
        return CHAIN.canonical(Architecture(CHAIN.name, genes)).genes

    assert found[True] == [[canonical(genes) for genes in front] for front in found[False]]
    asked = accuracy[True].asked
    assert asked == [canonical(genes) for genes in asked] and len(set(asked)) == len(asked)
    assert set(asked) == {canonical(genes) for genes in accuracy[False].asked}
    assert len(asked) < 0.7 * len(accuracy[False].asked)


def test_the_whole_path_is_recommended_at_the_end() -> None:
    gains = (10.0, -2.0, 3.0)
    evaluator = Rated(lambda genes: 20.0 + sum(g for g, gene in zip(gains, genes, strict=True) if gene), weighed([4.0, 2.0, 1.0]))
    found, _ = search({"keep_path": True}, Blocks((2, 2, 2)), evaluator, [Limit("params", 6.5)])
    # By accuracy: (0,0,0), (1,0,0), (1,0,1); then no block fits. By the ratio to parameters, the third block comes first.
    assert found == [[(0, 0, 0)], [(1, 0, 0)], [(1, 0, 1)], [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)]]


def test_a_random_tail_replaces_the_last_blocks_within_the_limits() -> None:
    evaluator = chained(lambda genes: 20.0 + sum(genes) - 3.0 * genes.count(6))
    limits = [Limit("params", 60_000.0), Limit("macs", 250_000.0)]
    plain, known = search({}, CHAIN, evaluator, limits)
    found, figures = search({"random_tail": 2}, CHAIN, evaluator, limits)
    assert found[:-1] == plain
    (best,), (tail,) = plain[-1], found[-1]
    filled = [position for position, gene in enumerate(best) if gene]
    assert best != tail and [position for position, gene in enumerate(tail) if gene] == filled
    assert {position for position in range(12) if best[position] != tail[position]} <= set(filled[-2:])
    cost = evaluator.cost_of(tail)
    assert cost["params"] <= 60_000 and cost["macs"] <= 250_000 and tail in evaluator.asked
    assert figures["random_blocks"] == 2.0 and figures["searched_percent"] == evaluator.accuracy_of(best)
    assert figures["evaluations"] - known["evaluations"] in (0.0, 1.0)


@pytest.mark.parametrize("queries", range(1, 8))
def test_a_query_is_reserved_for_the_random_tail(queries: int) -> None:
    evaluator = Rated(lambda genes: 50.0 + sum(genes), weighed([1.0, 1.0]))
    found, figures = search({"random_tail": 2}, Blocks((4, 4)), evaluator, queries=queries)
    assert len(set(evaluator.asked)) == figures["evaluations"] <= queries
    if queries > 2:
        assert found[-1][0] in evaluator.asked
        best = max((genes[0] for genes in found[:-1]), key=sum)
        assert figures["random_blocks"] == sum(gene > 0 for gene in best)
        assert figures["searched_percent"] == max(50.0 + sum(genes[0]) for genes in found[:-1])


def test_there_is_no_random_tail_if_no_other_network_holds_the_limits() -> None:
    evaluator = Rated(lambda genes: 50.0 + genes[0], lambda genes: {"params": float(sum(genes))})
    found, figures = search({"random_tail": 3}, Blocks((3,)), evaluator, [Limit("params", 1.0)])
    assert found == [[(0,)], [(1,)]] and figures["random_blocks"] == 0.0


def test_invalid_and_contradicting_settings_are_refused() -> None:
    for settings_ in ({"random_tail": -1}, {"random_tail": 1, "keep_path": True}):
        with pytest.raises(ValueError, match=r"random_tail of RCAS is -?1; give 0 or more blocks, and leave it out with keep_path"):
            RCAS(**settings_)  # type: ignore[arg-type]


def test_fbnet_chains_under_a_latency_and_an_energy_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operator costs are random and skips are among the most expensive: the identity breaks both limits, the result holds them."""
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    random = np.random.default_rng(3).uniform(0.1, 3.0, (2, len(operator_keys())))
    random[:, [key.startswith("Skip_") for key in operator_keys()]] = 3.0
    columns = dict(zip(("latency_ms/edgegpu", "energy_mj/edgegpu"), random, strict=True))
    Table.from_columns(OPERATORS, columns, dict.fromkeys(columns, "made up")).write(table_path(OPERATORS))
    space, task = FBNet(), task_of("cifar100")

    def cost(genes: tuple[int, ...]) -> Mapping[str, float]:
        return space.device_cost(Architecture("fbnet", genes), task, "edgegpu")

    evaluator = Rated(lambda genes: 50.0 + sum(gene % 5 for gene in genes), cost)
    limits = (Limit("latency_ms", 30.0), Limit("energy_mj", 45.0))
    problem = Problem(space, task, "edgegpu", limits, Allowance(2000))
    assert space.identity is not None and not problem.feasible(space.identity, cost(space.identity.genes))
    found = list(RCAS().search(problem, evaluator, np.random.default_rng(0)))
    assert found and all(problem.feasible(arch, cost(arch.genes)) for front in found for arch in front)
