"""Embedded processors with an NPU, as their vendors measured public networks (``npu/npu_embedded.json``).

STM32N6 in 8 bits and with a share of the weights in 4 bits: which layers have them is not published, and only reading the flash
depends on it, so a row is priced between the two uniform plans by its share. i.MX 8M Plus: constants fitted with the row's family
left out. i.MX 93 and MCX N947: nothing is fitted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import cost
from hwmodels.device.catalogue import load
from hwmodels.device.device import Device
from hwmodels.fitting.constants import Measurement, fit
from hwmodels.numbers import Precision
from hwmodels.workload import Workload
from oracle import Row, npu_networks
from oracle.npu_networks import Rules

STM, NXP = "STMicroelectronics AI model zoo", "NXP eIQ Model Zoo 1.4"
DEVICES = {
    "STM32N6570-DK": "stm32n6-neural-art",
    "i.MX 8M Plus": "imx8mp-npu",
    "i.MX 93": "imx93-ethos-u65",
    "MCX N947": "mcxn947-neutron",
}
FREE = {
    "stm32n6-neural-art": ("rates.W8A8", "memory.flash.bytes_per_s", "memory.onchip.bytes_per_s", "overhead.inference_s"),
    "imx8mp-npu": ("rates.W8A8", "memory.dram.bytes_per_s", "overhead.layer_s"),
}
"""Constants that are fitted, by device."""
READ_OFF = ("mcxn947-neutron",)
"""Devices with a constant in their file that was read off their few rows."""
RULES = Rules(folds_scalar_normalization=True, folds_normalization=True)
W8A8, W4A8 = Precision.parse("W8A8"), Precision.parse("W4A8")


@dataclass(frozen=True, eq=False)
class Timing:
    """One row: a network on the NPU of a board; ``share`` of its weights has 4 bits."""

    device: str
    network: str
    family: str
    workload: Workload
    share: float
    latency_s: float
    label: str
    page: str


@cache
def timings(shared: Path) -> tuple[Timing, ...]:
    """The rows of NPUs that the models price, in the order of the file."""
    return tuple(_timing(shared, row) for row in _read(shared) if not _reason(row))


def not_priced(shared: Path) -> list[tuple[str, str]]:
    """Rows that are not compared, with the reason."""
    found = ((f"{row['network']} on {row['device']}, {row['engine']}", _reason(row)) for row in _read(shared))
    return [(label, reason) for label, reason in found if reason]


def rows(shared: Path) -> list[Row]:
    """Each row beside its price, by a fit without its family where constants are fitted."""
    found = []
    for name in DEVICES.values():
        of_device = [t for t in timings(shared) if t.device == name]
        predicted = left_out(load(name), of_device) if name in FREE else predict(load(name), of_device)
        for timing, seconds in zip(of_device, predicted, strict=True):
            source = STM if name.startswith("stm") else NXP
            held = timing.family if name in FREE else ""
            plan_of = f"{timing.network}, {timing.page}" if name.startswith("stm") else ""
            seen = "these rows" if name in READ_OFF else ""
            both = float(seconds), timing.latency_s
            found.append(Row(name, "npu", held, timing.label, source, "latency_s", *both, plan_of=plan_of, seen=seen))
    return found


def predict(device: Device, of_device: Sequence[Timing]) -> np.ndarray:
    """Seconds of each row by the model of ``device``."""
    return np.array([_seconds(device, timing) for timing in of_device])


def fitted(device: Device, of_device: Sequence[Timing]) -> Device:
    """``device`` with its free constants fitted to rows of uniform width."""
    seen = [Measurement(t.workload, W8A8, t.latency_s, t.label) for t in of_device if not t.share]
    return fit(device, seen, FREE[device.name], loss="soft_l1").device


def left_out(device: Device, of_device: Sequence[Timing]) -> np.ndarray:
    """Seconds of each row by a fit that has not seen its family."""
    predicted = np.zeros(len(of_device))
    for family in dict.fromkeys(t.family for t in of_device):
        held = np.array([t.family == family for t in of_device])
        others = [t for t, h in zip(of_device, held, strict=True) if not h]
        target = fitted(device, others)
        predicted[held] = predict(target, [t for t, h in zip(of_device, held, strict=True) if h])
    return predicted


def _seconds(device: Device, timing: Timing) -> float:
    whole = cost.uniform(device, timing.workload, W8A8).latency_s
    if not timing.share:
        return whole
    return (1 - timing.share) * whole + timing.share * _four_bits_s(device, timing.workload)


def _four_bits_s(device: Device, workload: Workload) -> float:
    """Seconds with all weights in 4 bits, which execute as 8."""
    return cost.uniform(device, workload, W4A8).latency_s


def _reason(row: Mapping[str, Any]) -> str:
    if "NPU" not in row["engine"]:
        return "a core, not the NPU"
    if row["remark"] and row["source"] == "nxp":
        return str(row["remark"])
    if row.get("external_ram_kib"):
        return "feature maps in external RAM"
    if row["network"].startswith("shufflenet") and row["source"] == "stm":
        return "operators on the core"
    return ""


def _timing(shared: Path, row: Mapping[str, Any]) -> Timing:
    share = row.get("share_of_weights_4bit") or 0.0
    return Timing(
        DEVICES[row["device"]],
        row["network"],
        npu_networks.family(shared, row["network"]),
        npu_networks.workload(shared, row["network"], RULES),
        share,
        row["latency_ms"] * 1e-3,
        f"{row['network']} {row['precision']}, {row.get('tool', row['engine'])}",
        row["path"],
    )


@cache
def _read(shared: Path) -> list[dict[str, Any]]:
    found: dict[str, Any] = json.loads((shared / "oracle" / "npu" / "npu_embedded.json").read_text(encoding="utf-8"))
    return list(found["rows"])
