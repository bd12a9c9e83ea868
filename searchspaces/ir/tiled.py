"""Executing a graph tile by tile, with exactly the pixels that ``hwmodels.tiling.regions`` says a tile computes and keeps.

Nothing else is at hand: a window that reached beyond what was computed or kept would not find its pixels. So an output that
equals that of the whole picture shows that halo and line buffers, which the price counts, suffice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hwmodels.errors import UsageError
from hwmodels.tiling import regions
from hwmodels.tiling.regions import Pieces
from hwmodels.tiling.tiling import Tiling
from hwmodels.workload import Workload
from searchspaces.ir.graph import CONSTANTS, Graph, Node, apply
from searchspaces.ir.lower import to_workload
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Input

Run = Callable[[Node, list[Tensor]], Tensor]
"""Executes a node without padding: ``(node, inputs [N, C, h, w]) -> output``."""


def unpadded(graph: Graph) -> Graph:
    """The graph with convolutions that pad nothing: a tile is padded where the picture ends, and nowhere else."""
    return graph.replaced({n.name: n.with_op(padding=(0, 0, 0, 0)) for n in graph.nodes if isinstance(n.op, Conv)})


def placed(graph: Graph) -> str | None:
    """The first node whose constant operands are other numbers for every place of a picture, which a tile has no part of."""
    for node in graph.nodes:
        operands = [node.weight_shapes[role] for role in CONSTANTS if role in node.weights]
        if any(side > 1 for shape in operands for side in shape[-2:]):
            return node.name
    return None


def check_tiled(graph: Graph) -> None:
    """Raise UsageError where a tile cannot be computed on its own, other than what the workload tells (``regions``)."""
    if (name := placed(graph)) is not None:
        raise UsageError(
            f"{graph.name} cannot be cut into tiles: {name} has numbers of its own for every place of a picture",
            "Leave --tile out.",
        )


def execute_tiled(graph: Graph, x: Tensor, tiling: Tiling, run: Run = apply) -> Tensor:
    """The output for picture ``x [N, C, H, W]``, computed tile by tile.

    Args:
        run: what executes the nodes of ``unpadded(graph)`` behind the input.
    Raises:
        UsageError: the tiling does not fit the picture, or the network sees the whole picture at once, or knows its places.
    """
    check_tiled(graph)
    height, width = x.shape[2:]
    workload = to_workload(graph, height, width)
    tiling.check(height, width)
    regions.check_local(workload)
    cut = regions.keep if tiling.halo == "keep" else regions.recompute
    rows = cut(workload, regions.ROWS, tiling.height)
    columns = regions.recompute(workload, regions.COLUMNS, tiling.width)
    target = len(graph.nodes) - 1
    nodes = unpadded(graph).nodes
    lines: list[Tensor] = []
    strips: list[Tensor] = []
    for i in range(rows.begin.shape[1]):
        parts: list[Tensor] = []
        for j in range(columns.begin.shape[1]):
            # Line buffers reach over the whole width: there is one column of tiles then.
            tile = _Tile(workload, rows, columns, i, j, lines)
            tensors = tile.compute(nodes, x, run)
            parts.append(tensors[target])
        if tiling.halo == "keep":
            lines = tile.left(tensors)
        strips.append(torch.cat(parts, dim=3))
    return torch.cat(strips, dim=2)


class _Tile:
    """One tile: where each tensor begins and ends, and the rows that earlier tiles left in ``lines``."""

    def __init__(self, workload: Workload, rows: Pieces, columns: Pieces, i: int, j: int, lines: list[Tensor]) -> None:
        self._workload, self._rows, self._i, self._lines = workload, rows, i, lines
        self._begin = rows.begin[:, i].tolist(), columns.begin[:, j].tolist()
        self._end = rows.end[:, i].tolist(), columns.end[:, j].tolist()
        self._there = (rows.begin[:, i] - rows.kept[:, i]).tolist(), self._begin[1]
        self._length = regions.sizes(workload, regions.ROWS).tolist(), regions.sizes(workload, regions.COLUMNS).tolist()

    def compute(self, nodes: tuple[Node, ...], x: Tensor, run: Run) -> list[Tensor]:
        """Every tensor of the tile, kept rows first."""
        tensors: list[Tensor] = []
        for row, node in enumerate(nodes):
            (top, left), (bottom, right) = ((side[0][row], side[1][row]) for side in (self._begin, self._end))
            if isinstance(node.op, Input):
                new = x[:, :, top:bottom, left:right]
            elif top == bottom:
                tensor = self._workload.tensors[row]
                new = x.new_zeros((x.shape[0], tensor.channels, 0, right - left))
            else:
                new = self._layer(row, node, tensors, run)
            tensors.append(torch.cat([self._lines[row], new], dim=2) if self._lines else new)
        return tensors

    def _layer(self, row: int, node: Node, tensors: list[Tensor], run: Run) -> Tensor:
        layer = self._workload.layers[row - 1]
        inputs, offsets = [], [0, 0]
        for source in layer.inputs:
            value, border = tensors[source], [0, 0, 0, 0]
            for axis, name in enumerate((regions.ROWS, regions.COLUMNS)):
                view = regions.view(self._workload, layer, name)
                first = view.first(self._begin[axis][row])
                stop = view.stop(self._end[axis][row])
                inside = max(first, 0), min(stop, self._length[axis][source])
                begin = inside[0] - self._there[axis][source]
                if begin < 0 or inside[1] > self._end[axis][source]:
                    raise IndexError(f"{node.name} sees {name} of its input that are neither computed nor kept")
                value = value.narrow(2 + axis, begin, inside[1] - inside[0])
                border[2 - 2 * axis : 4 - 2 * axis] = inside[0] - first, stop - inside[1]
                offsets[axis] = self._begin[axis][row] - inside[0] // view.stride * view.factor
            inputs.append(F.pad(value, border) if isinstance(node.op, Conv) else value)
        out = run(node, inputs)
        if isinstance(node.op, Conv):
            return out
        for axis in range(2):
            out = out.narrow(2 + axis, offsets[axis], self._end[axis][row] - self._begin[axis][row])
        return out

    def left(self, tensors: list[Tensor]) -> list[Tensor]:
        """What the next tile finds in the line buffers."""
        if self._i + 1 == self._rows.kept.shape[1]:
            return []
        kept = self._rows.kept[:, self._i + 1].tolist()
        return [value.narrow(2, value.shape[2] - rows, rows) for value, rows in zip(tensors, kept, strict=True)]
