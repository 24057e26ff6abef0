"""Classes of identical networks, compared with symbolic expressions and with numerical outputs of small networks."""

import csv
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetnas.spaces.nasbench201 import NASBench201
from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS, SIZE, all_genes

pytestmark = pytest.mark.slow

SPACE = NASBench201()
NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(5)
Term = tuple[Any, ...]
Sum = Counter[Term]  # how often each term is added

# --- The plain reference: the output of a cell as a symbolic sum of terms -----------------------------------------------------------------
#
# A term is ("pooled", times, atom) or ("pool", counted terms). An atom is "input", ("convolution", edge) or ("shift", edge). The shift is
# the constant output of a convolution of zero: the trained shift of its normalisation.


def expression(
    genes: tuple[int, ...], pooling_is_linear: bool, convolution_of_zero_is_zero: bool
) -> tuple[Sum, dict[int, tuple[int, Sum]]]:
    """Return the output, and the operation and argument of each convolution by its edge."""
    nodes: list[Sum] = [Counter({("pooled", 0, "input"): 1}), Counter(), Counter(), Counter()]
    convolutions: dict[int, tuple[int, Sum]] = {}
    for edge, ((source, target), operation) in enumerate(zip(EDGES, genes, strict=True)):
        argument = nodes[source]
        if operation == SKIP:
            nodes[target] += argument
        elif operation in (CONV_1X1, CONV_3X3) and argument:
            convolutions[edge] = (operation, argument)
            nodes[target] += Counter({("pooled", 0, ("convolution", edge)): 1})
        elif operation in (CONV_1X1, CONV_3X3) and not convolution_of_zero_is_zero:
            nodes[target] += Counter({("pooled", 0, ("shift", edge)): 1})
        elif operation == POOL and pooling_is_linear:
            nodes[target] += Counter({pooled_once_more(term): count for term, count in argument.items()})
        elif operation == POOL and argument:
            nodes[target] += Counter({("pool", frozenset(argument.items())): 1})
    return nodes[3], convolutions


def pooled_once_more(term: Term) -> Term:
    _, times, atom = term
    is_constant = isinstance(atom, tuple) and atom[0] == "shift"
    return term if is_constant else ("pooled", times + 1, atom)


def atoms(terms: Sum) -> Iterator[Any]:
    for term in terms:
        if term[0] == "pool":
            yield from atoms(Counter(dict(term[1])))
        else:
            yield term[2]


def live_edges(output: Sum, convolutions: dict[int, tuple[int, Sum]]) -> list[int]:
    """Return the edges whose convolution, or its shift, is part of the output."""
    live: set[int] = set()
    waiting = list(atoms(output))
    while waiting:
        atom = waiting.pop()
        if atom != "input" and atom[1] not in live:
            live.add(atom[1])
            waiting += list(atoms(convolutions[atom[1]][1])) if atom[0] == "convolution" else []
    return sorted(live)


def spelled(terms: Sum, name: dict[int, int]) -> str:
    """Return a sum as text, with the convolutions named by `name`. Equal sums give equal texts."""
    words = []
    for term, count in terms.items():
        if term[0] == "pool":
            word = f"pool({spelled(Counter(dict(term[1])), name)})"
        else:
            atom = "x" if term[2] == "input" else f"{term[2][0]}{name[term[2][1]]}"
            word = f"P{term[1]} {atom}"
        words.append(f"{count} {word}")
    return " + ".join(sorted(words))


def form(genes: tuple[int, ...], pooling_is_linear: bool = True, convolution_of_zero_is_zero: bool = False) -> str:
    """Return a text that is the same for two cells exactly if they are the same network up to the names of their convolutions."""
    output, convolutions = expression(genes, pooling_is_linear, convolution_of_zero_is_zero)
    live = live_edges(output, convolutions)
    spellings = []
    for order in permutations(range(len(live))):
        name = dict(zip(live, order, strict=True))
        defined = [f"{name[e]}:{convolutions[e][0]} {spelled(convolutions[e][1], name)}" for e in live if e in convolutions]
        spellings.append("; ".join([spelled(output, name), *sorted(defined)]))
    return min(spellings)


@cache
def members() -> dict[str, list[int]]:
    """Return the classes by the plain reference: from each form to its indices, ascending."""
    found: dict[str, list[int]] = {}
    for index, genes in enumerate(all_genes().tolist()):
        found.setdefault(form(tuple(genes)), []).append(index)
    return found


