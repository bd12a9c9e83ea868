"""Instructions of the exported C kernels on emulated Cortex-M4, M7 and M55, as constants of the microcontroller model.

    python tests/bench/mcu_instructions.py [--write]

Single layers of many shapes run under QEMU; instructions are exact and the same in every run. The constants of the model are the
non-negative least-squares fit of

    instructions = a_op * MACs (padded to the lanes) + r * outputs + g * gathered patch bytes + u_b * weights + l

with one ``a`` per operation (3x3 and 5x5, pointwise, depthwise convolution), weights that are unpacked (``u_b``, b < 8 bits)
once a layer, and a constant per layer. The fit minimises relative errors; what is left of them (borders, odd channels, calls of
memcpy for patches of few channels) is printed and written. Moves and additions are
instructions per element of the output. ``--write`` replaces ``hwmodels/devices/mcu_instructions.json``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from random_networks import quantize

from hwsearch.files import write_json
from hwsearch.runtimes import boards, qemu
from searchspaces.trace import trace

TABLE = Path(__file__).parents[2] / "hwmodels" / "devices" / "mcu_instructions.json"
LANES = {"cortex-m4": 4, "cortex-m7": 4, "cortex-m55": 16}
"""Weights that the inner loop takes at once."""
SIDES = (12, 24)
SHAPES = [
    *((1, 56, 5), (3, 28, 3), (12, 12, 3), (16, 16, 3), (28, 28, 3), (32, 12, 3), (56, 4, 5)),
    *((56, 12, 1), (12, 56, 1), (64, 64, 1)),
]
"""Input channels, output channels, kernel: layers of FSRCNN, ABPN, ECBSR, EDSR, and between."""
DEPTHWISE = [(8, 3), (16, 3), (32, 3), (16, 5)]
"""Channels, kernel."""
UNPACKED = [(12, 12, 3), (56, 12, 1)]
TERMS = ("conv", "pointwise", "depthwise", "requant", "im2col", *(f"unpack_{bits}" for bits in range(2, 8)), "layer")


@dataclass(frozen=True)
class Layer:
    """One measured layer; ``depthwise``: outputs equals inputs, one input channel each."""

    inputs: int
    outputs: int
    kernel: int
    side: int
    bits: int = 8
    depthwise: bool = False

    def module(self) -> nn.Module:
        groups = self.inputs if self.depthwise else 1
        convolution = nn.Conv2d(self.inputs, self.outputs, self.kernel, padding=self.kernel // 2, groups=groups)
        return nn.Sequential(convolution, nn.ReLU()).eval()

    @property
    def weights(self) -> int:
        return self.kernel**2 * self.outputs * (1 if self.depthwise else self.inputs)

    @property
    def macs(self) -> int:
        return self.weights * self.side**2

    def row(self, lanes: int) -> np.ndarray:
        """How often each of ``TERMS`` occurs."""
        pixels, patch = self.side**2, self.kernel**2 * self.inputs
        counts = dict.fromkeys(TERMS, 0.0)
        if self.depthwise:
            counts["depthwise"] = self.macs
        else:
            padded = -(-patch // lanes) * lanes * self.outputs * pixels
            counts["pointwise" if self.kernel == 1 else "conv"] = padded
            counts["im2col"] = patch * pixels if self.kernel > 1 else 0
        counts["requant"] = self.outputs * pixels
        if self.bits < 8:
            counts[f"unpack_{self.bits}"] = self.weights
        counts["layer"] = 1
        return np.array(list(counts.values()))


def layers() -> list[Layer]:
    """Everything that is measured to fit the constants of convolutions."""
    return [
        *(Layer(*shape, side) for shape in SHAPES for side in SIDES),
        *(Layer(channels, channels, kernel, side, depthwise=True) for channels, kernel in DEPTHWISE for side in SIDES),
        *(Layer(*shape, SIDES[0], bits) for shape in UNPACKED for bits in range(2, 8)),
    ]


def instructions(
    module: nn.Module, channels: int, side: int, board: boards.Board, bits: int = 8, tensor_bits: int = 8
) -> dict[str, int]:
    """Instructions of every step of a module, by its canonical name."""
    torch.manual_seed(0)
    q = quantize(trace(module, channels, "one"), bits, tensor_bits)
    with tempfile.TemporaryDirectory() as folder:
        network = qemu.Network(q, board, Path(folder), (side, side))
        codes = np.random.default_rng(0).integers(0, 256, (1, channels, side, side))
        counts = network.run(codes)[1][0]
    return {f"{step.node.op} {step.node.name}": int(count) for step, count in zip(network.program.steps, counts, strict=True)}


class Elementwise(nn.Module):
    """A convolution, an addition, a concatenation, a repetition, a pixel shuffle: one step each."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shuffle = nn.Conv2d(4, 4, 1), nn.PixelShuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat([x + self.layer(x), torch.repeat_interleave(x, 2, dim=1)], dim=1)
        return self.shuffle(y)


