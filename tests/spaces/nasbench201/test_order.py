"""The published order: a few cells, and all cells if the published table is on this machine."""

import csv
from pathlib import Path

import numpy as np
import pytest

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS, SIZE, all_genes, code_at

SPACE = NASBench201()
PUBLISHED = {
    0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    1: "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    2: "|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|",
    857: "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    6111: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    9930: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    10676: "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    15624: "|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|",
}


@pytest.mark.parametrize(("index", "text"), PUBLISHED.items())
def test_published_cells_have_their_published_index(index: int, text: str) -> None:
    assert SPACE.encode(SPACE.at(index)) == text
    assert SPACE.index(SPACE.decode(text)) == index


def test_all_strings_of_the_published_table_have_our_order(real_data: Path) -> None:
    (path,) = (real_data / "mirror" / "v-tao").glob("*/*/nats_bench.csv")
    with path.open(newline="") as lines:
        published = [row["ArchitectureString"] for row in csv.DictReader(lines)]
    assert [SPACE.encode(SPACE.at(index)) for index in range(SIZE)] == published
    assert [SPACE.index(SPACE.decode(text)) for text in published] == list(range(SIZE))


def test_genes_are_the_digits_of_the_codes() -> None:
    genes = all_genes()
    assert genes.shape == (SIZE, len(EDGES))
    assert sorted(code_at()) == list(range(SIZE))
    for index in range(0, SIZE, 97):
        assert int("".join(map(str, genes[index])), base=len(OPERATIONS)) == code_at()[index]


def test_the_genes_cannot_be_overwritten() -> None:
    with pytest.raises(ValueError, match="read-only"):
        all_genes()[0, 0] = 1


def test_every_operation_is_on_every_edge_equally_often() -> None:
    assert all((np.bincount(column) == SIZE // len(OPERATIONS)).all() for column in all_genes().T)
