"""The devices: which metrics are known, in which unit, whether they were measured or estimated, and their source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Origin = Literal["measured", "estimated"]

HW_NAS_BENCH = "HW-NAS-Bench (Li et al., ICLR 2021)"
DIGITS201_BUILDER = "amd-epyc"  # the processor on which the shipped digits201 table was measured


class UnknownDevice(ValueError):
    """No table has this device or this metric of the device; the message lists the known ones."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device with known costs. `metrics` maps a resource, such as `latency_ms`, to `measured` or `estimated`."""

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
EXACT_RESOURCES = ("params", "macs")  # computed by the space
NETWORK_RESOURCES = (*EXACT_RESOURCES, "cycles")  # do not depend on a device; cycles are those of a C64x+, where a table has them
RESOURCES = (*DEVICE_RESOURCES, *NETWORK_RESOURCES)


def device_of(name: str) -> Device:
    """Return the device with this name. Raises UnknownDevice, which lists the known names."""
    if name in DEVICES:
        return DEVICES[name]
    raise UnknownDevice(f"unknown device '{name}'; choose one of {', '.join(DEVICES)}")
