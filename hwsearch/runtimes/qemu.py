"""Running an exported C network on a microcontroller that QEMU emulates, and counting its instructions.

QEMU executes instructions, not cycles: counts say nothing about caches, flash wait states or dual issue. They are exact and the
same in every run: under ``-icount shift=6`` an instruction takes 64 ns of virtual time, and the counter of the boards' system
block runs at 25 MHz (MPS2) or 20 MHz (MPS3), so a step's ticks round to its instructions.

Needed: ``arm-none-eabi-gcc`` with newlib and ``qemu-system-arm`` (7.2 or newer; tested with 7.2 and GCC 12.2).
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from hwmodels.errors import FileError, UsageError
from hwsearch.export import c
from hwsearch.quant.model import QuantizedGraph

COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
INSTALL = "On Debian and Ubuntu: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
INSTRUCTION_S = 64e-9
"""Virtual time of an instruction under ``-icount shift=6``: 2^6 ns."""
STEP_TIMEOUT_S = 3600
OPTIMIZATION = "-O2"


@dataclass(frozen=True)
class Board:
    """A board of QEMU. Addresses from its source (hw/arm/mps2.c, mps3r and armsse): ``flash`` and ``ram`` are (origin, bytes).

    ``fpgaio``: the system block with the counter, which counts at ``counter_hz``.
    """

    core: str
    machine: str
    flags: tuple[str, ...]
    flash: tuple[int, int]
    ram: tuple[int, int]
    fpgaio: int
    counter_hz: float


BOARDS = {
    board.core: board
    for board in (
        Board(
            "cortex-m4", "mps2-an386", ("-mcpu=cortex-m4",), (0x400, 0x3FFC00), (0x20000000, 0x400000), 0x40028000, 25e6
        ),
        Board(
            "cortex-m7", "mps2-an500", ("-mcpu=cortex-m7",), (0x400, 0x3FFC00), (0x20000000, 0x400000), 0x40028000, 25e6
        ),
        Board(
            "cortex-m55", "mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard"), (0x11000000, 0x200000),
            (0x31000000, 0x400000), 0x49302000, 20e6,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Firmware:
    """A network compiled for a board.

    ``steps``: names of the graph's nodes in the order in which they are executed; ``output``: (height, width, channels).
    """

    executable: Path
    board: Board
    program: c.Program
    steps: tuple[str, ...]


def missing_tools() -> list[str]:
    """What is not installed of the compiler and the emulator."""
    return [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]


def check_tools() -> None:
    """Raise ``UsageError`` where the compiler or the emulator is not installed."""
    missing = missing_tools()
    if missing:
        raise UsageError(f"{' and '.join(missing)} not found: --runtime qemu needs them", INSTALL)


def build(
    qgraph: QuantizedGraph, folder: Path, size: tuple[int, int], board: Board, flags: tuple[str, ...] = ()
) -> Firmware:
    """Export a network to C for inputs of ``size`` (height, width) and compile it with the firmware for ``board``.

    Args:
        folder: an existing folder for the sources and the executable.
        flags: more options of the compiler.
    Raises:
        UsageError: the tools are missing, or C cannot hold the plan.
        FileError: it does not compile or does not fit the board's memory.
    """
    check_tools()
    program = c.lower(qgraph, *size)
    sources = c.export(qgraph, folder / "network", size=size, name="network")
    graph, here = qgraph.graph, files("hwsearch.runtimes") / "firmware"
    macros = {
        "NETWORK_RUN": "network_run",
        "NETWORK_STEPS": len(program.steps),
        "NETWORK_INPUT_BYTES": program.lowering.tensor_bytes(graph.input.name),
        "NETWORK_OUTPUT_BYTES": program.lowering.tensor_bytes(graph.output.name),
        "FPGAIO": hex(board.fpgaio),
    }
    regions = {
        "flash_origin": board.flash[0], "flash_length": board.flash[1], "ram_origin": board.ram[0], "ram_length": board.ram[1],
    }  # fmt: skip
    executable = folder / "firmware.elf"
    command = [
        COMPILER, *board.flags, "-mthumb", "-std=c99", OPTIMIZATION, "-ffunction-sections", "-fdata-sections", *flags,
        *(f"-D{key}={value}" for key, value in macros.items()),
        *(f"-Wl,--defsym={key}={value}" for key, value in regions.items()),
        "-Wl,--gc-sections", "-nostartfiles", f"-T{here / 'board.ld'}", f"-I{sources}", "-include", str(here / "firmware.h"),
        *map(str, sorted(sources.glob("*.c"))), str(here / "firmware.c"), "-o", str(executable),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line or "overflowed" in line]
        raise FileError(
            f"the exported C could not be built for {board.machine}: {(lines or done.stderr.splitlines() or ['?'])[0]}",
            f"The board has {board.ram[1]} bytes of RAM; the network needs {program.arena_bytes}. Try a smaller tile.",
        )
    return Firmware(executable, board, program, tuple(step.node.name for step in program.steps))


def run(firmware: Firmware, tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Execute a network on tiles of codes, ``[N, C, H, W]`` of the size it was built for.

    Returns:
        Output codes ``int64[N, C', sH, sW]``, and instructions ``int64[N, steps]``.
    Raises:
        FileError: the emulator fails, or does not come to an end.
    """
    lowering, graph = firmware.program.lowering, firmware.program.qgraph.graph
    folder = firmware.executable.parent
    types = [_container(firmware, node.name) for node in (graph.input, graph.output)]
    (folder / "input.bin").write_bytes(np.ascontiguousarray(tiles.transpose(0, 2, 3, 1)).astype(types[0]).tobytes())
    command = [
        EMULATOR, "-machine", firmware.board.machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-icount", "shift=6", "-semihosting-config", "enable=on,target=native", "-kernel", firmware.executable.name,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=STEP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise FileError(f"{EMULATOR} did not end within {STEP_TIMEOUT_S} s", "Try fewer or smaller pictures.") from None
    channels, height, width = lowering.shapes[graph.output.name]
    output = np.fromfile(folder / "output.bin", types[1]) if (folder / "output.bin").is_file() else np.zeros(0)
    if done.returncode or output.size != len(tiles) * channels * height * width:
        raise FileError(f"{EMULATOR} stopped with status {done.returncode}: {done.stderr.strip() or 'the firmware faulted'}")
    codes = output.astype(np.int64).reshape(len(tiles), height, width, channels).transpose(0, 3, 1, 2)
    ticks = np.fromfile(folder / "counts.bin", np.uint32).reshape(len(tiles), -1).astype(np.float64)
    counts = np.rint((ticks[:, 1:] - ticks[:, :1]) / (INSTRUCTION_S * firmware.board.counter_hz))
    return codes, counts.astype(np.int64)


def _container(firmware: Firmware, tensor: str) -> type[np.generic]:
    return np.uint16 if firmware.program.qgraph.formats[tensor].bits > 8 else np.uint8
