"""Boards with Arm microcontrollers that QEMU emulates: compiling C for them, running it, counting its instructions.

QEMU executes instructions, not cycles: counts say nothing about caches, flash wait states or dual issue. They are exact and the
same in every run: under ``-icount shift=7`` an instruction takes 128 ns of virtual time, and the counter of the boards' system
block runs at 25 MHz (MPS2) or 20 MHz (MPS3), more than two ticks an instruction, so a step's ticks round to its instructions. The
counter has 32 bits: a step of more than 1.3e9 instructions cannot be counted.

Needed: ``arm-none-eabi-gcc`` with newlib and ``qemu-system-arm`` (tested with GCC 12.2 and QEMU 7.2).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from hwmodels.errors import FileError, UsageError

COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
INSTALL = "On Debian and Ubuntu: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
SHIFT = 7
INSTRUCTION_S = 2**SHIFT * 1e-9
"""Virtual time of an instruction under ``-icount shift=SHIFT``."""
TIMEOUT_S = 3600
OPTIMIZATION = "-O2"
LANGUAGE = ("-std=c99", "-ffp-contract=off")


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
            "cortex-m4", "mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            (0x400, 0x3FFC00), (0x20000000, 0x400000), 0x40028000, 25e6,
        ),
        Board(
            "cortex-m7", "mps2-an500", ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
            (0x400, 0x3FFC00), (0x20000000, 0x400000), 0x40028000, 25e6,
        ),
        Board(
            "cortex-m55", "mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard"),
            (0x11000000, 0x200000), (0x31000000, 0x400000), 0x49302000, 20e6,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Firmware:
    """A program compiled for a board: a function from ``input_bytes`` to ``output_bytes``, in ``steps`` steps."""

    executable: Path
    board: Board
    input_bytes: int
    output_bytes: int
    steps: int


def missing_tools() -> list[str]:
    """What is not installed of the compiler and the emulator."""
    return [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]


def check_tools() -> None:
    """Raise ``UsageError`` where the compiler or the emulator is not installed."""
    missing = missing_tools()
    if missing:
        raise UsageError(f"{' and '.join(missing)} not found: --runtime qemu needs them", INSTALL)


def compile_firmware(
    sources: Sequence[Path], function: str, board: Board, folder: Path, sizes: tuple[int, int, int], flags: Sequence[str] = ()
) -> Firmware:
    """Compile C ``sources``, or objects, of a ``void function(const void *input, void *output)`` that calls ``HWS_STEP``.

    Args:
        folder: where the executable is written and run.
        sizes: bytes of input and output, and the number of steps.
        flags: more options of the compiler.
    Raises:
        UsageError: the tools are missing.
        FileError: it does not compile, or does not fit the board's memory.
    """
    check_tools()
    here = files("hwsearch.formats.c") / "firmware"
    names = ("NETWORK_INPUT_BYTES", "NETWORK_OUTPUT_BYTES", "NETWORK_STEPS")
    macros = {"NETWORK_RUN": function, "FPGAIO": hex(board.fpgaio), **dict(zip(names, sizes, strict=True))}
    regions = {
        "flash_origin": board.flash[0], "flash_length": board.flash[1], "ram_origin": board.ram[0], "ram_length": board.ram[1],
    }  # fmt: skip
    executable = folder / "firmware.elf"
    command = [
        *_compiling(board, flags), *(f"-D{key}={value}" for key, value in macros.items()),
        *(f"-Wl,--defsym={key}={value}" for key, value in regions.items()),
        "-Wl,--gc-sections", "-nostartfiles", f"-T{here / 'board.ld'}", "-include", str(here / "firmware.h"),
        *map(str, sources), str(here / "firmware.c"), "-lm", "-o", str(executable),
    ]  # fmt: skip
    _compile(command, board)
    return Firmware(executable, board, *sizes)


def compile_objects(sources: Sequence[Path], board: Board, folder: Path, flags: Sequence[str] = ()) -> list[Path]:
    """Compile ``sources`` that no network changes to objects in ``folder``.

    Raises:
        UsageError: the tools are missing.
        FileError: one does not compile.
    """
    check_tools()
    objects = [folder / f"{source.stem}.o" for source in sources]
    for source, target in zip(sources, objects, strict=True):
        _compile([*_compiling(board, flags), "-c", str(source), "-o", str(target)], board)
    return objects


def _compiling(board: Board, flags: Sequence[str]) -> list[str]:
    return [COMPILER, *board.flags, "-mthumb", *LANGUAGE, OPTIMIZATION, "-ffunction-sections", "-fdata-sections", *flags]


def _compile(command: Sequence[str], board: Board) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.splitlines() or ["the compiler gave no reason"]
        reason = next((line for line in lines if "error:" in line or "overflowed" in line), lines[0])
        raise FileError(
            f"the exported C could not be built for {board.machine}: {reason}",
            f"The board has {board.ram[1]} bytes of RAM and {board.flash[1]} of flash. Try a smaller tile.",
        )


def execute(firmware: Firmware, inputs: bytes) -> tuple[bytes, np.ndarray]:
    """Run a firmware on ``inputs``, several inputs behind each other.

    Returns:
        The outputs behind each other, and instructions ``int64[inputs, steps]``.
    Raises:
        FileError: the emulator fails, or does not come to an end.
    """
    folder, count = firmware.executable.parent, len(inputs) // firmware.input_bytes
    (folder / "input.bin").write_bytes(inputs)
    command = [
        EMULATOR, "-machine", firmware.board.machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-icount", f"shift={SHIFT}", "-semihosting-config", "enable=on,target=native", "-kernel", firmware.executable.name,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise FileError(f"{EMULATOR} did not end within {TIMEOUT_S} s", "Try fewer or smaller pictures.") from None
    output = (folder / "output.bin").read_bytes() if (folder / "output.bin").is_file() else b""
    if done.returncode or len(output) != count * firmware.output_bytes:
        reason = done.stderr.strip() or "the firmware faulted"
        raise FileError(f"{EMULATOR} stopped with status {done.returncode}: {reason}")
    ticks = np.fromfile(folder / "counts.bin", np.uint32).reshape(count, -1)
    # Each reading is a tick off at most: an empty step and a full one are rounded apart, then subtracted.
    instructions = np.rint(ticks / (INSTRUCTION_S * firmware.board.counter_hz)).astype(np.int64)
    return output, instructions[:, 1:] - instructions[:, :1]


def emulator_version() -> str:
    """Name and version of the emulator."""
    said = subprocess.run([EMULATOR, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\S+)", said)
    return f"QEMU {found[1]}" if found else "QEMU"


def compiler_version() -> str:
    """Version of the compiler."""
    return subprocess.run([COMPILER, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
