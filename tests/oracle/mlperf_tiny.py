"""The four networks of MLPerf Tiny as workloads, and what was measured of them.

The networks are the benchmark's reference models (Banbury et al., "MLPerf Tiny Benchmark", 2021, section 4, and its published
layer lists): ResNet8 on 32x32 pictures, MobileNetV1 at a quarter of its width on 96x96, DS-CNN on 49x10 features, and a fully
connected autoencoder of 640 inputs. They are written down here at batch 1 with batch normalisation folded; softmax is left out.

Leave one network out, per board and library: a board's rate is fitted to its other networks; what a depthwise MAC costs beside
a dense one is a property of the kernel library, and is taken from the library's *other boards*, or, for a library seen on one
board only, from the other libraries. The core's shape (patches, requantization, the other ratios) is that of the shipped device
with the same core. Accelerators, phones, FPGAs and floating point are left out, and rows that do not state a clock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import calibrate, cost, device
from hwmodels.calibrate import Measurement
from hwmodels.device import Device, Quantity
from hwmodels.device_facts import number, with_numbers
from hwmodels.precision import Precision
from hwmodels.workload import Layer, Tensor, Workload
from oracle import Row

SOURCE = "MLPerf Tiny, closed division, v0.7 to v1.3"
W8A8 = Precision(8, 8)
RATE, DEPTHWISE, LINEAR = "rates.W8A8", "mcu.cycles_per_mac.depthwise", "mcu.cycles_per_mac.linear"
PRIORS = {"pointwise": 0.75, "depthwise": 2.5, "linear": 1.25}
"""Cycles per MAC relative to a convolution's: no patches to walk; no operand used twice in registers; weights used once."""


