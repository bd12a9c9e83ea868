"""Instructions of what a processor beside an Ethos-U does, on an emulated Cortex-M55: the ``touches`` of ``[npu.fallback]``.

    python tests/bench/beside_array.py

DEPTH_TO_SPACE copies a run of codes after the other: as many as a row of a block has. It is C of our own with that structure and
the library's ``memcpy``. Enlargements and functions of 16 bits are steps of the exported C. What softmaxes, normalizations, means
and products cost is in the files of the Cortex-M55 (``tests/bench/mcu_instructions.py``). Counts, not cycles.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from random_networks import quantize
from torch import nn

from hwsearch.formats.c import emulator, qemu
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.base import Op
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Gelu
from searchspaces.ops.moves.resize import Resize
from searchspaces.tracing.trace import trace

BOARD = emulator.BOARDS["cortex-m55"]
HEIGHT, WIDTH = 16, 24
RUNS = """
#include <stdint.h>
#include <string.h>

/* Sizes that the compiler does not know. */
static volatile int32_t height = ROWS, width = COLUMNS, block = BLOCK, channels = CHANNELS;

void network_run(const void *input, void *output) {
    const int8_t *from = input;
    int8_t *to = output;
    const int32_t rows = height, columns = width, times = block, run = block * channels, depth = run * times;
    for (int32_t y = 0; y < rows; y++)
        for (int32_t i = 0; i < times; i++) {
            const int8_t *part = from + y * columns * depth + i * run;
            for (int32_t x = 0; x < columns; x++) {
                memcpy(to, part, (size_t)run);
                to += run;
                part += depth;
            }
        }
    HWS_STEP(0)
}
"""


def shuffle(channels: int, block: int) -> float:
    """Instructions a value of a pixel shuffle to ``channels``."""
    count = HEIGHT * WIDTH * channels * block**2
    sizes = {"ROWS": HEIGHT, "COLUMNS": WIDTH, "BLOCK": block, "CHANNELS": channels}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "runs.c")
        source.write_text(RUNS)
        flags = [f"-D{name}={value}" for name, value in sizes.items()]
        firmware = emulator.compile_firmware([source], "network_run", BOARD, Path(folder), (count, count, 1), flags)
        codes = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, block, block, channels)).astype(np.uint8)
        output, counts = emulator.execute(firmware, codes.tobytes())
    assert output == codes.transpose(0, 2, 1, 3, 4).tobytes()
    return float(counts.sum()) / count


def step(op: Op, channels: int, bits: int) -> float:
    """Instructions a value of a step of the exported C."""
    graph = Graph("one", (Node("x", Input(channels)), Node("y", op, ("x",))))
    with tempfile.TemporaryDirectory() as folder:
        network = qemu.CompiledNetwork(quantize(graph, 8, bits), BOARD, Path(folder), (HEIGHT, WIDTH))
        codes = np.random.default_rng(0).integers(0, 2 ** min(bits, 15), (1, channels, HEIGHT, WIDTH))
        output, counts = network.run(codes)
    return float(counts.sum()) / output.size


def depthwise(channels: int, kernel: int, stride: int, bits: int) -> float:
    """Instructions a product of a depthwise convolution, the steps around its sums included."""
    conv = nn.Conv2d(channels, channels, kernel, stride, groups=channels)
    graph = trace(conv.eval(), channels, "depthwise")
    with tempfile.TemporaryDirectory() as folder:
        network = qemu.CompiledNetwork(quantize(graph, 8, bits), BOARD, Path(folder), (HEIGHT, WIDTH))
        codes = np.random.default_rng(0).integers(0, 2 ** min(bits, 15), (1, channels, HEIGHT, WIDTH))
        output, counts = network.run(codes)
    return float(counts.sum()) / (output.size * kernel**2)


def main() -> None:
    emulator.check_tools()
    shapes = [(channels, block) for channels in (1, 3) for block in (2, 3, 4)]
    copied = {shape: shuffle(*shape) for shape in shapes}
    for (channels, block), found in copied.items():
        print(f"pixel shuffle by {block} to {channels} channels: {found:.2f} instructions a value")
    print(f"    median {np.median(list(copied.values())):.2f}")
    for op, bits in [(Resize("bilinear", 3), 8), (Resize("bilinear", 3), 16), (Resize("nearest", 3), 8), (Gelu(), 16)]:
        each = ", ".join(f"{step(op, channels, bits):.2f} of {channels} channels" for channels in (3, 8))
        print(f"{op.describe()}, {bits} bits: {each}")
    for bits in (8, 16):
        taps = {(c, k): depthwise(c, k, 4, bits) for c in (8, 24, 64) for k in (3, 4, 5, 8)}
        for (channels, kernel), found in taps.items():
            print(f"depthwise, {kernel}x{kernel} with a stride of 4, {channels} channels, {bits} bits: {found:.2f} a product")
        print(f"    median {np.median(list(taps.values())):.2f}")


if __name__ == "__main__":
    main()
