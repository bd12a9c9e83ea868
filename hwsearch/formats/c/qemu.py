"""A plan on a microcontroller: exported to C, compiled, and executed by QEMU on a picture (see ``boards``, ``windows``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import UsageError, closest
from hwsearch.formats.c import calls, write
from hwsearch.formats.c.calls import container_bytes, norms
from hwsearch.formats.c.emulator import (
    BOARDS,
    Board,
    check_tools,
    compile_firmware,
    compile_objects,
    emulator_version,
    execute,
)
from hwsearch.formats.running.reach import coarsest_step, enlargement, receptive_radius
from hwsearch.formats.running.runtime import Tolerance
from hwsearch.formats.running.windows import windows
from hwsearch.quant.engine.steps.resizing import in_integers
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data.scale import at_least, between, enlarged
from searchspaces.ir.graph import Node
from searchspaces.ops.moves.resize import Resize

INNER, LEAST_SIDE = 32, 48
"""Sides of windows in input pixels: without their halo, and at least."""


BEYOND_ONE_CODE = 1e-3
"""Share of output codes that may differ by more than 1 where weights of an interpolation, or lengths of vectors, are rounded in
another order than the engine's. Measured on built-in networks with random weights: 0 behind interpolations."""
BEYOND_ONE_BEHIND_LENGTHS = 0.02
"""The same behind normalizations whose sums are rounded in another order, in networks of attention, which spread a code that
tips."""


def tolerance(qgraph: QuantizedGraph) -> Tolerance:
    """How far the codes of the exported C may lie from the engine's: not at all, but where both compute in single precision and
    add in orders of their own."""
    ops = [node.op for node in qgraph.graph.nodes]
    if any(isinstance(op, norms.SUMMED_OTHERWISE) for op in ops):
        return Tolerance(1.0, BEYOND_ONE_BEHIND_LENGTHS, "Sums of squares in single precision explain a few differences.")
    if any(_interpolates_reals(node, qgraph) for node in qgraph.graph.nodes):
        return Tolerance(1.0, BEYOND_ONE_CODE, "Interpolation in single precision explains differences of 1 only.")
    return Tolerance()


def _interpolates_reals(node: Node, qgraph: QuantizedGraph) -> bool:
    """Whether a node interpolates in single precision, as it does where the engine does (see ``steps.resizing``)."""
    if not isinstance(node.op, Resize) or node.op.moves:
        return False
    return not in_integers(node.op, qgraph.formats[node.inputs[0]], qgraph.formats[node.name], write.RULE)


@lru_cache(maxsize=8)
def _kernels(board: Board, flags: tuple[str, ...]) -> tuple[TemporaryDirectory[str], list[Path]]:
    """The kernels as objects, which are the same for every network; they lie in the folder as long as it is referenced."""
    folder, here = TemporaryDirectory(prefix="hwsearch-kernels-"), Path(str(files("hwsearch.formats.c"))) / "source"
    return folder, compile_objects([here / name for name in write.KERNEL_SOURCES], board, Path(folder.name), flags)


def _frames(program: write.Program, folder: Path) -> Path:
    """A C file with ``network_frame``, which hands states on from call to call, of the program ``network`` in ``folder``."""
    names = [f"state_{number}" for number in range(len(program.states))]
    kinds = [f"uint{8 * container_bytes(program.qgraph.formats[name])}_t" for name in program.states]
    counts = [program.lowering.elements(name) for name in program.states]
    buffers = [f"static {kind} {name}[2][{count}];" for kind, name, count in zip(kinds, names, counts, strict=True)]
    handed = ", ".join(f"{name}[turn], {name}[!turn]" for name in names)
    lines = [
        '#include "network.h"',
        *buffers,
        "static int begun, turn;",
        "void network_frame(const void *input, void *output);",
        "void network_frame(const void *input, void *output) {",
        f"    if (!begun) network_begin({', '.join(f'{name}[0]' for name in names)});",
        "    begun = 1;",
        f"    network_run(input, output, {handed});",
        "    turn = !turn;",
        "}",
    ]
    target = folder / "frames.c"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


