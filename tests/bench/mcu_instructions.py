"""Instructions of the exported C kernels on emulated Cortex-M4, M7 and M55, as constants of the microcontroller model.

    python tests/bench/mcu_instructions.py [--write]

Single layers of many shapes run under QEMU; instructions are exact and the same in every run. The constants of the model are the
non-negative least-squares fit of

    instructions = a_op * MACs (padded to the lanes) + r_op * outputs + g * gathered patch bytes + h * rows of patches
                   + u_b * weights + l

with one ``a`` per operation (3x3 and 5x5, pointwise, depthwise convolution), an ``r`` of depthwise layers, which take a channel
at a time and set up the window of each output, weights that are unpacked (``u_b``, b < 8 bits) once a layer (the difference
between two runs, not fitted), and a constant per layer. Layers with 16-bit activations have kernels of their own, so ``a`` and
``r`` of their own (``wide_``), one operand at a time. The fit minimises relative errors; what is left of them (borders, odd
channels) is printed and written. Moves and additions are instructions
per element of the output.

Then whole networks that the fit has not seen run with several plans (``oracle.instructions``); what the shipped device files
predict for them is printed beside the counts. ``--write`` replaces ``hwmodels/devices/mcu_instructions.json``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from oracle import instructions as networks
from random_networks import quantize

from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwsearch.documents.files import write_json
from hwsearch.formats.c import emulator, qemu
from searchspaces.tracing.trace import trace

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
WIDE = [(1, 56, 5), (3, 28, 3), (16, 16, 3), (32, 12, 3), (56, 12, 1), (12, 56, 1), (64, 64, 1)]
DEPTHWISE_WIDE = [(16, 3), (16, 5)]
TERMS = (
    *("conv", "pointwise", "depthwise", "requant", "depthwise_output"),
    *("wide_conv", "wide_pointwise", "wide_depthwise", "wide_requant", "wide_depthwise_output"),
    *("im2col", "im2col_row", *(f"unpack_{bits}" for bits in range(2, 8)), "layer"),
)


@dataclass(frozen=True)
class Layer:
    """One measured layer; ``depthwise``: outputs equals inputs, one input channel each."""

    inputs: int
    outputs: int
    kernel: int
    side: int
    bits: int = 8
    depthwise: bool = False
    tensor_bits: int = 8

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
        wide, step = ("wide_", 1) if self.tensor_bits > 8 else ("", lanes)
        counts = dict.fromkeys(TERMS, 0.0)
        if self.depthwise:
            counts[f"{wide}depthwise"] = self.macs
        else:
            padded = -(-patch // step) * step * self.outputs * pixels
            counts[f"{wide}{'pointwise' if self.kernel == 1 else 'conv'}"] = padded
        if not self.depthwise and self.kernel > 1:
            counts["im2col"], counts["im2col_row"] = patch * pixels * self.tensor_bits / 8, self.kernel * pixels
        counts[f"{wide}{'depthwise_output' if self.depthwise else 'requant'}"] = self.outputs * pixels
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
        *(Layer(*shape, SIDES[0], tensor_bits=16) for shape in WIDE),
        *(Layer(channels, channels, kernel, SIDES[0], depthwise=True, tensor_bits=16) for channels, kernel in DEPTHWISE_WIDE),
    ]


def counted(
    module: nn.Module, channels: int, side: int, board: emulator.Board, bits: int = 8, tensor_bits: int = 8
) -> list[tuple[str, int, int]]:
    """Every step of a module with random weights: operation, elements of its output, instructions."""
    torch.manual_seed(0)
    q = quantize(trace(module, channels, "one"), bits, tensor_bits)
    with tempfile.TemporaryDirectory() as folder:
        network = qemu.CompiledNetwork(q, board, Path(folder), (side, side))
        counts = network.run(np.random.default_rng(0).integers(0, 256, (1, channels, side, side)))[1][0]
    elements = network.program.lowering.elements
    return [(x.node.op.word, elements(x.node.name), int(n)) for x, n in zip(network.program.steps, counts, strict=True)]


class Elementwise(nn.Module):
    """One step each: convolution, addition, repetition, concatenation, slice, pixel shuffle, enlargement, table."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shuffle = nn.Conv2d(4, 4, 1), nn.PixelShuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat([x + self.layer(x), torch.repeat_interleave(x, 2, dim=1)], dim=1)
        z = nn.functional.interpolate(self.shuffle(y[:, :8]), scale_factor=2, mode="nearest")
        return torch.sigmoid(z)


