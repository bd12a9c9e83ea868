"""Single kernels and a network on ESP32-S3, published as processor ticks in the README of Espressif's kernel library.

The single kernels had their data in external RAM (priced here at ``PSRAM_BYTES_PER_S``), the network (a MobileNetV1 on
one-channel pictures) in internal RAM. The shipped device's constants are fitted to these rows, so they are no independent test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from words import make_layer

from hwmodels import cost
from hwmodels.device import catalogue, device
from hwmodels.device.tables import Memory
from hwmodels.device.values import Quantity
from hwmodels.numbers import Precision
from hwmodels.workload import Tensor, Workload
from oracle import Row
from oracle.tiny_networks import mobilenet

SOURCE = "esp-nn and esp-tflite-micro README"
W8A8 = Precision.integers(8, 8)
PSRAM_BYTES_PER_S = 60e6
"""Between the 40 and the 80 MB/s of quad and octal parts."""


def one_layer(row: dict[str, Any]) -> Workload:
    """The workload of one published kernel."""
    shape = row["shape"]
    op, kernel = row["op"].split()[0], shape.get("k", 1)
    height, width = shape.get("h", 1), shape.get("w", 1)
    out_h, out_w = shape.get("oh", height), shape.get("ow", width)
    channels = shape.get("cin", shape.get("c"))
    outputs = shape.get("cout", channels * shape.get("multiplier", 1))
    op = {"fully": "linear"}.get(op, op)
    weights = row["macs"] // (out_h * out_w)
    groups = channels if op == "depthwise" else 1
    layer = make_layer("kernel", op, (0,), 1, row["macs"], weights, outputs, (kernel, kernel), 1, groups)
    tensors = (Tensor("x", channels, height, width, -1, (0,), 0), Tensor("y", outputs, out_h, out_w, 0, (), 1))
    return Workload(row["op"], (layer,), tensors, ("x", "y"))


def measured(shared: Path) -> list[tuple[str, Workload, float]]:
    """Label, workload and cycles of each row."""
    table = json.loads((shared / "oracle" / "measured_mcu_kernels.json").read_text())["esp_nn"]
    found = []
    for row in table["rows"]:
        channels = row["shape"].get("cin", row["shape"].get("c"))
        label = f"{row['op']}, {channels} channels"
        found.append((label, one_layer(row), float(row["ticks_optimised"])))
    chip = next(r for r in table["whole_network"]["rows"] if r["chip"].startswith("ESP32-S3"))
    found.append(("person detection", mobilenet(channels=1), chip["ms"] * 1e-3 * 240e6))
    return found


def rows(shared: Path) -> list[Row]:
    """Predicted and published latency on ESP32-S3."""
    target = catalogue.load("esp32-s3")
    assert target.mcu is not None
    clock = target.mcu.clock_hz.value
    return [
        Row(
            target.name,
            "mcu",
            "",
            label,
            SOURCE,
            "latency_s",
            predicted_s(target, workload),
            cycles / clock,
            seen="these rows",
            single_layer=len(workload.layers) == 1,
        )
        for label, workload, cycles in measured(shared)
    ]


def predicted_s(target: device.Device, workload: Workload) -> float:
    """Single kernels read and write external RAM and are called without the fixed cost of an inference."""
    if len(workload.layers) > 1:
        return cost.uniform(target, workload, W8A8).latency_s
    external = target.memory.model_copy(update={"dram": Memory(bytes_per_s=Quantity(value=PSRAM_BYTES_PER_S))})
    alone = cost.uniform(target.model_copy(update={"memory": external}), workload, W8A8).latency_s
    return alone - target.overhead.inference_s.value
