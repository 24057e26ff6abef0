"""A space with its costs, from which limits are resolved. The costs come from a table if one exists, else they are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from budgetnas.harness.costs.sampled_space import SampledSpace, sampled_space_of
from budgetnas.harness.costs.tabulated_space import Mask, TabulatedSpace, tabulated_space_of
from budgetnas.harness.problem import Limit
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.space import Architecture, Enumerable, Space
from budgetnas.spaces.tables.closed_form import DATASET as CLOSED_FORM
from budgetnas.spaces.tables.columnar import Column
from budgetnas.spaces.tables.home import available
from budgetnas.spaces.task import Task

__all__ = ["CostedSpace", "SampledSpace", "TabulatedSpace", "costed_space_of", "table_is_on_this_machine"]


class CostedSpace(Protocol):
    """The costs of a space: columns over its listed architectures (all of them, or a sample), and the cost of any single architecture."""

    device: str | None

    @property
    def space(self) -> Space:
        """The space."""

    @property
    def task(self) -> Task:
        """The task."""

    @property
    def checksum(self) -> str:
        """The checksum of the table; empty if the costs are computed."""

    @property
    def resources(self) -> tuple[str, ...]:
        """The names of the resources that are known for every architecture."""

    def resource(self, name: str) -> Column:
        """Return the values of a resource for the listed architectures, shape (architectures,), in its unit; NaN means 'not supported'."""

    @property
    def eligible(self) -> Mask:
        """A mask of the listed architectures that are connected and supported on the device, shape (architectures,)."""

    def admitted(self, limits: Sequence[Limit]) -> Mask:
        """Return a mask of the listed architectures that are eligible and within all limits, shape (architectures,)."""

    def cost_of(self, arch: Architecture) -> Mapping[str, float]:
        """Return all known resources of an architecture, each in the unit that its name gives; NaN means 'not supported'."""

    def accuracy_of(self, arch: Architecture) -> Mapping[str, float]:
        """Return the `validation` and `test` accuracy [%] from the table, means over its seeds; an empty mapping without a table."""


def table_is_on_this_machine(space: str, dataset: str) -> bool:
    """Return whether this machine has a table with the accuracies of a space's architectures on a dataset."""
    known = space_of(space)
    if not isinstance(known, Enumerable) or (dataset == CLOSED_FORM and known.name != "nasbench201"):
        return False
    return dataset in available(known.name)


def costed_space_of(space: str, dataset: str, device: str | None = None) -> CostedSpace:
    """Return a space with its costs on a dataset: a `TabulatedSpace` if this machine has a table, else a `SampledSpace`.

    Raises:
        UnknownSpace, UnknownDataset, UnknownDevice: A name is unknown.
    """
    found = tabulated_space_of if table_is_on_this_machine(space, dataset) else sampled_space_of
    return found(space, dataset, device)
