"""The space of NAS-Bench-201: its cells as genes, string and index, their networks and costs."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.nasbench201 import complexity as closed_form
from budgetnas.spaces.nasbench201 import relaxed, small_network
from budgetnas.spaces.nasbench201.identity import canonical_indices
from budgetnas.spaces.nasbench201.order import EDGES, OPERATIONS, SIZE, all_genes
from budgetnas.spaces.space import (
    Architecture,
    Complexity,
    Floats,
    InvalidArchitecture,
    SearchedCell,
    Supernet,
    SupernetOptions,
    check_genes,
)
from budgetnas.spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

# The tasks that use another network than the benchmark's.
_OTHER_NETWORKS = {small_network.DIGITS201: small_network.complexities}
_OTHER_CYCLES = {small_network.DIGITS201: small_network.cycles}
_GENE = {operation: gene for gene, operation in enumerate(OPERATIONS)}
_CELL = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")
_LONGEST = 100  # characters, a little more than the longest cell
_EXAMPLE = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


@cache
def connected_mask() -> NDArray[np.bool_]:
    """Return which cells have a path from input to output, shape (15625,), by published index. 341 cells have no path."""
    edge = {pair: all_genes()[:, position] != 0 for position, pair in enumerate(EDGES)}
    one = edge[0, 1]
    two = edge[0, 2] | (edge[1, 2] & one)
    three: NDArray[np.bool_] = edge[0, 3] | (edge[1, 3] & one) | (edge[2, 3] & two)
    three.setflags(write=False)
    return three


class NASBench201:
    """All 15,625 cells. A gene is the operation of an edge; the edges have the order of the published string."""

    name = "nasbench201"
    arity = (len(OPERATIONS),) * len(EDGES)
    size = SIZE
    positions = EDGES
    operations = OPERATIONS
    tabled = ("cifar10", "cifar100", "ImageNet16-120", "digits201", "closed-form")

    @property
    def identity(self) -> Architecture:
        """The cell with a skip connection on every edge."""
        return Architecture(self.name, (_GENE["skip_connect"],) * len(EDGES))

    def encode(self, arch: Architecture) -> str:
        """Return the published string, such as `|nor_conv_3x3~0|+|none~0|...`."""
        check_genes(self, arch)
        a, b, c, d, e, f = (OPERATIONS[gene] for gene in arch.genes)
        return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"

    def decode(self, text: str) -> Architecture:
        """Return the cell of a published string. Raises InvalidArchitecture, which names the fault and its position."""
        match = _CELL.fullmatch(text.strip())
        if match is None:
            _explain(text)
        try:
            return Architecture(self.name, tuple([_GENE[operation] for operation in match.groups()]))
        except KeyError as unknown:
            name = unknown.args[0]
            position = match.groups().index(name)
            source, target = EDGES[position]
            raise InvalidArchitecture(
                f"unknown operation {_quoted(name)} on the edge from node {source} to node {target}; choose one of {', '.join(OPERATIONS)}"
            ) from None

    def index(self, arch: Architecture) -> int:
        """Return the published index, 0 to 15,624. Raises InvalidArchitecture if `arch` is not a cell of the space."""
        try:
            index = self._index_of[arch.genes]
        except (AttributeError, KeyError, TypeError):
            check_genes(self, arch)
            raise
        if arch.space != self.name:
            check_genes(self, arch)
        return index

    def at(self, index: int) -> Architecture:
        """Return the cell with a published index. Raises InvalidArchitecture unless the index is 0 to 15,624."""
        try:
            position = operator.index(index)
        except TypeError:
            raise InvalidArchitecture(f"index {index!r} is not a whole number; choose 0 to {SIZE - 1}") from None
        if not 0 <= position < SIZE:
            # Python refuses to print very long numbers.
            shown = position if abs(position) < 10**18 else "of more than 18 digits"
            raise InvalidArchitecture(f"index {shown} is outside nasbench201; choose 0 to {SIZE - 1}")
        return self._architectures[position]

    def connected(self, arch: Architecture) -> bool:
        """Return whether a path of edges other than `none` leads from input to output."""
        return self._connected[self.index(arch)]

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the cell with the lowest published index of all cells with an identical network (`identity.py`)."""
        return self.at(int(canonical_indices()[self.index(arch)]))

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs of the task's network: the benchmark's, or the small one of digits201."""
        index = self.index(arch)
        params, macs = self.complexities(task)
        return Complexity(int(params[index]), int(macs[index]))

    def complexities(self, task: Task) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return parameters and MACs of the networks of all cells, each of shape (15625,), by published index."""
        other = _OTHER_NETWORKS.get(task)
        return other() if other else closed_form.complexities(task)

    def cycles(self, task: Task) -> NDArray[np.int64]:
        """Return the CPU cycles of the networks of all cells by DEff-ARTS's model, shape (15625,), by published index."""
        other = _OTHER_CYCLES.get(task)
        return other() if other else closed_form.cycles(task)

    def figures(self, arch: Architecture, task: Task) -> Mapping[str, float]:
        """Return `cycles`, the CPU cycles of the task's network."""
        return {"cycles": int(self.cycles(task)[self.index(arch)])}

    def network(self, arch: Architecture, task: Task, *, auxiliary: bool = False) -> nn.Module:
        """Return the task's untrained network; it has no auxiliary head.

        Raises:
            IndivisibleImages: The side of the images is not a multiple of 4.
        """
        from budgetnas.spaces.nasbench201.network import network

        check_genes(self, arch)
        return network(arch.genes, task)

    @property
    def searched(self) -> tuple[SearchedCell, ...]:
        """The one cell, with all operations on its six edges."""
        return (SearchedCell("cell", EDGES, OPERATIONS),)

    def strongest(self, strengths: Sequence[Floats]) -> Architecture:
        """Return the cell with the strongest operation on every edge, which may be `none`. Ties go to the lowest number."""
        return Architecture(self.name, tuple(np.argmax(strengths[0], axis=1).tolist()))

    def kept_edges(self, strengths: Sequence[Floats]) -> list[NDArray[np.bool_]]:
        """Return True for all six edges: every cell has all of them, since `none` is an operation."""
        return [np.ones(len(EDGES), np.bool_)]

    def one_hot(self, arch: Architecture) -> list[Floats]:
        """Return 1 for the operations of the cell and 0 elsewhere, shape (6, 5)."""
        check_genes(self, arch)
        return [np.eye(len(OPERATIONS))[list(arch.genes)]]

    def edge_costs(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> list[Floats]:
        """Return the cost that each operation adds on each edge, summed over all cells, shape (6, 5); the same on every edge.

        Args:
            resource: `params`, `macs` or `cycles`.
            task: The dataset's image shape and number of classes.
            channels: Initial channels of the network; by default those of the task's network.
            cells: Cells per stage; by default those of the task's network.

        Raises:
            UnknownCost: The resource is not a sum over edges.
        """
        return [np.tile(relaxed.operation_costs(resource, relaxed.Size.of(task, channels, cells)), (len(EDGES), 1))]

    def fixed_cost(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> float:
        """Return the cost of everything but the operations of the cells. Raises UnknownCost as `edge_costs` does."""
        return relaxed.fixed_cost(resource, relaxed.Size.of(task, channels, cells))

    def supernet(self, task: Task, options: SupernetOptions) -> Supernet:
        """Return the untrained search network (`supernet.py`)."""
        from budgetnas.spaces.nasbench201 import supernet

        return supernet.Supernet(self, task, options)

    def connected_mask(self) -> NDArray[np.bool_]:
        """Return which cells are connected, shape (15625,), by published index."""
        return connected_mask()

    @cached_property
    def _index_of(self) -> dict[tuple[int, ...], int]:
        # A dictionary, because arithmetic on a gene out of range could give the index of another cell.
        return {tuple(genes): index for index, genes in enumerate(all_genes().tolist())}

    @cached_property
    def _connected(self) -> list[bool]:
        connected: list[bool] = connected_mask().tolist()
        return connected

    @cached_property
    def _architectures(self) -> list[Architecture]:
        return [Architecture(self.name, tuple(genes)) for genes in all_genes().tolist()]


def _explain(text: str) -> NoReturn:
    """Raise InvalidArchitecture, which names the first place where `text` differs from the published form."""
    nodes = text.strip().split("+")
    if len(nodes) != 3:
        raise InvalidArchitecture(f"{_quoted(text)} has {len(nodes)} node(s) between '+'; a nasbench201 cell has 3, as in {_EXAMPLE}")
    for number, node in enumerate(nodes, start=1):
        if not (node.startswith("|") and node.endswith("|") and len(node) > 1):
            raise InvalidArchitecture(f"node {number}, {_quoted(node)}, does not begin and end with '|'; a cell looks like {_EXAMPLE}")
        edges = node[1:-1].split("|")
        if len(edges) != number:
            raise InvalidArchitecture(
                f"node {number}, {_quoted(node)}, has {len(edges)} edge(s), not {number}; a cell looks like {_EXAMPLE}"
            )
        for source, edge in enumerate(edges):
            if not re.fullmatch(rf"\w+~{source}", edge):
                expected = f"is not of the form OPERATION~{source}; a cell looks like {_EXAMPLE}"
                raise InvalidArchitecture(f"edge {_quoted(edge)} of node {number} {expected}")
    raise InvalidArchitecture(f"{_quoted(text)} is not a nasbench201 cell; a cell looks like {_EXAMPLE}")


def _quoted(text: str) -> str:
    """Return `text` in quotes, on one line and not longer than about a cell."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
