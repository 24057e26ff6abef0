"""Costs in a table: latency [ms] and energy [mJ] by dataset and device, and by dataset the costs that do not depend on a device."""

from __future__ import annotations

from budgetnas.spaces.devices import DEVICE_RESOURCES, DEVICES, NETWORK_RESOURCES, UnknownDevice, device_of
from budgetnas.spaces.tables.columnar import Column, Table, TableError


def cost_column(resource: str, dataset: str, device: str) -> str:
    """Return the name of a column such as `latency_ms/cifar10/pixel3`."""
    return f"{resource}/{dataset}/{device}"


def network_column(resource: str, dataset: str) -> str:
    """Return the name of a column such as `cycles/digits201`."""
    return f"{resource}/{dataset}"


def network_metrics(table: Table, dataset: str) -> list[str]:
    """Return the resources that the table has for a dataset and that do not depend on a device."""
    return [resource for resource in NETWORK_RESOURCES if network_column(resource, dataset) in table]


def device_cost(table: Table, resource: str, dataset: str, device: str) -> Column:
    """Return the cost of every architecture on a device, shape (rows,), in the unit of the resource's name; NaN if not supported.

    Raises:
        UnknownDevice: The device is not known, or does not have this metric.
        TableError: The table does not have this cost.
    """
    known = device_of(device)
    if resource not in known.metrics:
        raise UnknownDevice(f"device '{device}' has no {resource}; it has {', '.join(known.metrics)}")
    name = cost_column(resource, dataset, device)
    if name not in table:
        have = ", ".join(devices(table, dataset)) or "no device"
        raise TableError(f"the table has no {resource} of {device} for {dataset}; for {dataset} it has {have}")
    return table.column(name)


def devices(table: Table, dataset: str) -> list[str]:
    """Return the devices that the table has for a dataset, in the order of `DEVICES`."""
    return [device for device in DEVICES if any(cost_column(resource, dataset, device) in table for resource in DEVICE_RESOURCES)]


def metrics(table: Table, dataset: str, device: str) -> list[str]:
    """Return the resources that the table has for a device and a dataset: `latency_ms`, `energy_mj` or both."""
    return [resource for resource in DEVICE_RESOURCES if cost_column(resource, dataset, device) in table]
