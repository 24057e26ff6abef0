"""What a problem's costs and limits are computed from: a table of all architectures where there is one, else all or a sample of them."""

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
    """Costs of architectures, as columns over all of them or over a sample, and of any one of them."""

    device: str | None

    @property
    def space(self) -> Space:
        """The space."""

    @property
    def task(self) -> Task:
        """The task."""

    @property
    def checksum(self) -> str:
        """Of the table that figures come from; empty where they are computed."""

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources known of every architecture."""

    def resource(self, name: str) -> Column:
        """Return a resource of the listed architectures, shape (architectures,), in its unit; NaN where not supported."""

    @property
    def eligible(self) -> Mask:
        """Which of them are connected and supported on the device, shape (architectures,)."""

    def admitted(self, limits: Sequence[Limit]) -> Mask:
        """Return which of them are eligible and within all limits, shape (architectures,)."""

    def cost_of(self, arch: Architecture) -> Mapping[str, float]:
        """Return every known resource of any architecture, in the unit of its name; NaN is 'not supported'."""

    def accuracy_of(self, arch: Architecture) -> Mapping[str, float]:
        """Return the accuracies [%] that a table knows of it, `validation` and `test`, means over seeds; empty without a table."""


def table_is_on_this_machine(space: str, dataset: str) -> bool:
    """Return whether a table on this machine knows the accuracies of all of a space's architectures on a dataset."""
    known = space_of(space)
    if not isinstance(known, Enumerable) or (dataset == CLOSED_FORM and known.name != "nasbench201"):
        return False
    return dataset in available(known.name)


def costed_space_of(space: str, dataset: str, device: str | None = None) -> CostedSpace:
    """Return a space with its costs on a dataset: the tabulated one where a table knows it, else the sampled one.

    Unknown names raise `UnknownSpace`, `UnknownDataset`, `UnknownDevice`.
    """
    found = tabulated_space_of if table_is_on_this_machine(space, dataset) else sampled_space_of
    return found(space, dataset, device)
