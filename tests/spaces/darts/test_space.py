"""The DARTS space: genes and parameters, merged orders of nodes, published architectures, relaxation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.spaces.darts import DARTS
from budgetnas.spaces.darts.layout import WrongSize
from budgetnas.spaces.darts.order import CELL_ARITY, CONNECTIONS, EDGES, OPERATIONS, Edge, cell_edges, cell_genes
from budgetnas.spaces.darts.symmetry import reordered
from budgetnas.spaces.registry import UnknownSpace, space_of
from budgetnas.spaces.space import Architecture, Described, Enumerable, Relaxable, sample
from budgetnas.spaces.task import TASKS

CIFAR = TASKS["cifar10"]
SPACES = (DARTS(), DARTS(groups=3, cells=8), DARTS(connection=True), DARTS(channels=16, groups=2, connection=True))
NAMES = ("darts", "darts[cells=8,groups=3]", "darts[connection=true]", "darts[channels=16,connection=true,groups=2]")


def test_a_cell_has_1037664180_architectures_and_the_space_is_a_product() -> None:
    assert math.prod(CELL_ARITY) == 1_037_664_180
    assert math.prod(DARTS().arity) == 1_037_664_180**2
    assert math.prod(DARTS(groups=3, connection=True).arity) == 4 * 1_037_664_180**4
    assert not isinstance(DARTS(), Enumerable)


def test_the_fourteen_edges_are_ordered_by_node_then_by_source() -> None:
    assert " ".join(f"{source}{node}" for source, node in EDGES) == "02 12 03 13 23 04 14 24 34 05 15 25 35 45"


@pytest.mark.parametrize(("space", "name"), list(zip(SPACES, NAMES, strict=True)), ids=NAMES)
def test_the_name_holds_the_parameters_that_differ_from_the_published_space(space: DARTS, name: str) -> None:
    assert space.name == name
    assert space_of(name) == space
    assert isinstance(space, Relaxable) and isinstance(space, Described)


def test_a_name_with_default_values_gives_the_same_space() -> None:
    assert space_of("darts[connection=false,groups=1]") is space_of("darts")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("channels=0", "0 channels; a DARTS network has 1 to 4096"),
        ("cells=2", "2 cells; a DARTS network has 3 to 1000"),
        ("groups=0", "0 groups"),
        ("groups=13", "13 groups; choose 1 to 12, the number of normal cells in a network of 14 cells"),
        ("cells=8,groups=7", "7 groups; choose 1 to 6"),
        ("connection=1", "expected true or false"),
        ("nodes=4", "has no parameter 'nodes=4'; it takes channels, cells, groups, connection"),
    ],
)
def test_impossible_parameters_are_refused(parameters: str, message: str) -> None:
    with pytest.raises(UnknownSpace) as refused:
        space_of(f"darts[{parameters}]")
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_more_groups_than_a_search_network_has_normal_cells_are_refused() -> None:
    with pytest.raises(WrongSize, match="4 groups; choose 1 to 3, the number of normal cells in a network of 5 cells"):
        DARTS(groups=4).edge_costs("params", CIFAR, channels=16, cells=5)


@given(st.tuples(*(st.integers(0, arity - 1) for arity in CELL_ARITY)))
def test_genes_and_edges_convert_into_each_other(genes: tuple[int, ...]) -> None:
    edges = cell_edges(genes)
    assert [edge.node for edge in edges] == [2, 2, 3, 3, 4, 4, 5, 5]
    assert cell_genes(edges) == cell_genes(edges[::-1]) == genes


def test_every_architecture_is_connected() -> None:
    rng = np.random.default_rng(0)
    assert all(space.connected(sample(space, rng)) for space in SPACES for _ in range(20))


def value(edges: tuple[Edge, ...]) -> list[str]:
    """Return the outputs of the cell as expressions, sorted: a layer that reads all outputs cannot see their order."""
    nodes = {0: "first", 1: "second"}
    for node in range(2, 6):
        nodes[node] = "(" + "+".join(sorted(f"{edge.operation}[{nodes[edge.source]}]" for edge in edges if edge.node == node)) + ")"
    return sorted(nodes[node] for node in range(2, 6))


def orders(space: DARTS, arch: Architecture) -> list[Architecture]:
    normal, reduction = space.edges(arch)
    return [Architecture(space.name, cell_genes(a) + cell_genes(b)) for a in reordered(normal) for b in reordered(reduction)]


def test_all_orders_of_nodes_are_the_same_network_and_have_the_same_canonical_form() -> None:
    space, rng, merged = DARTS(), np.random.default_rng(2), 0
    for _ in range(20):
        arch = sample(space, rng)
        same = orders(space, arch)
        merged += len(set(same)) > 1
        assert arch in same and {space.canonical(each) for each in same} == {space.canonical(arch)}
        assert space.canonical(arch).genes == min(each.genes for each in same)
        assert {space.complexity(each, CIFAR) for each in same} == {space.complexity(arch, CIFAR)}
        assert {tuple(map(tuple, map(value, space.edges(each)))) for each in same} == {tuple(map(tuple, map(value, space.edges(arch))))}
    assert merged > 5


def test_with_grouped_connections_the_order_of_nodes_matters_and_nothing_is_merged() -> None:
    plain, rng, merged = DARTS(connection=True), np.random.default_rng(3), 0
    for _ in range(20):
        genes = sample(plain, rng).genes[:-1]
        for connection in range(len(CONNECTIONS)):
            arch = Architecture(plain.name, (*genes, connection))
            changed = plain.canonical(arch) != arch
            merged += changed
            assert not (changed and CONNECTIONS[connection] in ("conv_1x1_g2", "conv_1x1_g4"))
    assert merged > 5


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_no_neighbour_of_the_identity_has_fewer_parameters(space: DARTS) -> None:
    base = space.complexity(space.identity, CIFAR).params
    for gene, arity in enumerate(space.arity):
        for choice in range(arity):
            genes = (*space.identity.genes[:gene], choice, *space.identity.genes[gene + 1 :])
            assert space.complexity(Architecture(space.name, genes), CIFAR).params >= base


def test_published_architectures_exist_for_all_parameters_of_the_space() -> None:
    plain = DARTS().published
    assert set(plain) == {"darts_v2", "pcdarts_cifar10"}
    for name, arch in DARTS(groups=3, connection=True).published.items():
        normal, reduction = plain[name].genes[:12], plain[name].genes[12:]
        assert arch.genes == (*normal * 3, *reduction, CONNECTIONS.index("conv_1x1"))
        assert DARTS(groups=3, connection=True).complexity(arch, CIFAR) == DARTS().complexity(plain[name], CIFAR)


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
@settings(max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_strongest_inverts_one_hot(space: DARTS, seed: int) -> None:
    arch = sample(space, np.random.default_rng(seed))
    strengths = space.one_hot(arch)
    assert [each.shape for each in strengths] == [(len(cell.edges), len(cell.operations)) for cell in space.searched]
    assert space.strongest(strengths) == arch
    assert [int(each.sum()) for each in strengths] == [8] * (space.groups + 1) + [1] * space.connection
    for kept, each in zip(space.kept_edges(strengths), strengths, strict=True):
        assert kept.tolist() == (each.sum(axis=1) > 0).tolist()


def plainly_strongest(strengths: np.ndarray) -> tuple[int, ...]:
    """Return the genes by DARTS's rule (section 2.4), edge by edge."""
    edges = []
    for node in range(2, 6):
        ranked = []
        for source in range(node):
            row = strengths[EDGES.index((source, node))]
            choice = max(range(1, len(OPERATIONS)), key=lambda operation: (row[operation], -operation))
            ranked.append((-row[choice], source, choice))
        edges += [Edge(source, node, OPERATIONS[choice]) for _, source, choice in sorted(ranked)[:2]]
    return cell_genes(edges)


@pytest.mark.parametrize("values", [3, 10**6])
def test_strongest_follows_the_rule_with_and_without_ties(values: int) -> None:
    space, rng = DARTS(), np.random.default_rng(5)
    for _ in range(50):
        strengths = [rng.integers(values, size=(14, 8)) / values for _ in range(2)]
        for each in strengths:
            each[:, 0] = 2.0  # `none` is strongest everywhere, but never chosen
        arch = space.strongest(strengths)
        assert arch.genes == sum(map(plainly_strongest, strengths), ())
        assert all(type(gene) is int for gene in arch.genes)
        assert [kept.tolist() for kept in space.kept_edges(strengths)] == [kept.tolist() for kept in space.kept_edges(space.one_hot(arch))]


def test_equal_strengths_give_the_lowest_genes() -> None:
    assert DARTS(connection=True).strongest([np.ones((14, 8)), np.ones((14, 8)), np.ones((1, 4))]).genes == (0,) * 25
