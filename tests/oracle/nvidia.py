"""NVIDIA boards: MLPerf Inference submissions, DLA throughput by power mode, and HAWQ-V3's kernels on a T4.

BERT-large is the only transformer among them. A query has up to 384 tokens, and the 99.9th percentile of the latencies of a
stream is that of queries with as many. It gives no constants.

Half of the rows predict the other half, both ways. Of the boards, each is priced with the launch time of a kernel that the other
board of its generation gives; of the networks on the T4, each with the rates that the other one gives. The power modes of the
DLA are predicted from one, MAXN, by their published peaks; MAXN gives efficiency and time per operation, and is not predicted.

Networks whose layers the file does not give are ``not_priced``, except the ResNet-34 backbone, which is the convolutional part of
the published network (He et al., 2016).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.device.facts import with_numbers
from hwmodels.device.values import Quantity
from hwmodels.fitting.constants import Measurement, fit, predict
from hwmodels.numbers import Precision
from hwmodels.workload import Contract, Map, Move, Reduce, Workload
from oracle import Row
from oracle.layer_tables import Drawing, residual

MLPERF = "MLPerf Inference, closed division, submissions of NVIDIA"
DLA_README = "NVIDIA Deep-Learning-Accelerator-SW, README, JetPack 5.1.1"
HAWQ = "HAWQ-V3, arXiv 2011.10680, inference speed on a T4"
BOARDS = {
    "Jetson AGX Orin (MLPerf system Orin_TRT, MAXN)": "jetson-agx-orin",
    "Jetson Orin NX (MLPerf system Orin_NX_TRT)": "jetson-orin-nx",
    "Jetson Xavier NX (MLPerf system Xavier_NX_TRT)": "jetson-xavier-nx",
    "Jetson AGX Xavier (MLPerf system AGX_Xavier_TRT)": "jetson-agx-xavier",
}
GENERATIONS = (("jetson-agx-orin", "jetson-orin-nx"), ("jetson-xavier-nx", "jetson-agx-xavier"))
LAUNCH = {"overhead.layer_s": 10e-6}
"""Free constants with the round numbers at which a fit begins, whatever the device file says."""

BERT_MS = {
    "jetson-agx-orin": 6.495382,
    "jetson-orin-nx": 16.847263,
    "jetson-xavier-nx": 51.054279,
    "jetson-agx-xavier": 32.729013,
}
"""99.9th percentile of bert-99 (INT8), SingleStream, closed division: mlcommons/inference_results_v3.1 (Orin_TRT, Orin_NX_TRT),
_v2.0 (Xavier_NX_TRT) and _v1.1 (AGX_Xavier_TRT), mlperf_log_summary.txt."""
BERT_TOKENS = 384

T4 = "NVIDIA T4 (TVM, tensor cores)"
T4_PRECISIONS = {"fp32": "FP32", "w8a8": "W8A8", "w4a4": "W4A4"}
T4_RATES = {f"rates.{precision}": 10e12 for precision in T4_PRECISIONS.values()}
DLA = "2x DLA (both together)"
DLA_CONSTANTS = {"npu.efficiency": 0.5, "overhead.layer_s": 10e-6}
DLA_PEAK = {"MAXN": 1.0, "50W": 92 / 105, "30W": 90 / 105, "15W": 40 / 105}
"""Peak of a power mode over that of MAXN: 105, 92, 90 and 40 sparse TOPS (README of Deep-Learning-Accelerator-SW)."""

DLA_MEMORY = {"15W": 2133 / 3200}
"""Memory clock of a power mode over that of MAXN, where it is lower (Jetson Linux Developer Guide, supported modes)."""

AKIN = {"tesla-t4": "another ResNet", "jetson-agx-orin-dla": "the same networks in another power mode"}
"""What the fits behind a row saw that is akin to it, by device; of the other boards the same network on another one."""


@dataclass(frozen=True, eq=False)
class Priced:
    """A row of the file with the device that predicts it, and what the constants of that device were fitted to."""

    target: Device
    measured: Measurement
    seen: tuple[tuple[Device, Measurement], ...]


def rows(shared: Path) -> list[Row]:
    """Every row that has a model, predicted by constants from other rows; ``MACs only`` learns its share of the peak there."""
    sources = {"tesla-t4": HAWQ, "jetson-agx-orin-dla": DLA_README}
    return [
        Row(
            row.target.name,
            row.target.kind,
            "the other half",
            row.measured.label,
            sources.get(row.target.name, MLPERF),
            "latency_s",
            float(predict(row.target, [row.measured])[0]),
            row.measured.latency_s,
            (("MACs only", _by_macs(row)),),
            plan_of=row.measured.workload.name if row.target.name == "tesla-t4" else "",
            seen=AKIN.get(row.target.name, "the same network on another board"),
        )
        for row in priced(shared)
    ] + transformers(shared)


def transformers(shared: Path) -> list[Row]:
    """BERT-large on the boards, by the constants that ResNet-50 gave on each."""
    workload, shown, own, found = bert_large(BERT_TOKENS), _measurements(shared), fitted(shared), []
    for board, name in BOARDS.items():
        measured = Measurement(
            workload, Precision.parse("W8A8"), BERT_MS[name] * 1e-3, f"BERT-large int8 on {board.split(' (')[0]}"
        )
        row = Priced(own[name], measured, ((own[name], shown[board]),))
        predicted = float(predict(own[name], [measured])[0])
        given = "latency_s", predicted, measured.latency_s, (("MACs only", _by_macs(row)),)
        found.append(Row(name, "gpu", "transformers", measured.label, MLPERF, *given, seen="ResNet-50 on this board"))
    return found


def bert_large(tokens: int) -> Workload:
    """Devlin et al., 2018: 24 layers of 1024 values and 16 heads."""
    net, width, heads = Drawing("bert_large", 1024, tokens, 1), 1024, 16
    rows, alone = (width, tokens, 1), (width // heads, heads * tokens, 1)
    x = 0

    def linear(name: str, source: int, out: int) -> int:
        depth = net.shapes[source][0]
        work = Contract(tokens * depth * out, depth, form="product")
        return net.work(name, work, (source,), (out, tokens, 1), weight_count=depth * out, bias_count=out)

    def tensors(name: str, first: int, second: int, out: int) -> int:
        work = Contract(heads * tokens**2 * width // heads, net.shapes[first][0], form="product", stationary="tensor")
        return net.work(name, work, (first, second), (out, heads * tokens, 1))

    def moved(name: str, source: int, shape: tuple[int, int, int]) -> int:
        return net.work(name, Move("transpose"), (net.work(f"{name}.view", Move("view"), (source,), shape),), shape)

    for n in range(24):
        q, k, v = (moved(f"{n}.{part}.heads", linear(f"{n}.{part}", x, width), alone) for part in "qkv")
        scores = net.work(f"{n}.scale", Map("mul"), (tensors(f"{n}.scores", q, k, tokens),), (tokens, heads * tokens, 1))
        shares = net.work(f"{n}.softmax", Reduce(tokens, keeps=True, function="function"), (scores,), (tokens, heads * tokens, 1))
        y = linear(f"{n}.out", moved(f"{n}.together", tensors(f"{n}.context", shares, v, alone[0]), rows), width)
        x = net.work(f"{n}.norm", Reduce(width, keeps=True, function="division"), (_sum(net, f"{n}.sum", y, x),), rows)
        y = net.work(f"{n}.gelu", Map("function"), (linear(f"{n}.wide", x, 4 * width),), (4 * width, tokens, 1))
        y = _sum(net, f"{n}.sum2", linear(f"{n}.narrow", y, width), x)
        x = net.work(f"{n}.norm2", Reduce(width, keeps=True, function="division"), (y,), rows)
    return net.workload()


def _sum(net: Drawing, name: str, first: int, second: int) -> int:
    return net.work(name, Map("add", arity=2), (first, second), net.shapes[first])


def fitted(shared: Path) -> dict[str, Device]:
    """The constants of the shipped files, by device: every row of its own that a device has; of the DLA, those at MAXN."""
    shown = _measurements(shared)
    found = {name: _fit(name, [shown[board]], LAUNCH) for board, name in BOARDS.items()}
    found["tesla-t4"] = _fit("tesla-t4", [m for key, m in shown.items() if key.startswith(T4)], T4_RATES)
    found["jetson-agx-orin-dla"] = _fit("jetson-agx-orin-dla", _at_maxn(shown), DLA_CONSTANTS)
    return found


def priced(shared: Path) -> list[Priced]:
    """Every row that is predicted, in the order of the file."""
    shown, own, found = _measurements(shared), fitted(shared), []
    boards = {name: board for board, name in BOARDS.items()}
    others = {a: b for pair in GENERATIONS for a, b in (pair, pair[::-1])}
    for key, measured in shown.items():
        if key in BOARDS:
            other = others[BOARDS[key]]
            launch = {"overhead.layer_s": own[other].overhead.layer_s}
            target = with_numbers(catalogue.load(BOARDS[key]), launch)
            found.append(Priced(target, measured, ((own[other], shown[boards[other]]),)))
        elif key.startswith(T4):
            rest = [m for k, m in shown.items() if k.startswith(T4) and m.workload.name != measured.workload.name]
            target = _fit("tesla-t4", rest, T4_RATES)
            found.append(Priced(target, measured, tuple((target, m) for m in rest)))
        elif not key.startswith(f"{DLA} MAXN"):
            dla = own["jetson-agx-orin-dla"]
            target = in_power_mode(dla, key.removeprefix(DLA).split()[0])
            found.append(Priced(target, measured, tuple((dla, m) for m in _at_maxn(shown))))
    return found


def only_fitted(shared: Path) -> list[str]:
    """The rows that give constants and are not predicted."""
    return [measured.label for measured in _at_maxn(_measurements(shared))]


def _at_maxn(shown: dict[str, Measurement]) -> list[Measurement]:
    return [measured for key, measured in shown.items() if key.startswith(f"{DLA} MAXN")]


def _fit(name: str, measurements: list[Measurement], start: dict[str, float]) -> Device:
    return fit(catalogue.load(name), measurements, list(start), fixed=start).device


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


def _by_macs(row: Priced) -> float:
    """Seconds if time were MACs over a share of the peak rate: that of the seen rows, of the same network if there is one."""

    def at_peak(target: Device, measured: Measurement) -> float:
        return measured.workload.macs / target.rates[str(measured.precision)].value

    alike = [(target, m) for target, m in row.seen if m.precision == row.measured.precision]
    same = [(target, m) for target, m in alike if m.workload.name == row.measured.workload.name] or alike
    return at_peak(row.target, row.measured) * float(np.mean([m.latency_s / at_peak(target, m) for target, m in same]))


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
