"""The cells of nasbench201: their text, errors in a text, connected cells, neighbours."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS, SIZE
from budgetnas.spaces.space import Architecture, InvalidArchitecture, neighbours

SPACE = NASBench201()
CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


def test_the_genes_and_the_text_of_a_cell() -> None:
    assert SPACE.decode(CELL) == Architecture("nasbench201", (3, 1, 0, 4, 0, 2))
    assert SPACE.encode(Architecture("nasbench201", (3, 1, 0, 4, 0, 2))) == CELL


def test_every_cell_has_a_unique_text_that_decodes_to_it() -> None:
    texts = {SPACE.encode(Architecture("nasbench201", genes)): genes for genes in product(range(5), repeat=6)}
    assert len(texts) == SIZE == 15_625
    assert all(SPACE.decode(text).genes == genes for text, genes in texts.items())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "'' has 1 node(s)"),
        ("cell", "'cell' has 1 node(s)"),
        ("|none~0|+|none~0|none~1|", "has 2 node(s) between '+'; a nasbench201 cell has 3"),
        (CELL + "+|none~0|none~1|none~2|none~3|", "has 4 node(s)"),
        (CELL.replace("+", ""), "has 1 node(s)"),
        ("nor_conv_3x3~0+|none~0|none~1|+|none~0|none~1|none~2|", "node 1, 'nor_conv_3x3~0', does not begin and end with '|'"),
        (CELL[:-1], "node 3, '|avg_pool_3x3~0|none~1|nor_conv_1x1~2', does not begin and end"),
        ("|none~0|+|+|none~0|none~1|none~2|", "node 2, '|', does not begin and end"),
        ("||+|none~0|none~1|+|none~0|none~1|none~2|", "edge '' of node 1 is not of the form OPERATION~0"),
        ("|none~0|+|none~0|+|none~0|none~1|none~2|", "node 2, '|none~0|', has 1 edge(s), not 2"),
        (CELL.replace("none~1|+", "none~1|none~2|+"), "has 3 edge(s), not 2"),
        (CELL.replace("skip_connect~0", "skip_connect~1"), "edge 'skip_connect~1' of node 2 is not of the form OPERATION~0"),
        (CELL.replace("~2", "~3"), "edge 'nor_conv_1x1~3' of node 3 is not of the form OPERATION~2"),
        (CELL.replace("~2", ""), "edge 'nor_conv_1x1' of node 3"),
        (CELL.replace("avg_pool", "max_pool"), "unknown operation 'max_pool_3x3' on the edge from node 0 to node 3"),
        (CELL.replace("nor_conv_1x1", "None"), "unknown operation 'None' on the edge from node 2 to node 3"),
        (CELL.replace("|none~1|+", "|zero~1|+"), "unknown operation 'zero' on the edge from node 1 to node 2"),
        (CELL.replace("none~1", "none ~1"), "edge 'none ~1' of node 2"),
    ],
)
def test_the_error_names_the_fault_and_its_position(text: str, wrong: str) -> None:
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.decode(text)
    assert wrong in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (
        ("as in |" in str(refused.value))
        or ("looks like |" in str(refused.value))
        or "choose one of none, skip_connect" in str(refused.value)
    )


def test_the_error_names_the_first_of_two_equal_faults() -> None:
    text = CELL.replace("none", "zero")
    with pytest.raises(InvalidArchitecture, match="'zero' on the edge from node 1 to node 2"):
        SPACE.decode(text)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["none", "nor_conv_3x3", "nor_conv_7x7", "", "x y"]), min_size=6, max_size=6),
    st.sampled_from(["|", "+", "~", ""]),
)
def test_a_text_with_wrong_parts_is_refused(operations: list[str], separator: str) -> None:
    a, b, c, d, e, f = operations
    text = f"|{a}~0|{separator}|{b}~0|{c}~1|{separator}|{d}~0|{e}~1|{f}~2|"
    if separator == "+" and all(operation in OPERATIONS for operation in operations):
        assert SPACE.encode(SPACE.decode(text)) == text
    else:
        with pytest.raises(InvalidArchitecture):
            SPACE.decode(text)


def reaches_output(genes: tuple[int, ...]) -> bool:
    """Return whether a path leads from input to output; a plain reference that follows the edges."""
    reached, waiting = {0}, [0]
    while waiting:
        node = waiting.pop()
        for (source, target), gene in zip(EDGES, genes, strict=True):
            if source == node and OPERATIONS[gene] != "none" and target not in reached:
                reached.add(target)
                waiting.append(target)
    return 3 in reached


def test_341_cells_have_no_path_from_input_to_output() -> None:
    connected = {genes: SPACE.connected(Architecture("nasbench201", genes)) for genes in product(range(5), repeat=6)}
    assert all(found is reaches_output(genes) for genes, found in connected.items())
    assert sum(not found for found in connected.values()) == 341


def test_every_cell_has_24_neighbours() -> None:
    for index in range(0, SIZE, 151):
        around = list(neighbours(SPACE, SPACE.at(index)))
        assert len(around) == len(set(around)) == 24
        assert SPACE.at(index) not in around


def test_the_identity_is_the_cell_of_skip_connections() -> None:
    skips = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
    assert SPACE.encode(SPACE.identity) == skips