class Tokens(nn.Module):
    """One step each: normalization, softmax, product with a constant, a transpose with rows that stay together and one without,
    padding, a roll."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(4, 64, 1), nn.LayerNorm(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.layer(x).permute(0, 2, 3, 1))
        padded = nn.functional.pad(torch.roll(tokens * 0.5, (1, 1), (1, 2)), (0, 0, 1, 1))
        return torch.softmax(padded.permute(0, 2, 1, 3), dim=-1).permute(0, 3, 1, 2)


class Product(nn.Module):
    """The product of two matrices, of ``rows`` and ``columns`` vectors."""

    def __init__(self, rows: int, columns: int, turned: bool) -> None:
        super().__init__()
        self.first, self.second, self.turned = nn.Conv2d(4, rows, 1), nn.Conv2d(4, columns, 1), turned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.first(x).flatten(2), self.second(x).flatten(2)
        if self.turned:
            return first @ second.transpose(-1, -2)
        return first @ second.reshape(1, second.shape[2], -1)


PRODUCTS = [
    *((64, 4, 64, True), (64, 8, 10, False), (64, 4, 64, False), (16, 4, 16, True), (16, 8, 16, True)),
    *((32, 8, 32, True), (32, 4, 8, True), (8, 8, 48, False), (48, 4, 24, False)),
]
"""Rows, side of the picture whose pixels are what is summed over, columns, and whether the second matrix is turned."""


def products(board: emulator.Board) -> tuple[dict[str, float], float]:
    """Instructions per element of a product of two tensors and of its operands, and the largest relative error."""
    rows, found = [], []
    for count, side, columns, turned in PRODUCTS:
        steps = counted(Product(count, columns, turned).eval(), 4, side, board)
        depth = side * side
        rows.append([count * depth * columns, count * columns, count * depth, depth * columns, 1])
        found.append(next(n for op, _, n in steps if op == "matmul"))
    table, counts = np.array(rows, float), np.array(found, float)
    constants, _ = nnls(table / counts[:, None], np.ones(len(counts)))
    _, *each, _ = constants
    largest = float(np.abs(table @ constants / counts - 1).max())
    return dict(zip(("product", "product_first", "product_second"), map(float, each), strict=True)), largest


MOVES = {
    "pixel_shuffle": "shuffle", "permute": "transpose", "reshape": "view", "roll": "copy", "layer_norm": "normalize",
}  # fmt: skip
"""Operator -> the kind of work that device files know, where they differ."""


def elementwise(board: emulator.Board) -> dict[str, float]:
    """Instructions per element of the output of what is no convolution, from the difference of two sizes."""
    found: dict[str, float] = {}
    for module in (Elementwise(), Tokens()):
        small, large = (counted(module.eval(), 4, side, board) for side in SIDES)
        for (op, few, fewer), (_, many, more) in zip(small, large, strict=True):
            if op != "conv":  # of several transposes the dearest
                found[MOVES.get(op, op)] = max(found.get(MOVES.get(op, op), 0.0), (more - fewer) / (many - few))
    return found


def fit(measured: list[Layer], found: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Constants in the order of ``TERMS``, and the relative error of every layer.

    Convolutions of 8-bit weights come first. Unpacking is what the same layer takes more with narrower ones. Depthwise layers
    have two constants of their own; the cost of a call is that of the others.
    """
    rows = np.array([x.row(lanes) for x in measured])
    dense = np.array([not x.depthwise and x.bits == 8 for x in measured])
    constants, _ = nnls(rows[dense] / found[dense, None], np.ones(dense.sum()))
    for bits in range(2, 8):
        narrow = [i for i, x in enumerate(measured) if x.bits == bits]
        more = [(found[i] - found[measured.index(replace(measured[i], bits=8))]) / measured[i].weights for i in narrow]
        constants[TERMS.index(f"unpack_{bits}")] = np.mean(more)
    for wide in ("", "wide_"):
        columns = [TERMS.index(f"{wide}depthwise"), TERMS.index(f"{wide}depthwise_output")]
        own = rows[:, columns[0]] > 0
        rest = found[own] - rows[own] @ constants
        constants[columns], _ = nnls(rows[own][:, columns] / found[own, None], rest / found[own])
    return constants, rows @ constants / found - 1


