"""Genotypes as text: all published forms are read, one form is written, and any other text is refused with the fault and its position."""

import pytest

from budgetnas.spaces.darts import DARTS
from budgetnas.spaces.darts.published import GENOTYPES
from budgetnas.spaces.space import InvalidArchitecture

SPACE = DARTS()
PUBLISHED = GENOTYPES["darts_v2"]
WRITTEN = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('skip_connect', 2)], reduce_concat=range(2, 6))"
)
GENES = (0, 3, 3, 0, 3, 3, 0, 2, 3, 1, 2, 5, 0, 0, 0, 2, 0, 2, 1, 0, 2, 4, 0, 2)  # worked out by hand


def test_a_published_genotype_has_the_expected_genes_and_is_written_in_order() -> None:
    arch = SPACE.decode(PUBLISHED)
    assert arch.genes == GENES
    assert SPACE.encode(arch) == WRITTEN
    assert SPACE.decode(WRITTEN) == arch


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN.replace("range(2, 6)", "[2, 3, 4, 5]"),
        WRITTEN.replace("range(2, 6)", "range( 2,6 )", 1),
        WRITTEN.replace("'", '"'),
        WRITTEN.replace(" ", ""),
        WRITTEN.replace(", ", ",\n    ").replace("(", " ( "),
        WRITTEN.replace("('skip_connect', 0), ('dil_conv_3x3', 2)]", "('dil_conv_3x3', 2), ('skip_connect', 0)]"),
        f"Genotype({WRITTEN[WRITTEN.index('reduce=') : -1]}, {WRITTEN[9 : WRITTEN.index(', reduce=')]})",
        f"\t{WRITTEN}\n",
    ],
    ids=["lists", "tight", "double quotes", "no white space", "much white space", "pairs swapped", "parts swapped", "margins"],
)
def test_other_forms_of_the_text_are_read(text: str) -> None:
    assert text != WRITTEN
    assert SPACE.decode(text).genes == GENES


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (WRITTEN, "", "the end of the text at character 1; expected 'Genotype'"),
        ("Genotype", "Genotipo", "'Genotipo' at character 1; expected 'Genotype'"),
        (", ('skip_connect', 2)], reduce_concat=range(2, 6))", "", "the end of the text at character 367; expected ','"),
        (
            "('sep_conv_3x3', 0)",
            "('sep_conv_7x7', 0)",
            "unknown operation 'sep_conv_7x7' for node 2 of normal, at character 19; choose one of",
        ),
        ("('sep_conv_3x3', 0)", "('none', 0)", "unknown operation 'none' for node 2 of normal"),
        ("('sep_conv_3x3', 0)", "(sep_conv_3x3, 0)", "expected an operation in quotation marks for node 2 of normal"),
        ("('sep_conv_3x3', 0)", "('sep_conv_3x3', 2)", "'2' at character 35; expected a predecessor of node 2 of normal, 0 to 1"),
        ("('sep_conv_3x3', 0)", "('sep_conv_3x3', -1)", "'-' at character 35 is not allowed in a genotype"),
        ("('sep_conv_3x3', 0)", "('sep_conv_3x3', 00)", "'0' at character 36; expected ')'"),
        ("('sep_conv_3x3', 0)", "('sep_conv_3x3', 0.0)", "'.' at character 36 is not allowed in a genotype"),
        ("('sep_conv_3x3', 0)", "('sep_conv_3x3', ٠)", "is not allowed in a genotype"),
        ("('sep_conv_3x3', 0)", "('sep_conv_3x3', 1)", "node 2 of normal has the predecessor 1 twice; choose two different ones"),
        ("('dil_conv_3x3', 2)]", "('dil_conv_3x3', 2), ('dil_conv_3x3', 2)]", "expected ']'"),
        ("('dil_conv_3x3', 2)]", "('dil_conv_3x3', 2),]", "expected ']'"),
        ("range(2, 6)", "range(2, 5)", "'5' at character"),
        ("range(2, 6)", "range(2, 6, 1)", "',' at character"),
        ("range(2, 6)", "[2, 3, 4]", "']' at character"),
        ("range(2, 6)", "[2, 3, 5, 4]", "expected '4'"),
        ("range(2, 6)", "list(range(2, 6))", "'list' at character"),
        ("normal_concat", "normal", "'normal' at character"),
        ("normal_concat", "normal_concats", "expected one of the parts normal_concat, reduce, reduce_concat"),
        ("reduce_concat=range(2, 6))", "reduce_concat=range(2, 6)) + 1", "'+' at character"),
        ("reduce_concat=range(2, 6))", "reduce_concat=range(2, 6)), 1", "expected the end"),
        ("reduce_concat=range(2, 6))", "reduce_concat=range(2, 6), connection='conv_1x1')", "expected ')'"),
        ("range(2, 6)", "__import__('os').system('true')", "is not allowed in a genotype"),
        ("[(", "[*(", "'*' at character 18 is not allowed in a genotype"),
    ],
)
def test_any_other_text_is_refused_with_the_fault_and_its_position(old: str, new: str, message: str) -> None:
    text = WRITTEN.replace(old, new, 1)
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.decode(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_a_genotype_cut_off_anywhere_is_refused() -> None:
    for end in range(len(WRITTEN)):
        with pytest.raises(InvalidArchitecture):
            SPACE.decode(WRITTEN[:end])


@pytest.mark.parametrize("text", ["(" * 1_000_000, " " * 1_000_000, WRITTEN * 2_000, "'" * 3_000, "9" * 5_000])
def test_a_long_text_is_refused_in_a_short_line(text: str) -> None:
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.decode(text)
    assert len(str(refused.value)) < 400


def test_the_text_of_a_space_with_groups_and_a_connection() -> None:
    space = DARTS(groups=2, connection=True)
    normal, reduction = WRITTEN[9 : WRITTEN.index(", reduce=")], WRITTEN[WRITTEN.index("reduce=") : -1]
    text = (
        f"Genotype({normal.replace('normal', 'normal_0')}, {normal.replace('normal', 'normal_1')}, {reduction}, connection='conv_1x1_g2')"
    )
    arch = space.decode(text)
    assert arch.genes == (*GENES[:12], *GENES, 2)
    assert space.encode(arch) == text
    assert space.connection_of(arch) == "conv_1x1_g2"
    for other in (SPACE, DARTS(groups=2), DARTS(connection=True), DARTS(groups=3, connection=True)):
        with pytest.raises(InvalidArchitecture):
            other.decode(text)
    with pytest.raises(InvalidArchitecture, match="unknown operation 'conv_1x1_g3' for the connection"):
        space.decode(text.replace("_g2", "_g3"))
