"""Instructions of the exported C kernels on emulated Cortex-M4, M7 and M55, as constants of the microcontroller model.

    python tests/bench/mcu_instructions.py [--write | --steps | --write-steps]

Single layers of many shapes run under QEMU; instructions are exact and the same in every run. The constants of the model are the
non-negative least-squares fit of

    instructions = a_op * MACs (padded to the lanes) + r_op * outputs + g * gathered patch bytes + h * rows of patches
                   + u_b * weights + l

with one ``a`` per operation (3x3 and 5x5, pointwise, depthwise convolution), an ``r`` of depthwise layers, which set up the
window of each pixel and take four channels side by side (of 16-bit codes one at a time), weights that are unpacked (``u_b``, b
< 8 bits) once a layer (the difference between two runs, not fitted), and a constant per layer. Layers with 16-bit activations
have kernels of their own, so ``a`` and ``r`` of their own (``wide_``), one operand at a time. The fit minimises relative
errors; what is left of them (borders, odd channels) is printed and written. Steps that are no convolution have instructions
per element, value, row or stretch of codes, and per call (``oracle.c_steps``).

Then whole networks that the fit has not seen run with several plans (``oracle.instructions``); what the shipped device files
predict for them is printed beside the counts. So it is for steps of other sizes than those fitted; ``--steps`` does only that.
``--write`` replaces ``hwmodels/devices/mcu_instructions.json``; ``--write-steps`` counts and fits the steps alone, for kernels
that changed while those of convolutions did not, and keeps the rest of the file.
"""

from __future__ import annotations

import argparse
import json
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