def measure(board: emulator.Board) -> dict[str, Any]:
    """All constants of one core, with what they were fitted to, and the instructions of whole networks."""
    measured = layers()
    found = np.array(
        [sum(n for _, _, n in counted(x.module(), x.inputs, x.side, board, x.bits, x.tensor_bits)) for x in measured], float
    )
    constants, errors = fit(measured, found, LANES[board.core])
    multiplied, apart = products(board)
    promised = next(i for i, x in enumerate(measured) if (x.inputs, x.outputs, x.kernel, x.side) == (16, 16, 3, 24))
    return {
        "core": board.core,
        "lanes": LANES[board.core],
        "per_unit": dict(zip(TERMS, constants.round(4).tolist(), strict=True)),
        "per_element": {key: round(value, 3) for key, value in {**elementwise(board), **multiplied}.items()},
        "products_largest_error": round(apart, 3),
        "relative_error": {"mean": round(float(np.abs(errors).mean()), 3), "largest": round(float(np.abs(errors).max()), 3)},
        "per_mac_3x3_16_to_16": round(float(found[promised]) / measured[promised].macs, 3),
        "networks": [networks.count(case, board) for case in networks.cases()],
        "measured": [
            {"inputs": x.inputs, "outputs": x.outputs, "kernel": x.kernel, "side": x.side, "weight_bits": x.bits,
             "tensor_bits": x.tensor_bits, "depthwise": x.depthwise, "macs": x.macs, "instructions": int(count)}
            for x, count in zip(measured, found, strict=True)
        ],
    }  # fmt: skip


def show_networks(core: str, found: list[int]) -> None:
    """Predictions of the shipped device files beside the counts."""
    target = catalogue.load(networks.DEVICES[core])
    errors = []
    for case, count in zip(networks.cases(), found, strict=True):
        predicted = networks.predicted(target, case)
        errors.append(abs(predicted / count - 1))
        print(f"    {case.label}: {count} instructions, {target.name} predicts {predicted / count - 1:+.1%}")
    print(f"    median error {np.median(errors):.1%}, largest {max(errors):.1%}, at", end=" ")
    print(f"{number(target, 'mcu.cycles_per_instruction')} cycles an instruction", flush=True)


def main() -> None:
    emulator.check_tools()
    cores = []
    for board in emulator.BOARDS.values():
        cores.append(measure(board))
        print(f"{board.core}: {cores[-1]['per_unit']}")
        print("   ", {key: cores[-1][key] for key in ("per_element", "relative_error", "per_mac_3x3_16_to_16")}, flush=True)
        show_networks(board.core, cores[-1]["networks"])
    if "--write" in sys.argv[1:]:
        made_with = f"arm-none-eabi-gcc {emulator.compiler_version()}, {emulator.OPTIMIZATION}, {emulator.emulator_version()}"
        write_json(networks.TABLE, {"made_by": "tests/bench/mcu_instructions.py", "made_with": made_with, "cores": cores})
        print(f"wrote {networks.TABLE}")


if __name__ == "__main__":
    main()
