"""The moves that all spaces share: samples and changes are uniform, and neighbours are complete."""

from collections import Counter
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from budgetnas.spaces.space import Architecture, InvalidArchitecture, Space, check_genes, crossover, mutate, neighbours, sample

# Every seed is fixed, so no test fails by chance. With new seeds, a correct sampler would fail one such test in 10,000.
FALSE_ALARM = 1e-4
DRAWS = 20_000


@dataclass(frozen=True)
class Box:
    """The parts of a space that moves need: a name and the numbers of choices."""

    arity: tuple[int, ...]
    name: str = "box"


def box(*arity: int) -> Space:
    return Box(arity)  # type: ignore[return-value]


def point(*genes: int) -> Architecture:
    return Architecture("box", genes)


ARITIES = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)


@st.composite
def spaces_and_points(draw: st.DrawFn) -> tuple[Space, Architecture]:
    arity = draw(ARITIES)
    return box(*arity), point(*(draw(st.integers(0, choices - 1)) for choices in arity))


def assert_uniform(observed: Counter[Architecture], outcomes: list[Architecture]) -> None:
    assert set(observed) == set(outcomes)
    assert chisquare([observed[outcome] for outcome in outcomes]).pvalue > FALSE_ALARM


@pytest.mark.parametrize("arity", [(2, 3, 5), (4, 1, 3), (7,)])
def test_samples_are_uniform(arity: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(sample(box(*arity), rng) for _ in range(DRAWS))
    assert_uniform(drawn, [point(*genes) for genes in product(*map(range, arity))])


def test_the_uniformity_test_can_fail() -> None:
    lopsided = Counter({point(0): DRAWS // 2 + 400, point(1): DRAWS // 2 - 400})
    with pytest.raises(AssertionError):
        assert_uniform(lopsided, [point(0), point(1)])


@pytest.mark.parametrize("arity", [(5, 5, 5), (3, 1, 3, 3)])
def test_mutants_are_uniform_over_the_neighbours_if_genes_have_equally_many_choices(arity: tuple[int, ...]) -> None:
    rng, parent = np.random.default_rng(1), point(*(0 for _ in arity))
    drawn = Counter(mutate(box(*arity), parent, rng) for _ in range(DRAWS))
    assert_uniform(drawn, list(neighbours(box(*arity), parent)))


def test_a_mutation_draws_the_gene_uniformly_not_the_neighbour() -> None:
    rng, parent = np.random.default_rng(2), point(1, 0, 3)
    mutants = [mutate(box(2, 1, 9), parent, rng) for _ in range(DRAWS)]
    first = sum(mutant.genes[0] != 1 for mutant in mutants)
    assert chisquare([first, DRAWS - first]).pvalue > FALSE_ALARM
    assert_uniform(Counter(m for m in mutants if m.genes[0] == 1), [point(1, 0, value) for value in range(9) if value != 3])


@settings(deadline=None)
@given(spaces_and_points(), st.integers(0, 2**32 - 1))
def test_a_mutant_is_a_neighbour(given_space: tuple[Space, Architecture], seed: int) -> None:
    space, arch = given_space
    around = list(neighbours(space, arch))
    if around:
        assert mutate(space, arch, np.random.default_rng(seed)) in around
    else:
        with pytest.raises(InvalidArchitecture, match="single architecture"):
            mutate(space, arch, np.random.default_rng(seed))


@settings(deadline=None)
@given(spaces_and_points())
def test_neighbours_differ_in_one_gene_and_are_ordered_by_gene_then_by_value(given_space: tuple[Space, Architecture]) -> None:
    space, arch = given_space
    everything = (point(*genes) for genes in product(*map(range, space.arity)))
    # The plain reference: all points that differ in one gene, in the promised order.
    at_one = [(changed[0], other) for other in everything if len(changed := differences(arch, other)) == 1]
    expected = [other for _, other in sorted(at_one, key=lambda entry: (entry[0], entry[1].genes[entry[0]]))]
    assert list(neighbours(space, arch)) == expected
    assert len(expected) == sum(choices - 1 for choices in space.arity)


def differences(first: Architecture, second: Architecture) -> list[int]:
    return [gene for gene, (one, other) in enumerate(zip(first.genes, second.genes, strict=True)) if one != other]


def test_crossover_is_uniform_over_the_children_of_two_parents() -> None:
    rng, space = np.random.default_rng(3), box(5, 5, 5, 5)
    first, second = point(0, 1, 2, 3), point(4, 3, 2, 1)  # they agree in the third gene
    drawn = Counter(crossover(space, first, second, rng) for _ in range(DRAWS))
    assert_uniform(drawn, [point(*genes) for genes in product((0, 4), (1, 3), (2,), (3, 1))])


@settings(deadline=None)
@given(spaces_and_points(), st.integers(0, 2**32 - 1))
def test_crossing_an_architecture_with_itself_changes_nothing(given_space: tuple[Space, Architecture], seed: int) -> None:
    space, arch = given_space
    assert crossover(space, arch, arch, np.random.default_rng(seed)) == arch


def test_a_mutation_always_draws_the_same_amount_of_random_numbers() -> None:
    """So the later draws of a search do not depend on the results of earlier ones."""
    for move in (lambda rng: mutate(box(4, 4), point(0, 3), rng), lambda rng: mutate(box(4, 4), point(2, 2), rng)):
        rng, plain = np.random.default_rng(4), np.random.default_rng(4)
        move(rng)
        plain.random(2)
        assert rng.random() == plain.random()


def test_a_seed_determines_the_samples() -> None:
    first, second = np.random.default_rng(5), np.random.default_rng(5)
    space = box(3, 4, 5)
    assert [sample(space, first) for _ in range(50)] == [sample(space, second) for _ in range(50)]


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (Architecture("elsewhere", (0, 0)), "'elsewhere'.*'box'"),
        (point(0), "1 genes given; 'box' has 2"),
        (point(0, 0, 0), "3 genes given; 'box' has 2"),
        (point(0, 3), "gene 1 is 3; 'box' allows 0 to 2"),
        (point(-1, 0), "gene 0 is -1; 'box' allows 0 to 1"),
        (Architecture("box", (0, 1.5)), "gene 1 is 1.5"),  # type: ignore[arg-type]
        (Architecture("box", (0, float("nan"))), "gene 1 is nan"),  # type: ignore[arg-type]
        (Architecture("box", ("0", 0)), "gene 0 is '0'"),  # type: ignore[arg-type]
        (Architecture("box", [0, 0]), "the genes are a list"),  # type: ignore[arg-type]
        ((0, 0), "is not an Architecture"),
        (None, "None is not an Architecture"),
    ],
)
def test_an_invalid_architecture_is_refused(arch: Architecture, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        check_genes(box(2, 3), arch)


@settings(deadline=None)
@given(spaces_and_points())
def test_every_point_of_a_space_is_accepted(given_space: tuple[Space, Architecture]) -> None:
    space, arch = given_space
    check_genes(space, arch)
    check_genes(space, Architecture("box", tuple(np.array(arch.genes))))  # integers of numpy are accepted too
