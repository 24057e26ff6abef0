"""The DARTS space: its architectures as genes, as text, as networks, and their costs."""

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
    """Stacks of a normal and a reduction cell of four nodes with two edges each; optionally groups of normal cells and a connection cell.

    The genes are, for each cell (normal cells first) and each of its nodes 2 to 5: the pair of predecessors in lexicographic order, the
    operation of the lower predecessor, and that of the higher one. 0 is max_pool_3x3, since `none` cannot be chosen. The last gene is the
    operation of the connection, if it is searched.

    Args:
        channels: Initial channels of the evaluation network; by default 36, or 48 for images of more than 64 pixels a side.
        cells: Cells of the evaluation network; by default 20, or 14 for images of more than 64 pixels a side.
        groups: Number of groups of normal cells. Each group has its own architecture (RC-DARTS's multi-level search).
        connection: Whether the connections before the cells are searched too (RC-DARTS's connection cell).

    Raises:
        WrongSize: The space has no network of this size; the message gives the allowed range.
    """

    channels: int | None = None
    cells: int | None = None
    groups: int = 1
    connection: bool = False

    def __post_init__(self) -> None:
        # Refuse a wrong size now, not at first use. The default size depends on the task, so check both.
        for channels, cells in (SMALL_SIZE, LARGE_SIZE):
            Size(channels if self.channels is None else self.channels, cells if self.cells is None else self.cells, self.groups)

    @cached_property
    def name(self) -> str:
        """`darts`, with those parameters that differ from the published space: `darts[cells=8,groups=3]`."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default}
        return "darts" + (f"[{','.join(f'{key}={str(given[key]).lower()}' for key in sorted(given))}]" if given else "")

    @cached_property
    def arity(self) -> tuple[int, ...]:
        """The number of choices of every gene. The twelve genes of a cell give 1,037,664,180 cells."""
        return CELL_ARITY * (self.groups + 1) + ((len(CONNECTIONS),) if self.connection else ())

    @property
    def identity(self) -> Architecture:
        """The architecture in which no searched operation on an edge has parameters.

        In normal cells, skip connections lead from both inputs to every node. In the reduction cell, where a skip connection would have
        parameters, max pooling takes its place. A searched connection is the one with the fewest parameters.
        """
        genes = _UNFILLED_NORMAL * self.groups + _UNFILLED_REDUCTION
        return Architecture(self.name, genes + ((CONNECTIONS.index("conv_1x1_g4"),) if self.connection else ()))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*(("normal",) if self.groups == 1 else tuple(f"normal_{group}" for group in range(self.groups))), "reduce")

    @cached_property
    def published(self) -> Mapping[str, Architecture]:
        """Published architectures by name. All groups have the published normal cell; a connection is `conv_1x1`, as in DARTS."""
        found = {}
        for name, text in GENOTYPES.items():
            (normal, reduction), _ = genotype.read(text, ("normal", "reduce"), connection=False)
            genes = cell_genes(normal) * self.groups + cell_genes(reduction)
            found[name] = Architecture(self.name, genes + ((PLAIN_CONNECTION,) if self.connection else ()))
        return MappingProxyType(found)

    def edges(self, arch: Architecture) -> tuple[tuple[Edge, ...], ...]:
        """Return the eight edges of every cell, by node, then by source. Cells are the normal cells by group, then the reduction cell."""
        check_genes(self, arch)
        starts = range(0, (self.groups + 1) * GENES_A_CELL, GENES_A_CELL)
        return tuple(cell_edges(arch.genes[start : start + GENES_A_CELL]) for start in starts)

    def connection_of(self, arch: Architecture) -> str:
        """Return the operation before the inputs of every cell. If it is not searched, that is `conv_1x1`, as in DARTS."""
        check_genes(self, arch)
        return CONNECTIONS[arch.genes[-1]] if self.connection else "conv_1x1"

    def size(self, task: Task, channels: int | None = None, cells: int | None = None) -> Size:
        """Return the size of the evaluation network for a task, or of a network with other `channels` and `cells`.

        Raises:
            WrongSize: The space has no network of this size; the message gives the allowed range.
        """
        return size_for(task, self.channels if channels is None else channels, self.cells if cells is None else cells, self.groups)

    def encode(self, arch: Architecture) -> str:
        """Return the published text form, `Genotype(normal=[...], ...)`, extended for groups and a connection as in `genotype.py`."""
        cells = self.edges(arch)
        return genotype.write(self._names, cells, self.connection_of(arch) if self.connection else None)

    def decode(self, text: str) -> Architecture:
        """Return the architecture of a genotype. Raises InvalidArchitecture, which names the fault and its position."""
        cells, connection = genotype.read(text, self._names, self.connection)
        genes = sum(map(cell_genes, cells), ())
        return Architecture(self.name, genes if connection is None else (*genes, CONNECTIONS.index(connection)))

    def connected(self, arch: Architecture) -> bool:
        """Return True: `none` cannot be chosen, so every node depends on the input."""
        check_genes(self, arch)
        return True

    def canonical(self, arch: Architecture) -> Architecture:
        """Return the architecture with the lowest genes of all that differ only in the order of their nodes (`symmetry.py`)."""
        if self.connection_of(arch) not in ("conv_1x1", "dil_conv_3x3"):
            return Architecture(self.name, tuple(int(gene) for gene in arch.genes))
        genes = sum(map(canonical_genes, self.edges(arch)), ())
        return Architecture(self.name, (*genes, *(int(gene) for gene in arch.genes[len(genes) :])))

    def complexity(self, arch: Architecture, task: Task) -> Complexity:
        """Return exact parameters and MACs of the evaluation network.

        Raises:
            IndivisibleWidth: The groups of the connection do not divide its channels.
        """
        params, macs, _ = self._costs(arch, task)
        return Complexity(params, macs)

    def figures(self, arch: Architecture, task: Task) -> Mapping[str, float]:
        """Return `params_with_auxiliary`, the parameters with the auxiliary head, and `cycles`, the CPU cycles of the whole network."""
        params, _, cycles = self._costs(arch, task)
        return {"params_with_auxiliary": params + closed_form.auxiliary_params(task, self.size(task)), "cycles": cycles}

    def paper_cycles(self, arch: Architecture) -> int:
        """Return the compute cost of the cells [cycles] as DEff-ARTS publishes it: on 32x32x3 representations, without connections."""
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
        """Return the untrained evaluation network for a task; with `auxiliary` it has the method `with_auxiliary(images)`.

        Raises:
            NoAuxiliaryHead: The images are too small for an auxiliary head.
            IndivisibleWidth: The groups of the connection do not divide its channels.
        """
        from budgetnas.spaces.darts.network import build

        return build(self.edges(arch), self.connection_of(arch), self.size(task), task, auxiliary)

    def supernet(self, task: Task, options: SupernetOptions) -> Supernet:
        """Return the untrained search network."""
        from budgetnas.spaces.darts import supernet

        return supernet.Supernet(self, self.groups, self.connection, task, options)

    @cached_property
    def searched(self) -> tuple[SearchedCell, ...]:
        """The normal cells by group (`normal`, or `normal 0`, ...), the reduction cell (`reduce`), the connection cell (`connection`)."""
        cells = tuple(SearchedCell(name.replace("_", " "), EDGES, OPERATIONS, never_kept=("none",)) for name in self._names)
        return (*cells, *((SearchedCell("connection", ((0, 1),), CONNECTIONS),) if self.connection else ()))

    def strongest(self, strengths: Sequence[Floats]) -> Architecture:
        """Return the architecture with the two strongest predecessors of each node and their strongest operations, `none` left out."""
        genes = sum((relaxed.strongest_genes(each) for each in strengths[: self.groups + 1]), ())
        return Architecture(self.name, (*genes, *(int(np.argmax(each[0])) for each in strengths[self.groups + 1 :])))

    def kept_edges(self, strengths: Sequence[Floats]) -> list[NDArray[np.bool_]]:
        """Return which edges `strongest(strengths)` has, shape (14,) for each cell, (1,) for the connection."""
        kept = [relaxed.kept(each) for each in strengths[: self.groups + 1]]
        return [*kept, *(np.ones(1, np.bool_) for _ in strengths[self.groups + 1 :])]

    def one_hot(self, arch: Architecture) -> list[Floats]:
        """Return 1 for the operations of `arch` and 0 elsewhere, shape (14, 8) for each cell, (1, 4) for the connection."""
        found = [relaxed.one_hot(edges) for edges in self.edges(arch)]
        return [*found, *([np.eye(len(CONNECTIONS))[[int(arch.genes[-1])]]] if self.connection else [])]

    def edge_costs(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> list[Floats]:
        """Return the cost that each operation adds on each edge, summed over all cells of a kind, shape (14, 8); connection (1, 4).

        Args:
            resource: `params`, `macs`, `cycles` or `paper_cycles`. The last are the costs in DEff-ARTS's search (table 2), which do not
                depend on the size. They count one cell of each kind. `none` costs 999,999, and separable convolutions count twice, while
                the method `paper_cycles` counts them once.
            task: The dataset's image shape and number of classes.
            channels: Initial channels of the network; by default those of the evaluation network.
            cells: Cells of the network; by default those of the evaluation network.

        Raises:
            UnknownCost: The resource is not a sum over edges.
            IndivisibleWidth: The groups of one of the connections do not divide its channels.
        """
        if resource == relaxed.PAPER_CYCLES:
            of_connection = [np.zeros((1, len(CONNECTIONS)))] if self.connection else []
            return [*(relaxed.paper_edge_costs() for _ in range(self.groups + 1)), *of_connection]
        number, size = relaxed.resource_number(resource), self.size(task, channels, cells)
        tables = [*closed_form.edge_costs(task, size), *([closed_form.connection_table(task, size)] if self.connection else [])]
        return [table[..., number].astype(np.float64) for table in tables]

    def fixed_cost(self, resource: str, task: Task, channels: int | None = None, cells: int | None = None) -> float:
        """Return the cost of stem and classifier, and of the connections if they are not searched."""
        if resource == relaxed.PAPER_CYCLES:
            return 0.0
        number, size = relaxed.resource_number(resource), self.size(task, channels, cells)
        fixed = closed_form.rest(task, size)
        return float((fixed if self.connection else fixed + closed_form.connection_costs("conv_1x1", task, size))[number])