class CompiledNetwork:
    """A quantized network compiled for a board and one input size. What it keeps between frames it keeps in a run of it.

    Attributes:
        program: the exported C.
    """

    def __init__(
        self, qgraph: QuantizedGraph, board: Board, folder: Path, size: tuple[int, int], flags: Sequence[str] = ()
    ) -> None:
        self.program = write.lower(qgraph, *size)
        network = write.export_program(self.program, folder / "network", "network", {}) / "network.c"
        function, sources = "network_run", [network, *_kernels(board, tuple(flags))[1]]
        if self.program.states:
            function, sources = "network_frame", [*sources, _frames(self.program, network.parent)]
        self._ends = (qgraph.graph.input.name, qgraph.graph.output.name)
        input_bytes, output_bytes = (self.program.lowering.tensor_bytes(name) for name in self._ends)
        sizes = (input_bytes, output_bytes, len(self.program.steps))
        self._firmware = compile_firmware(sources, function, board, folder, sizes, flags)

    def run(self, tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes ``[N, C, H, W]`` to codes ``int64[N, C', sH, sW]``, and instructions ``int64[N, steps]``."""
        formats = [self.program.qgraph.formats[name] for name in self._ends]
        types = [np.uint16 if fmt.is_wide else np.uint8 for fmt in formats]
        data = np.ascontiguousarray(tiles.transpose(0, 2, 3, 1)).astype(types[0]).tobytes()
        output, counts = execute(self._firmware, data)
        channels, height, width = self.program.lowering.picture(self._ends[1])
        codes = np.frombuffer(output, types[1]).astype(np.int64).reshape(len(tiles), height, width, channels)
        return codes.transpose(0, 3, 1, 2), counts


class QemuPlan:
    """A plan on an emulated board; see ``runtime.Runtime``.

    Attributes:
        instructions: of all runs so far, by the step's name in execution order.
    """

    def __init__(self, qgraph: QuantizedGraph, board: Board) -> None:
        check_tools()
        calls.check(qgraph)
        self.executed = replace(qgraph, rule=write.RULE)
        self.tolerance = tolerance(qgraph)
        self.version = f"{emulator_version()}, {board.core}"
        self.peak_bytes: int | None = None
        self.instructions: Mapping[str, int] = {node.name: 0 for node in qgraph.graph.computed}
        graph = qgraph.graph
        self._input, self._output = (qgraph.formats[name] for name in (graph.input.name, graph.output.name))
        radius = receptive_radius(graph)
        self._whole = radius is None
        self._halo, self._step = at_least(radius or 0, enlargement(graph)), coarsest_step(graph)
        self._folder = TemporaryDirectory(prefix="hwsearch-qemu-")

        @lru_cache(maxsize=8)
        def sized(size: tuple[int, int]) -> CompiledNetwork:
            folder = Path(self._folder.name) / f"{size[0]}x{size[1]}"
            folder.mkdir()
            return CompiledNetwork(qgraph, board, folder, size)

        self._sized = sized

    def run(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        side = -(-max(INNER + 2 * self._halo, LEAST_SIDE) // self._step) * self._step
        rows, columns = (height, width) if self._whole else (min(side, height), min(side, width))
        network = self._sized((rows, columns))
        codes = self._input.encode(x.float()).numpy().astype(np.int64)
        places = [
            (row, column)
            for row in windows(height, rows, self._halo, self._step)
            for column in windows(width, columns, self._halo, self._step)
        ]
        tiles = np.concatenate([codes[:, :, y : y + rows, x0 : x0 + columns] for (y, _, _), (x0, _, _) in places])
        outputs, counts = network.run(tiles)
        scale = between(outputs.shape[2], rows)
        whole = np.zeros((len(x), outputs.shape[1], enlarged(height, scale), enlarged(width, scale)), np.int64)

        def part(first: int, last: int) -> slice:
            return slice(enlarged(first, scale), enlarged(last, scale))

        of_frames = outputs.reshape(len(places), len(x), *outputs.shape[1:])
        for tiled, ((y, top, bottom), (x0, left, right)) in zip(of_frames, places, strict=True):
            inner = tiled[:, :, part(top - y, bottom - y), part(left - x0, right - x0)]
            whole[:, :, part(top, bottom), part(left, right)] = inner
        names = (step.node.name for step in network.program.steps)
        self.instructions = {
            name: self.instructions[name] + int(count) for name, count in zip(names, counts.sum(axis=0), strict=True)
        }
        self.peak_bytes = max(self.peak_bytes or 0, network.program.arena_bytes)
        return self._output.decode(torch.from_numpy(whole).float())


def open_plan(qgraph: QuantizedGraph, core: str = "cortex-m4") -> QemuPlan:
    """Make a network ready to run on the board with a ``core`` of ``BOARDS``.

    Raises:
        UsageError: the tools are missing, there is no such board, or C cannot hold the plan.
    """
    if core not in BOARDS:
        raise UsageError(f"no board with a {core!r}", closest(core, BOARDS))
    return QemuPlan(qgraph, BOARDS[core])
