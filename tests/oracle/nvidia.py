"""NVIDIA boards: MLPerf Inference submissions, DLA throughput by power mode, and HAWQ-V3's kernels on a T4.

A fixed half gives the constants, and is itself shown only as fitted: of the boards, the first of each generation in the order of
the file (AGX Orin, Xavier NX) gives the launch time of a kernel; of the networks on the T4, the first (ResNet-18) gives the rate
that those kernels reach in each precision; of the DLA's power modes, the first (MAXN) gives efficiency and time per operation.
Everything else is predicted: the other boards, ResNet-50 on the T4, the other power modes from their published peaks.

Networks whose layers the file does not give are ``not_priced``, except the ResNet-34 backbone, which is the convolutional part of
the published network (He et al., 2016).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hwmodels import device as devices
from hwmodels.calibrate import Measurement, fit, predict
from hwmodels.device import Device
from hwmodels.device_facts import with_numbers
from hwmodels.device_tables import Quantity
from hwmodels.precision import Precision
from hwmodels.workload import Workload
from oracle import Row
from oracle.layer_tables import Drawing, residual

SOURCE = "MLPerf Inference results (mlcommons), NVIDIA Deep-Learning-Accelerator-SW, HAWQ-V3 (arXiv 2011.10680)"
FITTED_BOARDS = {
    "Jetson AGX Orin (MLPerf system Orin_TRT, MAXN)": "jetson-agx-orin",
    "Jetson Xavier NX (MLPerf system Xavier_NX_TRT)": "jetson-xavier-nx",
}
PREDICTED_BOARDS = {
    "Jetson Orin NX (MLPerf system Orin_NX_TRT)": ("jetson-orin-nx", "jetson-agx-orin"),
    "Jetson AGX Xavier (MLPerf system AGX_Xavier_TRT)": ("jetson-agx-xavier", "jetson-xavier-nx"),
}
"""Board -> its device file, and the fitted board of the same generation."""

T4 = "NVIDIA T4 (TVM, tensor cores)"
T4_PRECISIONS = {"fp32": "FP32", "w8a8": "W8A8", "w4a4": "W4A4"}
DLA = "2x DLA (both together)"
DLA_PEAK = {"MAXN": 1.0, "50W": 92 / 105, "30W": 90 / 105, "15W": 40 / 105}
"""Peak of a power mode over that of MAXN: 105, 92, 90 and 40 sparse TOPS (README of Deep-Learning-Accelerator-SW)."""

DLA_MEMORY = {"15W": 2133 / 3200}
"""Memory clock of a power mode over that of MAXN, where it is lower (Jetson Linux Developer Guide, supported modes)."""


@dataclass(frozen=True)
class Fitted:
    """Devices with the constants that the fitted half gives, by device name."""

    orin: Device
    xavier: Device
    t4: Device
    dla: Device

    def __getitem__(self, name: str) -> Device:
        return {device.name: device for device in (self.orin, self.xavier, self.t4, self.dla)}[name]


@dataclass(frozen=True)
class Priced:
    """A row of the file that has a model: how it is measured, on which device, and whether it gave constants."""

    target: Device
    measured: Measurement
    is_fitted: bool


def rows(shared: Path) -> list[Row]:
    """The predicted half; ``MACs only`` scales by peak rate from the fitted row of the same family and precision."""
    found = priced(shared)
    result = []
    for row in (r for r in found if not r.is_fitted):
        seconds = float(predict(row.target, [row.measured])[0])
        guess = _by_macs(row, [r for r in found if r.is_fitted])
        result.append(
            Row(
                row.target.name,
                row.target.kind,
                "",
                row.measured.label,
                SOURCE,
                "latency_s",
                seconds,
                row.measured.latency_s,
                (("MACs only", guess),),
            )
        )
    return result


def fitted(shared: Path) -> Fitted:
    """The constants of the fitted half."""
    shown = _measurements(shared)
    boards = {name: _fit(name, [shown[board]], {"overhead.layer_s": 10e-6}) for board, name in FITTED_BOARDS.items()}
    card = [m for key, m in shown.items() if key.startswith(f"{T4} resnet18")]
    dla = [m for key, m in shown.items() if key.startswith(f"{DLA} MAXN")]
    return Fitted(
        boards["jetson-agx-orin"],
        boards["jetson-xavier-nx"],
        _fit("tesla-t4", card, {f"rates.{p}": 10e12 for p in T4_PRECISIONS.values()}),
        _fit("jetson-agx-orin-dla", dla, {"npu.efficiency": 0.5, "overhead.layer_s": 10e-6}),
    )


def _fit(name: str, measurements: list[Measurement], start: dict[str, float]) -> Device:
    """The device with these constants fitted, beginning at round numbers, whatever its file says."""
    return fit(devices.load(name), measurements, list(start), fixed=start).device


def priced(shared: Path) -> list[Priced]:
    """Every row that has a model, in the order of the file."""
    known, found = fitted(shared), []
    for key, measured in _measurements(shared).items():
        if key in FITTED_BOARDS:
            found.append(Priced(known[FITTED_BOARDS[key]], measured, True))
        elif key in PREDICTED_BOARDS:
            name, like = PREDICTED_BOARDS[key]
            launch = {"overhead.layer_s": known[like].overhead.layer_s}
            found.append(Priced(with_numbers(devices.load(name), launch), measured, False))
        elif key.startswith(T4):
            found.append(Priced(known.t4, measured, "resnet18" in key))
        else:
            mode = key.removeprefix(DLA).split()[0]
            found.append(Priced(in_power_mode(known.dla, mode), measured, mode == "MAXN"))
    return found


def in_power_mode(target: Device, mode: str) -> Device:
    """The DLA with arithmetic and memory at the clocks of a power mode."""
    slower = {f"rates.{key}": Quantity(value=rate.value * DLA_PEAK[mode]) for key, rate in target.rates.items()}
    memory = target.memory["dram"].bytes_per_s
    assert memory is not None
    slower["memory.dram.bytes_per_s"] = Quantity(value=memory.value * DLA_MEMORY.get(mode, 1.0))
    return with_numbers(target, slower)


def not_priced(shared: Path) -> list[tuple[str, str]]:
    """Rows without a model, with the reason."""
    return [(_label(row), reason) for row in _read(shared)["measurements"] if (reason := _obstacle(row))]


def _obstacle(row: dict[str, Any]) -> str:
    if row["network"] not in ("resnet18_224", "resnet50_v15_224", "resnet34_backbone_1280x768"):
        return "the layers of the network are not given"
    if row["unit"] not in ("GPU", DLA):
        return "GPU and DLAs share the work; neither the shares nor the batch are given"
    if row["precision"].startswith("mixed"):
        return "the width of each layer is not given"
    return ""


def _measurements(shared: Path) -> dict[str, Measurement]:
    """The rows that have a model, by board, by card with network and precision, or by DLA with mode and network."""
    found = {}
    for row in _read(shared)["measurements"]:
        if _obstacle(row):
            continue
        name, batch, key = row["network"], row.get("batch", 1), row["device"]
        precision, latency_s = Precision.parse("W8A8"), row.get("latency_ms", row.get("latency_ms_mean", 0.0)) * 1e-3
        if key == T4:
            precision = Precision.parse(T4_PRECISIONS[row["precision"]])
            key = f"{T4} {name} {precision}"
        elif row["unit"] == DLA:
            # Two work side by side, each on a batch of its own.
            latency_s = 2 * batch / row["throughput_inf_s"]
            key = f"{DLA} {key.rsplit(' ', 1)[-1]} {name}"
        found[key] = Measurement(_workload(shared, name, batch), precision, latency_s, _label(row))
    return found


def _by_macs(row: Priced, known: list[Priced]) -> float:
    """Seconds if time were MACs over a fixed share of the peak rate, learned from the nearest fitted row."""

    def at_peak(other: Priced) -> float:
        return other.measured.workload.macs / other.target.rates[str(other.measured.precision)].value

    alike = [r for r in known if r.target.kind == row.target.kind and r.measured.precision == row.measured.precision]
    same = [r for r in alike if r.target.name == row.target.name and r.measured.workload.name == row.measured.workload.name]
    same = same or [r for r in alike if r.target.name == row.target.name]
    generation = {name: like for name, like in PREDICTED_BOARDS.values()}
    same = same or [r for r in alike if r.target.name == generation.get(row.target.name)]
    nearest = same[0]
    return at_peak(row) * nearest.measured.latency_s / at_peak(nearest)


def _label(row: dict[str, Any]) -> str:
    board = row["device"].split(" (")[0]
    unit = {"GPU": "", DLA: ", two DLAs"}.get(row["unit"], f", {row['unit']}")
    batch = f", batch {row['batch']}" if "batch" in row else ""
    return f"{row['network'].split(' (')[0]} {row['precision']} on {board}{unit}{batch}"


@cache
def _read(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "oracle" / "measured_nvidia.json").read_text(encoding="utf-8"))
    return found


@cache
def _workload(shared: Path, name: str, batch: int) -> Workload:
    if name == "resnet34_backbone_1280x768":
        return replace(resnet34_backbone(768, 1280), name=name)
    return residual(name, _read(shared)["networks"][name], batch)


def resnet34_backbone(height: int, width: int) -> Workload:
    """The convolutional part of ResNet-34: a stem, then 3, 4, 6 and 3 blocks of two 3x3 convolutions."""
    net = Drawing("resnet34_backbone", 3, height, width)
    x = net.conv("stem", 0, 64, 7, (height // 2, width // 2), stride=2, activation="relu")
    height, width = height // 4, width // 4
    x = net.emit("maxpool", "pool", (x,), (64, height, width))
    for stage, (blocks, channels) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            height, width = height // stride, width // stride
            y = net.conv(f"{name}a", x, channels, 3, (height, width), stride=stride, activation="relu")
            y = net.conv(f"{name}b", y, channels, 3, (height, width))
            side = net.conv(f"{name}p", x, channels, 1, (height, width), stride=stride) if stride > 1 else x
            x = net.emit(f"{name}+", "add", (y, side), (channels, height, width))
    return net.workload()
