"""Every device: its metrics, their units, whether they were measured, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Origin = Literal["measured", "estimated"]

HW_NAS_BENCH = "HW-NAS-Bench (Li et al., ICLR 2021)"
DIGITS201_BUILDER = "amd-epyc"  # the processor on which the shipped table was made


class UnknownDevice(ValueError):
    """A device, or a metric of one, that no table has; the message lists what there is."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that costs are known for. `metrics` maps a resource, unit in its name, to how its figures came about."""

    name: str
    title: str
    metrics: Mapping[str, Origin]
    source: str


DEVICES = {
    device.name: device
    for device in (
        Device("edgegpu", "NVIDIA Jetson TX2 (edge GPU)", {"latency_ms": "measured", "energy_mj": "measured"}, HW_NAS_BENCH),
        Device("raspi4", "Raspberry Pi 4", {"latency_ms": "measured"}, HW_NAS_BENCH),
        Device("edgetpu", "Google Edge TPU (Dev Board)", {"latency_ms": "measured"}, HW_NAS_BENCH),
        Device("pixel3", "Google Pixel 3 phone", {"latency_ms": "measured"}, HW_NAS_BENCH),
        Device("eyeriss", "Eyeriss accelerator (ASIC)", {"latency_ms": "estimated", "energy_mj": "estimated"}, HW_NAS_BENCH),
        Device("fpga", "Xilinx ZC706 (FPGA)", {"latency_ms": "estimated", "energy_mj": "estimated"}, HW_NAS_BENCH),
        Device(DIGITS201_BUILDER, "AMD EPYC, one thread", {"latency_ms": "measured"}, "budgetnas, spaces/tables/digits201.md"),
        Device(
            "closed-form",
            "no device: a cost in closed form, for tests",
            {"latency_ms": "estimated", "energy_mj": "estimated"},
            "budgetnas, spaces/tables/closed_form.py",
        ),
    )
}
DEVICE_RESOURCES = ("latency_ms", "energy_mj")
EXACT_RESOURCES = ("params", "macs")  # which a space computes
NETWORK_RESOURCES = (*EXACT_RESOURCES, "cycles")  # no device's; C64x+ cycles where a table has them
RESOURCES = (*DEVICE_RESOURCES, *NETWORK_RESOURCES)


def device_of(name: str) -> Device:
    """Return a device by its name; `UnknownDevice` lists the names there are."""
    if name in DEVICES:
        return DEVICES[name]
    raise UnknownDevice(f"unknown device '{name}'; choose one of {', '.join(DEVICES)}")
