"""The DARTS space: every pair of cells (with groups, every set of cells) as genes, as text, and as costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from budgetnas.spaces.cycles import PAPER_COSTS
from budgetnas.spaces.darts import complexity as closed_form
from budgetnas.spaces.darts import genotype, relaxed
from budgetnas.spaces.darts.layout import LARGE_SIZE, SMALL_SIZE, Size, size_for
from budgetnas.spaces.darts.order import (
    CELL_ARITY,
    CONNECTIONS,
    EDGE_NUMBER,
    EDGES,
    GENES_A_CELL,
    NODES,
    OPERATIONS,
    PLAIN_CONNECTION,
    Edge,
    cell_edges,
    cell_genes,
)
from budgetnas.spaces.darts.published import GENOTYPES
from budgetnas.spaces.darts.symmetry import canonical_genes
from budgetnas.spaces.space import Architecture, Complexity, Floats, SearchedCell, Supernet, SupernetOptions, check_genes
from budgetnas.spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

_UNFILLED_NORMAL = cell_genes([Edge(source, node, "skip_connect") for node in NODES for source in (0, 1)])
_UNFILLED_REDUCTION = cell_genes([Edge(source, node, "max_pool_3x3") for node in NODES for source in (0, 1)])


@dataclass(frozen=True)
class DARTS:
    """A normal and a reduction cell of four nodes with two edges each, stacked; optionally groups of normal cells and a connection cell.

    channels, cells: of the evaluation network; None is 36 and 20, for images beyond 64 pixels 48 and 14.
    groups: of normal cells, each with an architecture of its own (RC-DARTS's multi-level search).
    connection: whether the connections before cells are searched too (RC-DARTS's connection cell).

    Genes: for each cell, normal ones first, for each node 2 to 5 the pair of its predecessors (lexicographic), the operation of the lower
    one, that of the higher one (0 is max_pool_3x3, as `none` is no choice); at last that of the connection.
    """

    channels: int | None = None
    cells: int | None = None
    groups: int = 1
    connection: bool = False

    def __post_init__(self) -> None:
        # Wrong numbers are refused here rather than at the first question; where the size depends on the task, it must do for both.
        for channels, cells in (SMALL_SIZE, LARGE_SIZE):
            Size(channels if self.channels is None else self.channels, cells if self.cells is None else self.cells, self.groups)

    @cached_property
    def name(self) -> str:
        """`darts`, with what differs from the published space: `darts[cells=8,groups=3]`."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default}
        return "darts" + (f"[{','.join(f'{key}={str(given[key]).lower()}' for key in sorted(given))}]" if given else "")

    @cached_property
    def arity(self) -> tuple[int, ...]:
        """Number of choices of every gene: 1,037,664,180 for the twelve of a cell."""
        return CELL_ARITY * (self.groups + 1) + ((len(CONNECTIONS),) if self.connection else ())

    @property
    def identity(self) -> Architecture:
        """The network without a searched operation that has parameters: skip connections from the inputs to all nodes of normal cells.

        In a reduction cell, where a skip connection has parameters, max pooling; of connections, that with the fewest parameters.
        """
        genes = _UNFILLED_NORMAL * self.groups + _UNFILLED_REDUCTION
        return Architecture(self.name, genes + ((CONNECTIONS.index("conv_1x1_g4"),) if self.connection else ()))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*(("normal",) if self.groups == 1 else tuple(f"normal_{group}" for group in range(self.groups))), "reduce")

    @cached_property
    def published(self) -> Mapping[str, Architecture]:
        """Architectures of the literature by name. With groups, each has the normal cell; a connection is `conv_1x1`, DARTS's own."""
        found = {}
        for name, text in GENOTYPES.items():
            (normal, reduction), _ = genotype.read(text, ("normal", "reduce"), connection=False)
            genes = cell_genes(normal) * self.groups + cell_genes(reduction)
            found[name] = Architecture(self.name, genes + ((PLAIN_CONNECTION,) if self.connection else ()))
        return MappingProxyType(found)

    def edges(self, arch: Architecture) -> tuple[tuple[Edge, ...], ...]:
        """Return the eight edges of every cell, by node, then by source: of the normal cells by group, then of the reduction cell."""
        check_genes(self, arch)
        starts = range(0, (self.groups + 1) * GENES_A_CELL, GENES_A_CELL)
        return tuple(cell_edges(arch.genes[start : start + GENES_A_CELL]) for start in starts)

    def connection_of(self, arch: Architecture) -> str:
        """Return the operation that stands before the inputs of every cell; `conv_1x1`, DARTS's own, where it is not searched."""
        check_genes(self, arch)
        return CONNECTIONS[arch.genes[-1]] if self.connection else "conv_1x1"

    def size(self, task: Task, channels: int | None = None, cells: int | None = None) -> Size:
        """Return the size of the evaluation network for a task, or of another; `WrongSize` for one that cannot be."""
        return size_for(task, self.channels if channels is None else channels, self.cells if cells is None else cells, self.groups)

    def encode(self, arch: Architecture) -> str:
        """Return the published text form, `Genotype(normal=[...], ...)`; with groups or a connection, its extension in `genotype.py`."""
        cells = self.edges(arch)
        return genotype.write(self._names, cells, self.connection_of(arch) if self.connection else None)

    def decode(self, text: str) -> Architecture:
        """Return the architecture that a genotype names; `InvalidArchitecture` says what is wrong and where."""
        cells, connection = genotype.read(text, self._names, self.connection)
        genes = sum(map(cell_genes, cells), ())
        return Architecture(self.name, genes if connection is None else (*genes, CONNECTIONS.index(connection)))

    def connected(self, arch: Architecture) -> bool:
        """Return True: `none` is no choice, so every node of every architecture depends on the input."""
        check_genes(self, arch)
        return True

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the member with the least genes of the class of networks that differ in the order of their nodes (`symmetry.py`)."""
        if self.connection_of(arch) not in ("conv_1x1", "dil_conv_3x3"):
            return Architecture(self.name, tuple(int(gene) for gene in arch.genes))
        genes = sum(map(canonical_genes, self.edges(arch)), ())
        return Architecture(self.name, (*genes, *(int(gene) for gene in arch.genes[len(genes) :])))

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs of the evaluation network; `IndivisibleWidth` for a connection that it cannot have."""
        params, macs, _ = self._costs(arch, task)
        return Complexity(params, macs)

    def figures(self, arch: Architecture, task: Task) -> Mapping[str, float]:
        """Return the parameters with the auxiliary head, and the CPU cycles of the whole network (`complexity.py`)."""
        params, _, cycles = self._costs(arch, task)
        return {"params_with_auxiliary": params + closed_form.auxiliary_params(task, self.size(task)), "cycles": cycles}

    def paper_cycles(self, arch: Architecture) -> int:
        """Return the compute cost of the cells as DEff-ARTS publishes it: fixed 32x32x3 representations, connections left out."""
        return sum(PAPER_COSTS[edge.operation] for cell in self.edges(arch) for edge in cell)

    def _costs(self, arch: Architecture, task: Task) -> tuple[int, ...]:
        size, total = self.size(task), np.zeros(len(closed_form.RESOURCES), np.int64)
        table = closed_form.edge_costs(task, size)
        for cell, edges in enumerate(self.edges(arch)):
            for edge in edges:
                total += table[cell, EDGE_NUMBER[edge.source, edge.node], OPERATIONS.index(edge.operation)]
        total += closed_form.connection_costs(self.connection_of(arch), task, size) + closed_form.rest(task, size)
        return tuple(total.tolist())

    def network(self, arch: Architecture, task: Task, *, auxiliary: bool = False) -> nn.Module:
        """Return the untrained evaluation network, for the task's images; with `auxiliary` it has `with_auxiliary(images)`.

        Raises `NoAuxiliaryHead` for images too small for one, `IndivisibleWidth` for a connection that the network cannot have.
        """
        from budgetnas.spaces.darts.network import build

        return build(self.edges(arch), self.connection_of(arch), self.size(task), task, auxiliary)

    def supernet(self, task: Task, options: SupernetOptions) -> Supernet:
        """Return the untrained search network."""
        from budgetnas.spaces.darts import supernet

        return supernet.Supernet(self, self.groups, self.connection, task, options)

    @cached_property
    def searched(self) -> tuple[SearchedCell, ...]:
        """The normal cells by group, the reduction cell, the connection cell: `normal` or `normal 0`, ..., `reduce`, `connection`."""
        cells = tuple(SearchedCell(name.replace("_", " "), EDGES, OPERATIONS, never_kept=("none",)) for name in self._names)
        return (*cells, *((SearchedCell("connection", ((0, 1),), CONNECTIONS),) if self.connection else ()))

    def strongest(self, strengths: Sequence[Floats]) -> Architecture:
        """Return the architecture of the two strongest predecessors a node, each by its strongest operation; `none` is left out."""
        genes = sum((relaxed.strongest_genes(each) for each in strengths[: self.groups + 1]), ())
        return Architecture(self.name, (*genes, *(int(np.argmax(each[0])) for each in strengths[self.groups + 1 :])))

    def kept_edges(self, strengths: Sequence[Floats]) -> list[NDArray[np.bool_]]:
        """Return which edges that architecture has, shape (14,) a cell, (1,) for the connection."""
        kept = [relaxed.kept(each) for each in strengths[: self.groups + 1]]
        return [*kept, *(np.ones(1, np.bool_) for _ in strengths[self.groups + 1 :])]

    def one_hot(self, arch: Architecture) -> list[Floats]:
        """Return strengths of 1 on the operations that `arch` has and 0 elsewhere, shape (14, 8) a cell, (1, 4) for the connection."""
        found = [relaxed.one_hot(edges) for edges in self.edges(arch)]
        return [*found, *([np.eye(len(CONNECTIONS))[[int(arch.genes[-1])]]] if self.connection else [])]

    def edge_costs(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> list[Floats]:
        """Return what operations on edges add to `params`, `macs` or `cycles` over all cells of a kind, shape (14, 8); connection (1, 4).

        `paper_cycles` are those of DEff-ARTS's search (table 2), for any size: of one cell a kind, `none` 999,999, separable convolutions
        twice, where `paper_cycles(arch)` counts them once.
        `UnknownCost` for another resource, `IndivisibleWidth` where the network could not have one of the connections.
        """
        if resource == relaxed.PAPER_CYCLES:
            of_connection = [np.zeros((1, len(CONNECTIONS)))] if self.connection else []
            return [*(relaxed.paper_edge_costs() for _ in range(self.groups + 1)), *of_connection]
        number, size = relaxed.resource_number(resource), self.size(task, channels, cells)
        tables = [*closed_form.edge_costs(task, size), *([closed_form.connection_table(task, size)] if self.connection else [])]
        return [table[..., number].astype(np.float64) for table in tables]

    def fixed_cost(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> float:
        """Return the resource of stem and classifier, and of the connections where they are not searched."""
        if resource == relaxed.PAPER_CYCLES:
            return 0.0
        number, size = relaxed.resource_number(resource), self.size(task, channels, cells)
        fixed = closed_form.rest(task, size)
        return float((fixed if self.connection else fixed + closed_form.connection_costs("conv_1x1", task, size))[number])
