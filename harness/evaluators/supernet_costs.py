"""The costs of a relaxed network: exact expectations from a table on a device, and sums over edges for resources that the space counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from budgetnas.harness.evaluators.table_relaxation import TableRelaxation
from budgetnas.harness.problem import Task
from budgetnas.spaces.devices import DEVICE_RESOURCES
from budgetnas.spaces.space import Relaxable

Network = Literal["evaluation", "search"]


class CannotSearch(ValueError):
    """Raised for a question that a supernet cannot answer. The message names the remedy."""


class SupernetCosts:
    """The costs of a space's evaluation network, and of its search network with a given size (channels, cells), as float64 tensors."""

    def __init__(
        self,
        space: Relaxable,
        task: Task,
        resources: Sequence[str],
        table: TableRelaxation | None,
        search_size: tuple[int | None, int | None],
        device: torch.device,
    ):
        """`table` gives the costs on a device (None: not known); `resources` are the names of all known resources, for messages."""
        self._space, self._task, self._resources, self._table = space, task, resources, table
        self._sizes: dict[Network, tuple[int | None, int | None]] = {"evaluation": (None, None), "search": search_size}
        self._device = device
        self._edges: dict[tuple[str, str], list[Tensor]] = {}

    def edges(self, resource: str, network: Network) -> list[Tensor]:
        """Return the cost that each operation adds, one tensor of shape (edges, operations) for each cell.

        On a device, the costs are an additive fit to the table; `additive_error` returns its error.
        """
        key = (resource, network)
        if key not in self._edges:
            if resource in DEVICE_RESOURCES:
                found = self._of_device(resource).edge_costs(resource)
            else:
                arrays = self._space.edge_costs(resource, self._task, *self._sizes[network])
                found = [torch.as_tensor(costs, dtype=torch.float64) for costs in arrays]
            self._edges[key] = [costs.to(self._device) for costs in found]
        return self._edges[key]

    def fixed(self, resource: str, network: Network) -> float:
        """Return the cost of everything except the searched operations."""
        if resource in DEVICE_RESOURCES:
            return self._of_device(resource).fixed_cost(resource)
        return self._space.fixed_cost(resource, self._task, *self._sizes[network])

    def additive_error(self, resource: str) -> dict[str, float]:
        """Return the error of the additive fit to a device's table; empty for resources that the space counts, which are exact."""
        return self._of_device(resource).additive_error(resource) if resource in DEVICE_RESOURCES else {}

    def expected(self, resource: str, alphas: Sequence[Tensor], kept: Callable[[], Sequence[Tensor]]) -> Tensor:
        """Return the expected cost of the evaluation network, a scalar differentiable in `alphas`.

        On a device, it is the exact expectation over the table. For a resource that the space counts, it is the fixed cost plus the
        expected costs of the kept edges (RC-DARTS, equation 6), which is exact if all edges are kept.

        Args:
            resource: The name of the resource.
            alphas: One tensor of shape (edges, operations) for each cell.
            kept: Returns which edges are kept, one tensor of shape (edges,) for each cell.
        """
        if resource in DEVICE_RESOURCES:
            return self._of_device(resource).expected_cost(resource, [rows.double().cpu() for rows in alphas])
        total = torch.tensor(self.fixed(resource, "evaluation"), dtype=torch.float64, device=self._device)
        for rows, costs, edges in zip(alphas, self.edges(resource, "evaluation"), kept(), strict=True):
            total = total + (torch.softmax(rows, dim=1).double() * costs * edges[:, None]).sum()
        return total

    def _of_device(self, resource: str) -> TableRelaxation:
        if self._table is None:
            known = ", ".join(self._resources)
            raise CannotSearch(f"the expected {resource} of a supernet needs a table of the device; limit one of {known} instead")
        return self._table