@dataclass
class _Chain:
    """A workload under construction."""

    name: str
    layers: list[Layer] = field(default_factory=list)
    shapes: list[tuple[int, int, int]] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)

    def enter(self, channels: int, height: int, width: int, producer: int = -1) -> int:
        self.shapes.append((channels, height, width))
        self.producers.append(producer)
        return len(self.shapes) - 1

    def conv(
        self, x: int, out: int, kernel: tuple[int, int], stride: int = 1, depthwise: bool = False, activation: str = "relu"
    ) -> int:
        channels, height, width = self.shapes[x]
        groups = channels if depthwise else 1
        weights = kernel[0] * kernel[1] * channels // groups * out
        size = (-(-height // stride), -(-width // stride))
        op = "depthwise" if depthwise else "conv"
        return self._emit(op, (x,), (out, *size), weights * size[0] * size[1], weights, out, kernel, stride, groups, activation)

    def linear(self, x: int, out: int, activation: str = "none") -> int:
        channels, height, width = self.shapes[x]
        weights = channels * height * width * out
        return self._emit("linear", (x,), (out, 1, 1), weights, weights, out, (1, 1), 1, 1, activation)

    def add(self, x: int, y: int) -> int:
        return self._emit("add", (x, y), self.shapes[x], 0, 0, 0, (1, 1), 1, 1, "relu")

    def pool(self, x: int) -> int:
        return self._emit("pool", (x,), (self.shapes[x][0], 1, 1), 0, 0, 0, (1, 1), 1, 1, "none")

    def _emit(
        self,
        op: str,
        inputs: tuple[int, ...],
        shape: tuple[int, int, int],
        macs: int,
        weights: int,
        biases: int,
        kernel: tuple[int, int],
        stride: int,
        groups: int,
        activation: str,
    ) -> int:
        output = self.enter(*shape, len(self.layers))
        name = f"{op}{len(self.layers)}"
        self.layers.append(Layer(name, op, inputs, output, macs, weights, biases, kernel, stride, groups, activation))
        return output

    def workload(self) -> Workload:
        readers = [tuple(i for i, layer in enumerate(self.layers) if t in layer.inputs) for t in range(len(self.shapes))]
        tensors = tuple(Tensor(f"t{t}", *shape, self.producers[t], readers[t], t) for t, shape in enumerate(self.shapes))
        return Workload(self.name, tuple(self.layers), tensors, tuple(t.name for t in tensors))


def resnet8() -> Workload:
    """Image classification: 12.50 million MACs."""
    net = _Chain("resnet8")
    x = net.conv(net.enter(3, 32, 32), 16, (3, 3))
    y = net.conv(net.conv(x, 16, (3, 3)), 16, (3, 3), activation="none")
    x = net.add(y, x)
    for width in (32, 64):
        y = net.conv(net.conv(x, width, (3, 3), 2), width, (3, 3), activation="none")
        x = net.add(y, net.conv(x, width, (1, 1), 2, activation="none"))
    net.linear(net.pool(x), 10)
    return net.workload()


def mobilenet(channels: int = 3) -> Workload:
    """Visual wake words, MobileNetV1 x0.25 at 96x96: 7.49 million MACs."""
    net = _Chain("mobilenet_v1_025")
    x = net.conv(net.enter(channels, 96, 96), 8, (3, 3), 2)
    widths = (16, 32, 32, 64, 64, *(128,) * 6, 256, 256)
    for i, width in enumerate(widths):
        x = net.conv(x, net.shapes[x][0], (3, 3), 2 if i in (1, 3, 5, 11) else 1, depthwise=True)
        x = net.conv(x, width, (1, 1))
    net.linear(net.pool(x), 2)
    return net.workload()


def ds_cnn() -> Workload:
    """Keyword spotting: 2.66 million MACs."""
    net = _Chain("ds_cnn")
    x = net.conv(net.enter(1, 49, 10), 64, (10, 4), 2)
    for _ in range(4):
        x = net.conv(net.conv(x, 64, (3, 3), depthwise=True), 64, (1, 1))
    net.linear(net.pool(x), 12)
    return net.workload()


def autoencoder() -> Workload:
    """Anomaly detection, fully connected: 0.264 million MACs."""
    net = _Chain("fc_autoencoder")
    x = net.enter(640, 1, 1)
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128, 640):
        x = net.linear(x, width, "none" if width == 640 else "relu")
    return net.workload()


@cache
def network(name: str) -> Workload:
    """A benchmark network by the name that the measurements use."""
    builders = {"_ic_": resnet8, "_vww_": mobilenet, "_kws_": ds_cnn, "_ad_": autoencoder}
    return next(build for part, build in builders.items() if part in name)()


CORES = {
    "M0+": "stm32g0b1",
    "M33": "stm32u575-cubeai",
    "M4": "stm32l4r5-cubeai",
    "M7": "stm32h7a3-cubeai",
    "M85": "ra8d1",
}
"""Shipped device with the shape of a core and a library of this benchmark; any other core is taken for a Cortex-M4."""

BOARDS = {
    "L4R5": "stm32l4r5-cubeai",
    "H7A3": "stm32h7a3-cubeai",
    "F746": "STM32F746",
    "U575": "stm32u575-cubeai",
    "G0B1": "stm32g0b1",
    "RA8D1": "ra8d1",
    "CY8C": "PSoC 62",
}


@dataclass(frozen=True)
class Group:
    """What one submission measured on one board with one kernel library: seconds and joules by network."""

    board: str
    library: str
    entry: str
    base: Device
    seconds: dict[str, float]
    joules: dict[str, float]

    def measurements(self, names: Iterable[str]) -> list[Measurement]:
        return [Measurement(network(n), W8A8, self.seconds[n], n) for n in names]


def groups(shared: Path) -> list[Group]:
    """The measured boards, one entry a submission."""
    folder = shared / "oracle"
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in json.loads((folder / "measured_mlperf_tiny.json").read_text())["measurements"]:
        if "cycles_per_mac" in row and row["precision"].startswith("int8") and "64GC" not in row.get("processor", ""):
            found[(row["submitter"], row["system"], row["round"])].append(row)
    made = []
    for (submitter, system, edition), rows_of in found.items():
        board = next((name for part, name in BOARDS.items() if part in system.upper()), system)
        seconds = {r["network"]: r["latency_ms"] * 1e-3 for r in rows_of}
        if submitter == "bosch" and edition == "v1.2":
            seconds |= _autoencoder_s(folder, system)
        joules = {r["network"]: r["energy_uJ_per_inf"] * 1e-6 for r in rows_of if "energy_uJ_per_inf" in r}
        base = _core(rows_of[0].get("processor", ""), rows_of[0]["clock_hz"])
        made.append(Group(board, _library(rows_of[0]), f"{submitter} {edition} {system}", base, seconds, joules))
    return made


def _autoencoder_s(folder: Path, system: str) -> dict[str, float]:
    """The fully connected network of a board whose floating-point and int8 times are listed side by side."""
    table = json.loads((folder / "measured_mcu_bitwidth.json").read_text())["fp32_vs_int8"]["rows"]
    board = system.removesuffix("_int8").replace("CY8CPROTO_062_4343W", "CY8CPROTO_062")
    for row in table:
        if row["network"] == "ad fc autoencoder" and row["board"].split(" ")[0] == board:
            return {"mlperf_tiny_ad_autoencoder": row["int8_ms"] * 1e-3}
    return {}


def _library(row: dict[str, Any]) -> str:
    """The kernel library, and its generation where depthwise kernels changed between two."""
    text = f"{row.get('framework', '')} {row['system']} {row['submitter']}".lower()
    for part in ("hale", "onnc", "native", "cmsis", "tflite"):
        if part in text:
            return part
    if "plumerai" in text:
        return "plumerai 2022" if row["round"] == "v1.0" else "plumerai 2023"
    if "stmicro" in text or "x-cube" in text:
        recent = row["submitter"] == "STMicroelectronics" and row["round"] >= "v1.1"
        return "x-cube-ai 8.1 and later" if recent else "x-cube-ai 7 to 8.0"
    return str(row["system"])


def _core(processor: str, clock_hz: float) -> Device:
    """The shape of a core at a clock; flash bandwidth scales with it."""
    name = next((shipped for part, shipped in CORES.items() if part in processor), CORES["M4"])
    shape = device.load(name)
    faster = clock_hz / number(shape, "mcu.clock_hz")
    conv = number(shape, "mcu.cycles_per_mac.conv")
    changed = {key: number(shape, key) * faster for key in (RATE, "mcu.clock_hz", "memory.flash.bytes_per_s")}
    changed |= {f"mcu.cycles_per_mac.{op}": conv * ratio for op, ratio in PRIORS.items()}
    return with_numbers(shape, {key: Quantity(value=value) for key, value in changed.items()})


def depthwise_ratio(group: Group) -> float:
    """Cost of a depthwise MAC relative to the prior, fitted to all networks of a group."""
    start = number(group.base, DEPTHWISE)
    fitted = calibrate.fit(group.base, group.measurements(group.seconds), [RATE, DEPTHWISE], prior_weight=1e-3)
    return fitted.values[DEPTHWISE] / start


def prior_ratio(group: Group, ratios: Sequence[tuple[Group, float]]) -> float:
    """The depthwise ratio of the group's library on other boards; of the other libraries, one vote each, where there are none."""
    by_library = defaultdict(list)
    for other, ratio in ratios:
        if other.board != group.board:
            by_library[other.library].append(np.log(ratio))
    if group.library in by_library:
        return float(np.exp(np.mean(by_library[group.library])))
    return float(np.exp(np.mean([np.mean(votes) for votes in by_library.values()])))


def rows(shared: Path) -> list[Row]:
    """Predicted beside measured latency and energy of each network left out."""
    measured = [g for g in groups(shared) if len(g.seconds) > 1]
    ratios = [(g, depthwise_ratio(g)) for g in measured]
    found = []
    for group in measured:
        ratio = prior_ratio(group, ratios)
        start = with_numbers(group.base, {DEPTHWISE: Quantity(value=number(group.base, DEPTHWISE) * ratio)})
        for name in group.seconds:
            found += _left_out(group, start, name)
    return found


def _left_out(group: Group, start: Device, name: str) -> list[Row]:
    """Latency, and energy where it was measured, of one network from the others of its group."""
    rest = [other for other in group.seconds if other != name]
    # One network fixes the rate; what more networks tell, they may change.
    fitted = calibrate.fit(start, group.measurements(rest), (RATE, DEPTHWISE, LINEAR)[: len(rest)]).device
    macs = network(name).macs
    per_mac = np.exp(np.mean([np.log(group.seconds[n] / network(n).macs) for n in rest]))
    label = f"{network(name).name}, {group.library} ({group.entry})"

    def row(quantity: str, predicted: float, measured: float, baseline: float) -> Row:
        return Row(
            group.board, "mcu", network(name).name, label, SOURCE, quantity, predicted, measured, (("MACs only", baseline),)
        )

    found = [row("latency_s", cost.uniform(fitted, network(name), W8A8).latency_s, group.seconds[name], macs * per_mac)]
    known = [n for n in rest if n in group.joules]
    if name in group.joules and known:
        power = np.exp(np.mean([np.log(group.joules[n] / group.seconds[n]) for n in known]))
        powered = with_numbers(fitted, {"energy.static_w": Quantity(value=float(power))})
        powered = powered.model_copy(update={"energy": powered.energy.model_copy(update={"relative": False})})
        per_mac_j = np.exp(np.mean([np.log(group.joules[n] / network(n).macs) for n in known]))
        found.append(row("energy_j", cost.uniform(powered, network(name), W8A8).energy_j, group.joules[name], macs * per_mac_j))
    return found