from oracle import c_steps
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
DEPTHWISE = [(4, 3), (8, 3), (16, 3), (30, 3), (16, 5), (16, 1)]
"""Channels, kernel."""
BESIDE = 4
"""Channels that a depthwise layer of 8-bit codes sums side by side."""
UNPACKED = [(12, 12, 3), (56, 12, 1)]
WIDE = [(1, 56, 5), (3, 28, 3), (16, 16, 3), (32, 12, 3), (56, 12, 1), (12, 56, 1), (64, 64, 1)]
DEPTHWISE_WIDE = [(6, 3), (16, 3), (16, 5), (16, 1)]
TERMS = (
    *("conv", "pointwise", "depthwise", "requant", "depthwise_output", "depthwise_pixel"),
    *("wide_conv", "wide_pointwise", "wide_depthwise", "wide_requant"),
    *("wide_depthwise_output", "wide_depthwise_pixel"),
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
            beside = 1 if wide else BESIDE
            outputs = -(-self.outputs // beside) * beside
            counts[f"{wide}depthwise"] = outputs * self.kernel**2 * pixels
            counts[f"{wide}depthwise_output"], counts[f"{wide}depthwise_pixel"] = outputs * pixels, pixels
        else:
            padded = -(-patch // step) * step * self.outputs * pixels
            counts[f"{wide}{'pointwise' if self.kernel == 1 else 'conv'}"] = padded
        if not self.depthwise and self.kernel > 1:
            counts["im2col"], counts["im2col_row"] = patch * pixels * self.tensor_bits / 8, self.kernel * pixels
        if not self.depthwise:
            counts[f"{wide}requant"] = self.outputs * pixels
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


def counted(module: nn.Module, channels: int, side: int, board: emulator.Board, bits: int, tensor_bits: int) -> int:
    """Instructions of a module with random weights."""
    torch.manual_seed(0)
    q = quantize(trace(module, channels, "one"), bits, tensor_bits)
    with tempfile.TemporaryDirectory() as folder:
        network = qemu.CompiledNetwork(q, board, Path(folder), (side, side))
        return int(network.run(np.random.default_rng(0).integers(0, 256, (1, channels, side, side)))[1].sum())


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
        columns = [TERMS.index(f"{wide}depthwise{each}") for each in ("", "_output", "_pixel")]
        own = rows[:, columns[0]] > 0
        rest = found[own] - rows[own] @ constants
        constants[columns], _ = nnls(rows[own][:, columns] / found[own, None], rest / found[own])
    return constants, rows @ constants / found - 1


def measure(board: emulator.Board) -> dict[str, Any]:
    """All constants of one core, with what they were fitted to, and the instructions of whole networks."""
    measured = layers()
    found = np.array([counted(x.module(), x.inputs, x.side, board, x.bits, x.tensor_bits) for x in measured], float)
    constants, errors = fit(measured, found, LANES[board.core])
    promised = next(i for i, x in enumerate(measured) if (x.inputs, x.outputs, x.kernel, x.side) == (16, 16, 3, 24))
    return {
        "core": board.core,
        "lanes": LANES[board.core],
        "per_unit": dict(zip(TERMS, constants.round(4).tolist(), strict=True)),
        **of_steps(board),
        "relative_error": {"mean": round(float(np.abs(errors).mean()), 3), "largest": round(float(np.abs(errors).max()), 3)},
        "per_mac_3x3_16_to_16": round(float(found[promised]) / measured[promised].macs, 3),
        "networks": [networks.count(case, board) for case in networks.cases()],
        "measured": [
            {"inputs": x.inputs, "outputs": x.outputs, "kernel": x.kernel, "side": x.side, "weight_bits": x.bits,
             "tensor_bits": x.tensor_bits, "depthwise": x.depthwise, "macs": x.macs, "instructions": int(count)}
            for x, count in zip(measured, found, strict=True)
        ],
    }  # fmt: skip


def of_steps(board: emulator.Board) -> dict[str, Any]:
    """Constants of steps that are no convolution."""
    steps = c_steps.fitted()
    call, elements, apart = c_steps.fit(steps, np.array([x.counted(board) for x in steps], float), LANES[board.core])
    return {
        "per_call": round(call, 1),
        "per_element": {key: round(value, 3) for key, value in elements[8].items()},
        "wide_per_element": {key: round(value, 3) for key, value in elements[16].items()},
        "steps_relative_error": {"mean": round(float(np.abs(apart).mean()), 3), "largest": round(float(np.abs(apart).max()), 3)},
    }


def made_with() -> str:
    return f"arm-none-eabi-gcc {emulator.compiler_version()}, {emulator.OPTIMIZATION}, {emulator.emulator_version()}"


def write_steps() -> None:
    """Replace the constants of steps.

    Raises:
        SystemExit: the rest of the file was counted with other tools.
    """
    table = json.loads(networks.TABLE.read_text(encoding="utf-8"))
    if table["made_with"] != made_with():
        raise SystemExit(f"the file was made with {table['made_with']}, here is {made_with()}: use --write")
    cores = []
    for core in table["cores"]:
        found = of_steps(emulator.BOARDS[core["core"]])
        cores.append({key: found.get(key, value) for key, value in core.items()})
        print(f"{core['core']}: {found}", flush=True)
    write_json(networks.TABLE, {**table, "cores": cores})


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


def show_steps(board: emulator.Board) -> None:
    """Prices of single steps by the shipped device file, beside the counts; nothing was fitted to them."""
    target = catalogue.load(networks.DEVICES[board.core])
    ratios = []
    print(f"{board.core}: steps of the exported C, {target.name}: priced and counted instructions, priced / counted")
    for step in c_steps.CHECKED:
        priced, count = step.predicted(target), step.counted(board)
        ratios.append(priced / count)
        print(f"    {step.label}, {step.bits} bits: {priced:.0f} {count} {priced / count:.2f}", flush=True)
    print(f"    lowest {min(ratios):.2f}, median {np.median(ratios):.2f}, highest {max(ratios):.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--write", action="store_true", help="replace the table of constants")
    task.add_argument("--steps", action="store_true", help="only check steps of other sizes than those fitted")
    task.add_argument("--write-steps", action="store_true", help="count and fit the steps alone, keep the rest of the table")
    asked = parser.parse_args()
    emulator.check_tools()
    if asked.steps:
        for board in emulator.BOARDS.values():
            show_steps(board)
        return
    if asked.write_steps:
        write_steps()
        return
    cores = []
    for board in emulator.BOARDS.values():
        cores.append(measure(board))
        print(f"{board.core}: {cores[-1]['per_unit']}")
        shown = ("per_call", "per_element", "wide_per_element", "steps_relative_error", "relative_error", "per_mac_3x3_16_to_16")
        print("   ", {key: cores[-1][key] for key in shown}, flush=True)
        show_networks(board.core, cores[-1]["networks"])
        show_steps(board)
    if asked.write:
        write_json(networks.TABLE, {"made_by": "tests/bench/mcu_instructions.py", "made_with": made_with(), "cores": cores})
        print(f"wrote {networks.TABLE}")


if __name__ == "__main__":
    main()