def test_canonical_is_the_lowest_index_of_the_symbolic_class() -> None:
    assert len(members()) == 5234
    expected = {index: indices[0] for indices in members().values() for index in indices}
    assert {index: SPACE.index(SPACE.canonical(SPACE.at(index))) for index in range(SIZE)} == expected


def test_the_other_convention_gives_5260_classes() -> None:
    forms = {form(genes, pooling_is_linear=False, convolution_of_zero_is_zero=True) for genes in product(range(5), repeat=6)}
    assert len(forms) == 5260


def test_there_are_5234_classes_and_each_representative_is_its_own_canonical_form() -> None:
    canonical = [SPACE.index(SPACE.canonical(SPACE.at(index))) for index in range(SIZE)]
    assert len(set(canonical)) == 5234
    assert all(canonical[representative] == representative <= index for index, representative in enumerate(canonical))


def cell(text: str) -> int:
    """Return the index of a cell, given a letter for each edge: n(one), s(kip), 1 or 3 (convolutions), p(ool)."""
    return SPACE.index(SPACE.decode("|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*(OPERATIONS["ns13p".index(letter)] for letter in text))))


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("nnnnnn", "nnnnpn", "pooling of zero is zero"),
        ("3nnnsn", "nnn3nn", "a skip connection is the identity"),
        ("3nnnsn", "n3nnns", "it does not matter which node a path goes through"),
        ("31nnss", "13nnss", "a sum has no order"),
        ("3n1nsn", "nnn3nn", "an operation that does not reach the output does not matter"),
        ("3snnpp", "s3nnpp", "a sum of poolings has no order either"),
        ("3ssnnp", "3snnpp", "the pool of a sum is the sum of the pools"),
        ("nn1nns", "nn3nns", "a convolution of zero is its shift, for both kernels"),
    ],
)
def test_these_are_identical_networks(first: str, second: str, why: str) -> None:
    assert SPACE.canonical(SPACE.at(cell(first))) == SPACE.canonical(SPACE.at(cell(second))), why


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("nnn3nn", "nnn1nn", "the kernels differ"),
        ("3nsnss", "33nnss", "one convolution used twice is not two convolutions"),
        ("nnnsnn", "snnssn", "the input once is not the input twice"),
        ("pnnnpn", "nnnpnn", "pooling twice is not pooling once"),
        ("3nnnpn", "pnnn3n", "pooling and a convolution do not commute"),
        ("nnnnnn", "nn3nns", "a convolution of zero adds its shift"),
        ("nn3snn", "nn3sns", "the shift of a convolution of zero matters also beside an input"),
    ],
)
def test_these_are_different_networks(first: str, second: str, why: str) -> None:
    assert SPACE.canonical(SPACE.at(cell(first))) != SPACE.canonical(SPACE.at(cell(second))), why


def test_identical_cells_are_all_connected_or_all_disconnected() -> None:
    connected = SPACE.connected_mask()
    canonical = [SPACE.index(SPACE.canonical(SPACE.at(index))) for index in range(SIZE)]
    assert (connected == connected[canonical]).all()


# --- In numbers ---------------------------------------------------------------------------------------------------------------------------
#
# Small networks computed with numbers: images of 4x4 pixels and 2 channels, ReLU, zero-padded convolution, a trained shift, average pooling
# that does not count the padding. The same few weights are assigned to the convolutions of a cell in all possible ways. Two cells are
# identical if the sets of their outputs are equal.

CHANNELS, SIDE = 2, 4
WINDOWS = [(row, column) for row in range(3) for column in range(3)]