def elementwise(board: boards.Board) -> dict[str, float]:
    """Instructions per element of the output of what is no convolution, from the difference of two sizes."""
    small, large = (instructions(Elementwise().eval(), 4, side, board) for side in SIDES)
    outputs = {"add": 4, "repeat": 8, "concat": 12, "pixel_shuffle": 12}
    pixels = SIDES[1] ** 2 - SIDES[0] ** 2
    return {
        kind: (large[name] - small[name]) / (outputs[kind] * pixels) for name in small if (kind := name.split()[0]) in outputs
    }


def fit(measured: list[Layer], found: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Constants in the order of ``TERMS``, and the relative error of every layer.

    Convolutions come first; depthwise layers then have one constant left, per MAC, because the model requantizes all alike.
    """
    rows = np.array([x.row(lanes) for x in measured])
    dense = np.array([not x.depthwise for x in measured])
    constants, _ = nnls(rows[dense] / found[dense, None], np.ones(dense.sum()))
    column = TERMS.index("depthwise")
    rest, macs = found[~dense] - rows[~dense] @ constants, rows[~dense, column]
    constants[column] = np.sum(rest * macs / found[~dense] ** 2) / np.sum((macs / found[~dense]) ** 2)
    return constants, rows @ constants / found - 1


def measure(board: boards.Board) -> dict[str, Any]:
    """All constants of one core, with what they were fitted to."""
    measured = layers()
    found = np.array([sum(instructions(x.module(), x.inputs, x.side, board, x.bits).values()) for x in measured], float)
    constants, errors = fit(measured, found, LANES[board.core])
    promised = next(i for i, x in enumerate(measured) if (x.inputs, x.outputs, x.kernel, x.side) == (16, 16, 3, 24))
    wide = sum(instructions(Layer(16, 16, 3, 24).module(), 16, 24, board, tensor_bits=16).values())
    return {
        "core": board.core,
        "lanes": LANES[board.core],
        "per_unit": dict(zip(TERMS, constants.round(4).tolist(), strict=True)),
        "per_element": {key: round(value, 3) for key, value in elementwise(board).items()},
        "relative_error": {"mean": round(float(np.abs(errors).mean()), 3), "largest": round(float(np.abs(errors).max()), 3)},
        "per_mac_3x3_16_to_16": round(float(found[promised]) / measured[promised].macs, 3),
        "per_mac_3x3_16_to_16_w8a16": round(wide / measured[promised].macs, 3),
        "measured": [
            {"inputs": x.inputs, "outputs": x.outputs, "kernel": x.kernel, "side": x.side, "weight_bits": x.bits,
             "depthwise": x.depthwise, "macs": x.macs, "instructions": int(count)}
            for x, count in zip(measured, found, strict=True)
        ],
    }  # fmt: skip


def main() -> None:
    boards.check_tools()
    cores = []
    for board in boards.BOARDS.values():
        cores.append(measure(board))
        print(f"{board.core}: {cores[-1]['per_unit']}")
        shown = ("per_element", "relative_error", "per_mac_3x3_16_to_16", "per_mac_3x3_16_to_16_w8a16")
        print("   ", {key: cores[-1][key] for key in shown}, flush=True)
    if "--write" in sys.argv[1:]:
        made_with = f"arm-none-eabi-gcc {boards.compiler_version()}, {boards.OPTIMIZATION}, {boards.emulator_version()}"
        write_json(TABLE, {"made_by": "tests/bench/mcu_instructions.py", "made_with": made_with, "cores": cores})
        print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
