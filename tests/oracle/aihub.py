"""Phones and boards with a Hexagon processor: Qualcomm's own profiling of public networks (``npu/npu_aihub.json``).

Which rows are compared, and as which workload. Left out, with the reason (``not_priced``): what ran elsewhere or repeats another
row (the file's own remarks), rows of ONNX Runtime (they change by 12 % between releases of the source, the others by 1 %), rows
that changed by more than a quarter since the release before, older names of boards that are in the file under their new one,
networks that Hexagon executes badly in one precision (slower than in half precision, on every board where that can be seen), and
rows of a board that ran at a fraction of its clock (more than 2.5 times the time of another board with the same chip).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.device.catalogue import load
from hwmodels.device.device import Device
from hwmodels.numbers import Precision
from hwmodels.workload import Workload
from oracle import Row, hexagon_fit, npu_networks
from oracle.npu_networks import Rules

SOURCE = "Qualcomm AI Hub Models, profiling on physical devices (quic/ai-hub-models, perf.yaml)"
BOARDS = {
    "QCS8450 (Proxy)": "snapdragon-8gen1-hexagon",
    "QCS8550 (Proxy)": "snapdragon-8gen2-hexagon",
    "Samsung Galaxy S24": "snapdragon-8gen3-hexagon",
    "Samsung Galaxy S25": "snapdragon-8elite-hexagon",
    "Snapdragon 8 Elite Gen 5 QRD": "snapdragon-8elite-gen5-hexagon",
    "Snapdragon X Elite CRD": "snapdragon-x-elite-hexagon",
    "Snapdragon X2 Elite CRD": "snapdragon-x2-elite-hexagon",
    "Snapdragon 7 Gen 4 QRD": "snapdragon-7gen4-hexagon",
    "Dragonwing Q-6690 MTP": "dragonwing-q6690-hexagon",
    "Dragonwing RB3 Gen 2 Vision Kit": "qcs6490-hexagon",
    "Dragonwing IQ-9075 EVK": "qcs9075-hexagon",
    "QCS8275 (Proxy)": "qcs8275-hexagon",
    "SA8255 (Proxy)": "sa8255-hexagon",
    "SA8295P ADP": "sa8295p-hexagon",
    "SA8650 (Proxy)": "sa8650-hexagon",
    "SA8775P ADP": "sa8775p-hexagon",
}
"""Measured board -> device file."""

RENAMED = {"QCS9075 (Proxy)": "Dragonwing IQ-9075 EVK", "RB3 Gen 2 (Proxy)": "Dragonwing RB3 Gen 2 Vision Kit"}
UNDER_LITERT = {
    "Snapdragon 7 Gen 4 QRD": "snapdragon-7gen4-hexagon-litert",
    "Dragonwing Q-6690 MTP": "dragonwing-q6690-hexagon-litert",
    "Dragonwing RB3 Gen 2 Vision Kit": "qcs6490-hexagon-litert",
}
"""Boards without half precision, where LiteRT hands what its files keep in single precision to other processors: the device file
of that."""
SAME_CHIP = {"SA8775P ADP": "Dragonwing IQ-9075 EVK"}
PRECISIONS = {"w8a8": "W8A8", "w8a16": "W8A16", "float": "FP16"}
RUNTIMES = {"qnn_dlc": "QNN", "tflite": "LiteRT"}
EXECUTED_BADLY = {("pidnet", "w8a8"), ("sinet", "w8a16"), ("vit", "w8a16")}
"""Remarked as slower than half precision on every board that measured both."""
BASELINES = ("MACs only", "fixed + MACs/rate")
MOST_CHANGE = 1.25
MOST_SLOWDOWN = 2.5

RULES = {
    ("QNN", False): Rules(folds_scalar_normalization=True),
    ("QNN", True): Rules(),
    ("LiteRT", False): Rules(clips=True, folds_scalar_normalization=True, folds_normalization=True, rescales=True),
    ("LiteRT", True): Rules(clips=True, clips_at_the_end=True),
}
"""What a runtime makes of a graph, by runtime and whether it computes in floating point."""
HANDED_OVER = replace(RULES["LiteRT", False], scales_apart=True)


@dataclass(frozen=True, eq=False)
class Timing:
    """One row of the file: a whole network on one board."""

    board: str
    runtime: str
    network: str
    family: str
    precision: Precision
    workload: Workload
    latency_s: float

    @property
    def label(self) -> str:
        return f"{self.network} {self.precision}, {self.runtime}"


@cache
def timings(shared: Path) -> tuple[Timing, ...]:
    """The rows that the accelerator executed as it should, in the order of the file."""
    rows = _read(shared)
    times = _times(rows)
    return tuple(_timing(shared, row) for row in rows if not _reason(row, times))


def rows(shared: Path) -> list[Row]:
    """Every row beside what a fit predicts that has not seen its family on any board."""
    from oracle import handed_over  # which reads this module

    problem = hexagon_fit.Problem(timings(shared), targets())
    everything = problem.fit(np.ones(len(problem.timings), dtype=bool))
    predicted = hexagon_fit.left_out(problem, everything)
    simpler = [_line_left_out(problem.timings, fixed) for fixed in (False, True)]
    return [
        Row(
            UNDER_LITERT.get(timing.board, BOARDS[timing.board]) if timing.runtime == "LiteRT" else BOARDS[timing.board],
            "npu",
            timing.family,
            timing.label,
            SOURCE,
            "latency_s",
            float(predicted[i]),
            timing.latency_s,
            tuple((name, float(line[i])) for name, line in zip(BASELINES, simpler, strict=True)),
            plan_of=f"{timing.network}, {timing.runtime}",
        )
        for i, timing in enumerate(problem.timings)
    ] + handed_over.compared(shared)


def _line_left_out(timings: Sequence[Timing], fixed: bool) -> np.ndarray:
    """Seconds by ``MACs / rate``, or ``fixed + MACs / rate``, of each board and precision, family left out: ``float64[N]``."""
    predicted = np.zeros(len(timings))
    groups = [(t.board, t.precision, t.family) for t in timings]
    macs, measured = np.array([float(t.workload.macs) for t in timings]), np.array([t.latency_s for t in timings])
    for board, precision, family in dict.fromkeys(groups):
        others = [i for i, (b, p, f) in enumerate(groups) if (b, p) == (board, precision) and f != family]
        held = [i for i, group in enumerate(groups) if group == (board, precision, family)]
        start, each = (0.0, float(np.exp(np.mean(np.log(measured[others] / macs[others])))))
        if fixed:
            start, each = _line(macs[others], measured[others])
        predicted[held] = start + each * macs[held]
    return predicted


def _line(macs: np.ndarray, measured_s: np.ndarray) -> tuple[float, float]:
    """Fixed seconds, and seconds per MAC: least squares of the logarithms, neither below zero."""
    from scipy.optimize import least_squares

    scale = np.array([measured_s.min(), measured_s.max() / macs.max()])

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.log((x[0] * scale[0] + x[1] * scale[1] * macs) / measured_s))

    fixed_s, seconds_per_mac = least_squares(residuals, [0.9, 0.9], bounds=(1e-9, np.inf)).x * scale
    return float(fixed_s), float(seconds_per_mac)


def targets() -> dict[str, Device]:
    """The device file of each board."""
    return {board: load(name) for board, name in BOARDS.items()}


def handed_over(shared: Path) -> list[Timing]:
    """Rows of boards without half precision of which LiteRT ran a part elsewhere (see ``oracle.handed_over``)."""
    rows = _read(shared)
    return [_timing(shared, row, HANDED_OVER) for row in rows if _is_handed_over(row)]


def _is_handed_over(row: Mapping[str, Any]) -> bool:
    split = row["layers_npu"] and row["layers_cpu"] and RUNTIMES.get(row["runtime"]) == "LiteRT" and row["device"] in UNDER_LITERT
    return bool(split) and (row["network"], row["precision"]) not in EXECUTED_BADLY and not _changed(row)


def _changed(row: Mapping[str, Any]) -> bool:
    """Whether the release before had quite another time."""
    return bool(row["previous_ms"]) and not 1 / MOST_CHANGE < row["previous_ms"] / row["latency_ms"] < MOST_CHANGE


def not_priced(shared: Path) -> list[tuple[str, str]]:
    """Rows that are not compared, with the reason."""
    rows = _read(shared)
    times = _times(rows)
    return [
        (f"{row['network']} {row['precision']} on {row['device']}, {row['runtime']}", reason)
        for row in rows
        if (reason := _reason(row, times)) and not _is_handed_over(row)
    ]


def _reason(row: Mapping[str, Any], times: Mapping[tuple[str, ...], float]) -> str:
    """Why a row is not compared; "" where it is."""
    network, precision, runtime, board = (row[key] for key in ("network", "precision", "runtime", "device"))
    if not row["usable"]:
        return str(row["remark"]) or "did not run on the accelerator alone"
    if runtime not in RUNTIMES:
        return "ONNX Runtime changes by 12 % between releases"
    if precision not in PRECISIONS:
        return "a mix of widths whose layers are not published"
    if board in RENAMED:
        return f"an older name of {RENAMED[board]}"
    if "slower than float" in row["remark"] or (network, precision) in EXECUTED_BADLY:
        return "slower than in half precision: an operator that Hexagon executes badly"
    if _changed(row):
        return f"{row['previous_ms']} ms in the release before"
    other = times.get((SAME_CHIP.get(board, ""), network, precision, runtime))
    if other is not None and row["latency_ms"] > MOST_SLOWDOWN * other:
        return f"{other} ms on {SAME_CHIP[board]}, which has the same chip"
    return ""


def _times(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    return {(r["device"], r["network"], r["precision"], r["runtime"]): r["latency_ms"] for r in rows if r["usable"]}


@cache
def clamps_apart(shared: Path) -> frozenset[str]:
    """Networks whose 8-bit files for LiteRT have their clamps to [0, 6] as operators: as many more than the file in floating
    point."""
    counts: dict[tuple[str, str], int] = {}
    for row in _read(shared):
        if RUNTIMES.get(row["runtime"]) == "LiteRT" and row["layers_total"]:
            counts[row["network"], row["precision"]] = row["layers_total"]
    return frozenset(
        name
        for (name, precision), count in counts.items()
        if precision == "w8a8" and count - counts.get((name, "float"), count) >= npu_networks.clamps(shared, name) > 0
    )


def _timing(shared: Path, row: Mapping[str, Any], rules: Rules | None = None) -> Timing:
    precision, runtime = Precision.parse(PRECISIONS[row["precision"]]), RUNTIMES[row["runtime"]]
    apart = runtime == "LiteRT" and not precision.is_float and row["network"] in clamps_apart(shared)
    runs = replace(rules or RULES[runtime, precision.is_float], clamps_apart=apart)
    return Timing(
        row["device"],
        runtime,
        row["network"],
        npu_networks.family(shared, row["network"]),
        precision,
        npu_networks.workload(shared, row["network"], runs),
        row["latency_ms"] * 1e-3,
    )


@cache
def _read(shared: Path) -> list[dict[str, Any]]:
    found = json.loads((shared / "oracle" / "npu" / "npu_aihub.json").read_text(encoding="utf-8"))
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