def shifted(images: NDArray[np.float64], row: int, column: int) -> NDArray[np.float64]:
    """Return pixel (row, column) of the 3x3 window around every pixel of zero-padded images, shape (cells, channels, side, side)."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return padded[:, :, row : row + SIDE, column : column + SIDE]


class Weights:
    """An input image, and a 1x1 kernel, a 3x3 kernel and a shift for each of six labels. All cells use the same."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.image = rng.normal(size=(1, CHANNELS, SIDE, SIDE))
        self.kernels = rng.normal(size=(2, 6, 3, 3, CHANNELS, CHANNELS))
        self.kernels[0, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0.0  # a 1x1 kernel is a 3x3 one with a centre only
        self.shifts = rng.normal(size=(6, CHANNELS))
        ones = np.ones((1, 1, SIDE, SIDE))
        self.pixels_in_window = sum(shifted(ones, *place) for place in WINDOWS)

    def convolution(self, kind: int, label: int, images: NDArray[np.float64]) -> NDArray[np.float64]:
        positive = np.maximum(images, 0.0)
        kernel = self.kernels[kind - CONV_1X1, label]
        total = sum(np.einsum("oi,nihw->nohw", kernel[row, column], shifted(positive, row, column)) for row, column in WINDOWS)
        return np.asarray(total + self.shifts[label][None, :, None, None])

    def pooling(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(sum(shifted(images, *place) for place in WINDOWS) / self.pixels_in_window)

    def output(self, genes: tuple[int, ...], label: dict[int, int]) -> NDArray[np.float64]:
        nodes = [self.image, *(np.zeros_like(self.image) for _ in range(3))]
        for edge, ((source, target), operation) in enumerate(zip(EDGES, genes, strict=True)):
            if operation == SKIP:
                nodes[target] = nodes[target] + nodes[source]
            elif operation == POOL:
                nodes[target] = nodes[target] + self.pooling(nodes[source])
            elif operation in (CONV_1X1, CONV_3X3) and edge in label:
                nodes[target] = nodes[target] + self.convolution(operation, label[edge], nodes[source])
        return nodes[3].ravel()

    def computable(self, index: int) -> NDArray[np.float64]:
        """Return the outputs of the cell for all labellings of its live convolutions, sorted, shape (labellings, values)."""
        genes = tuple(all_genes()[index].tolist())
        live = live_edges(*expression(genes, pooling_is_linear=True, convolution_of_zero_is_zero=False))
        outputs = [self.output(genes, dict(zip(live, order, strict=True))) for order in permutations(range(len(live)))]
        return np.array(sorted(outputs, key=lambda output: np.round(output, 6).tolist()))


def with_at_most(convolutions: int) -> list[int]:
    genes = all_genes()
    return np.flatnonzero(((genes == CONV_1X1) | (genes == CONV_3X3)).sum(axis=1) <= convolutions).tolist()


def test_numerical_outputs_agree_on_which_networks_are_identical() -> None:
    weights, rng = Weights(seed=0), np.random.default_rng(1)
    canonical = np.array([SPACE.index(SPACE.canonical(SPACE.at(index))) for index in range(SIZE)])
    small = with_at_most(3)
    chosen = rng.choice(np.unique(canonical[small]), size=120, replace=False)
    computed = {int(index): weights.computable(int(index)) for index in chosen}
    for representative, outputs in computed.items():
        alike = [int(index) for index in np.flatnonzero(canonical == representative) if index in set(small)]
        for index in rng.permutation(alike)[:4]:
            found = weights.computable(int(index))
            assert found.shape == outputs.shape and np.allclose(found, outputs, rtol=0, atol=1e-9), (representative, index)
    for one, first in computed.items():
        for other, second in computed.items():
            assert one == other or first.shape != second.shape or not np.allclose(first, second, rtol=0, atol=1e-6), (one, other)


# --- The benchmark's own file -------------------------------------------------------------------------------------------------------------


def published_strings(real_data: Path) -> list[str]:
    (path,) = (real_data / "mirror" / "v-tao").glob("*/*/nats_bench.csv")
    with path.open(newline="") as lines:
        return [row["UniqueString"] for row in csv.DictReader(lines)]


def test_the_published_classes_merge_different_networks(real_data: Path) -> None:
    published = published_strings(real_data)
    assert len(set(published)) == 6466
    # Cell 0 adds two 1x1 convolutions. Other cells with the same string use one convolution along two paths.
    alike = [index for index, text in enumerate(published) if text == published[0]]
    different = [index for index in alike if SPACE.canonical(SPACE.at(index)) != SPACE.canonical(SPACE.at(0))]
    assert different
    weights = Weights(seed=0)
    own = weights.computable(0)
    for index in different:
        other = weights.computable(index)
        assert own.shape != other.shape or not np.allclose(own, other, rtol=0, atol=1e-6)


def test_the_number_of_published_classes_with_different_networks(real_data: Path) -> None:
    """Different networks are counted by the convention with 5,260 classes, which is the closest one to the published strings."""
    published = published_strings(real_data)
    forms: dict[str, set[str]] = {}
    for text, genes in zip(published, all_genes().tolist(), strict=True):
        forms.setdefault(text, set()).add(form(tuple(genes), pooling_is_linear=False, convolution_of_zero_is_zero=True))
    mixed = {text for text, found in forms.items() if len(found) > 1}
    assert published[0] in mixed
    assert (len(mixed), sum(text in mixed for text in published)) == (430, 1786)
