"""Hexagon against Qualcomm's own profiling of plain super-resolution chains at 128x128, x4: fixed cost plus padded arithmetic.

Rates and fixed cost of the device files were fitted to measurements of the same networks (one slope and intercept over all of
them), so this checks that the model reproduces them from the layers up; it is not a prediction of networks unseen.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hwmodels import cost, device
from hwmodels.precision import Precision
from hwmodels.workload import Layer, Tensor, Workload

BOARDS = {"snapdragon-8gen2-hexagon": "QCS8550 (Proxy)", "snapdragon-8gen3-hexagon": "Samsung Galaxy S24"}
CHAINS = ("quicksrnetsmall", "quicksrnetlarge", "real_esrgan_general_x4v3")
PRECISIONS = {"W8A8": "w8a8", "FP16": "fp16 on the NPU (float model)"}


def chain(layers: list[dict[str, int | str]], height: int, width: int, channels: int) -> Workload:
    """The convolutions on the main path and the final depth-to-space."""
    rows, tensors, size = [], [Tensor("input", channels, height, width, -1, (0,), 0)], (height, width)
    for layer in layers:
        source, i = tensors[-1], len(rows)
        if layer["op"] == "conv2d" and layer["cin"] == source.channels:
            weights = int(layer["kh"]) * int(layer["kw"]) * source.channels * int(layer["cout"])
            kernel = (int(layer["kh"]), int(layer["kw"]))
            rows.append(Layer(f"l{i}", "conv", (i,), i + 1, weights * height * width, weights, int(layer["cout"]), kernel))
        elif layer["op"] == "depth_to_space":
            size = (height * int(layer["block"]), width * int(layer["block"]))
            rows.append(Layer(f"l{i}", "pixel_shuffle", (i,), i + 1))
        else:
            continue
        tensors.append(Tensor(f"t{i}", int(layer["cout"]), *size, i, (i + 1,), i + 1))
    tensors[-1] = Tensor(tensors[-1].name, tensors[-1].channels, *size, len(rows) - 1, (), len(rows))
    return Workload("chain", tuple(rows), tuple(tensors), tuple(t.name for t in tensors))


@pytest.mark.parametrize("name", BOARDS)
def test_chains_of_convolutions(shared: Path, name: str) -> None:
    found = json.loads((shared / "oracle" / "measured_aihub_sr.json").read_text())
    target, ratios = device.load(name), []
    for network in CHAINS:
        described = found["networks"][network]
        workload = chain(described["layers"], *described["input"])
        for precision, label in PRECISIONS.items():
            measured = min(
                row["latency_ms"]
                for row in found["measurements"]
                if (row["network"], row["precision"], row["device"]) == (network, label, BOARDS[name])
            )
            ours = cost.uniform(target, workload, Precision.parse(precision)).latency_s * 1e3
            ratios.append(ours / measured)
            print(f"\n{name} {network} {precision}: {ours:.3f} ms against {measured:.3f} ms measured", end="")
    errors = np.abs(np.array(ratios) - 1)
    print(f"\n{name}: median error {np.median(errors):.0%}, largest {errors.max():.0%}")
    assert np.median(errors) <= 0.25
    assert errors.max() <= 0.4
