"""Phones and boards with a Hexagon processor: Qualcomm's own profiling of super-resolution networks at 128x128, x4.

Five constants a device: effective rates in 8 bits and in half precision, the vector unit, the exchange with the host, the fixed
time of an inference. The first three belong to the silicon and are fitted to the runtimes QNN and LiteRT together; the last two
belong to the runtime that asks and are fitted to its rows alone, from there. ``predict_left_out`` never shows a fit the network
that it predicts, in any precision or runtime. Every fit begins at the same round numbers, whatever the device file says.

What the runtimes do differently, from their operator counts: LiteRT executes an explicit clip as a maximum and a minimum (in
8 bits only before other operators, at the end the code range clips); QNN and ONNX Runtime fold it into the clamp before it.
Rows that ran on the CPU, wholly or for one operator, are not rows of the accelerator: ``not_priced`` lists them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
from hwmodels.workload import Workload
from oracle import Row
from oracle.layer_tables import chain

SOURCE = "Qualcomm AI Hub Models, profiling on physical devices (quic/ai-hub-models, perf.yaml)"
BOARDS = {
    "QCS8450 (Proxy)": "snapdragon-8gen1-hexagon",
    "QCS8550 (Proxy)": "snapdragon-8gen2-hexagon",
    "Samsung Galaxy S24": "snapdragon-8gen3-hexagon",
    "Samsung Galaxy S25": "snapdragon-8elite-hexagon",
    "Snapdragon 8 Elite Gen 5 QRD": "snapdragon-8elite-gen5-hexagon",
    "Snapdragon X Elite CRD": "snapdragon-x-elite-hexagon",
    "Snapdragon 7 Gen 4 QRD": "snapdragon-7gen4-hexagon",
    "Dragonwing Q-6690 MTP": "dragonwing-q6690-hexagon",
    "Dragonwing RB3 Gen 2 Vision Kit": "qcs6490-hexagon",
    "Dragonwing IQ-9075 EVK": "qcs9075-hexagon",
    "QCS8275 (Proxy)": "qcs8275-hexagon",
    "SA8295P ADP": "sa8295p-hexagon",
    "SA8775P ADP": "sa8775p-hexagon",
}
"""Measured board -> device file. "SA7255P ADP" is left out: its rows repeat those of QCS8275 to the last digit."""

PRECISIONS = {"w8a8": "W8A8", "fp16 on the NPU (float model)": "FP16"}
RUNTIMES = {"qnn_dlc": "QNN", "tflite": "LiteRT", "onnx": "ONNX Runtime"}
START = {"rates.W8A8": 20e12, "rates.FP16": 5e12, "npu.vector_bytes_per_s": 100e9}
START_RUNTIME = {"npu.host_bytes_per_s": 10e9, "overhead.inference_s": 0.2e-3}
CLIP_OPERATIONS = 2
BASELINES = ("MACs only", "fixed + MACs/rate")


@dataclass(frozen=True, eq=False)
class Timing:
    """One row of the file as a measurement of the accelerator."""

    board: str
    runtime: str
    network: str
    measured: Measurement


def timings(shared: Path, board: str) -> list[Timing]:
    """The rows of one board that ran on its accelerator, in the order of the file."""
    found = _read(shared)
    return [
        Timing(board, row["runtime"], row["network"], _measurement(shared, row))
        for row in found["measurements"]
        if row["device"] == board and _on_accelerator(row)
    ]


def not_priced(shared: Path) -> list[tuple[str, str]]:
    """Rows that are no rows of the accelerator, with the reason."""
    found = []
    for row in _read(shared)["measurements"]:
        label = f"{row['network']} {PRECISIONS[row['precision']]} on {row['device']}, {RUNTIMES[row['runtime']]}"
        if row["device"] == "SA7255P ADP":
            found.append((label, "repeats the row of QCS8275"))
        elif row["unit"] != "NPU":
            found.append((label, "ran on the CPU"))
        elif not _on_accelerator(row):
            found.append((label, "an operator ran on the CPU; the copies there and back are not modelled"))
    return found


def rows(shared: Path) -> list[Row]:
    """Every row that the accelerator executed, its network left out of the fit that predicts it."""
    return [row for board in BOARDS for row in board_rows(shared, board)]


def board_rows(shared: Path, board: str) -> list[Row]:
    """The rows of one board (see ``rows``)."""
    found = timings(shared, board)
    target = catalogue.load(BOARDS[board])
    predicted = predict_left_out(target, found)
    baselines = [baseline_left_out(found, fixed) for fixed in (False, True)]
    return [
        Row(
            target.name,
            target.kind,
            timing.network,
            timing.measured.label,
            SOURCE,
            "latency_s",
            float(predicted[i]),
            timing.measured.latency_s,
            tuple((name, float(line[i])) for name, line in zip(BASELINES, baselines, strict=True) if np.isfinite(line[i])),
        )
        for i, timing in enumerate(found)
    ]


def silicon(target: Device, found: Sequence[Timing]) -> Device:
    """``target`` with the constants of its silicon (and a first guess of the runtime's) fitted to QNN and LiteRT."""
    begin = {key: value for key, value in (START | START_RUNTIME).items() if key != "rates.FP16" or "FP16" in target.rates}
    begun = with_numbers(target, {key: Quantity(value=value) for key, value in begin.items()})
    seen = [t.measured for t in found if t.runtime != "onnx"]
    precisions = {f"rates.{m.precision}" for m in seen}
    free = [key for key in begin if not key.startswith("rates.") or key in precisions]
    return fit(begun, seen, free, loss="soft_l1").device


def with_runtime(target: Device, found: Sequence[Timing]) -> Device:
    """``target`` with the constants of a runtime fitted to its rows; as it is if there are none."""
    return fit(target, [t.measured for t in found], list(START_RUNTIME), loss="soft_l1").device if found else target


def predict_left_out(target: Device, found: Sequence[Timing]) -> np.ndarray:
    """Seconds for each timing by fits that have not seen its network: ``float64[N]``."""
    predicted = np.zeros(len(found))
    for network in _in_order(t.network for t in found):
        others = [t for t in found if t.network != network]
        chip = silicon(target, others)
        for runtime in _in_order(t.runtime for t in found):
            held = [i for i, t in enumerate(found) if (t.network, t.runtime) == (network, runtime)]
            if held:
                fitted = with_runtime(chip, [t for t in others if t.runtime == runtime])
                predicted[held] = predict(fitted, [found[i].measured for i in held])
    return predicted


def baseline_left_out(found: Sequence[Timing], fixed: bool) -> np.ndarray:
    """Seconds by ``MACs / rate``, or ``fixed time + MACs / rate``, for each runtime and precision, network left out.

    Least squares of the logarithms, as our own fits; a single other network gives a rate only, none gives NaN.
    """
    predicted = np.zeros(len(found))
    for i, timing in enumerate(found):
        alike = [t for t in found if t.runtime == timing.runtime and t.measured.precision == timing.measured.precision]
        others = [t for t in alike if t.network != timing.network]
        macs = np.array([t.measured.workload.macs for t in others], dtype=float)
        measured = np.array([t.measured.latency_s for t in others])
        seconds_per_mac = float(np.exp(np.mean(np.log(measured / macs)))) if others else np.nan
        start = 0.0
        if fixed and len(others) > 1:
            start, seconds_per_mac = _line(macs, measured)
        predicted[i] = start + timing.measured.workload.macs * seconds_per_mac
    return predicted


def _line(macs: np.ndarray, measured_s: np.ndarray) -> tuple[float, float]:
    """Fixed seconds, and seconds per MAC: least squares of the logarithms, neither below zero."""
    from scipy.optimize import least_squares

    scale = np.array([measured_s.min(), measured_s.max() / macs.max()])

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.log((x[0] * scale[0] + x[1] * scale[1] * macs) / measured_s)

    fixed_s, seconds_per_mac = least_squares(residuals, [0.9, 0.9], bounds=(1e-9, np.inf)).x * scale
    return float(fixed_s), float(seconds_per_mac)


def _on_accelerator(row: dict[str, Any]) -> bool:
    return row["unit"] == "NPU" and row["layers_npu"] == row["layers_total"]


def _measurement(shared: Path, row: dict[str, Any]) -> Measurement:
    precision = Precision.parse(PRECISIONS[row["precision"]])
    clips = CLIP_OPERATIONS if row["runtime"] == "tflite" and (precision.is_float or row["network"] != "xlsr") else 0
    label = f"{row['network']} {precision}, {RUNTIMES[row['runtime']]}"
    return Measurement(_workload(shared, row["network"], clips), precision, row["latency_ms"] * 1e-3, label)


@cache
def _read(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "oracle" / "measured_aihub_sr.json").read_text(encoding="utf-8"))
    return found


@cache
def _workload(shared: Path, network: str, clips: int) -> Workload:
    described = _read(shared)["networks"][network]
    has_clip = any(layer["op"] == "clip" for layer in described["layers"])
    return chain(network, described, clips) if has_clip or not clips else _workload(shared, network, 0)


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
