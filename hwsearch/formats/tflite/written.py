"""What the exporter of TFLite files writes for a layer, as what is priced: the operators that differ from the network's.

A layer with slopes (PReLU, LeakyReLU) is two convolutions and the larger or smaller of both; a pixel shuffle between 16-bit
tensors is a transpose, since DEPTH_TO_SPACE has no kernel for them. A change of container, which the exporter writes as QUANTIZE,
multiplies by 1; compilers fold it into its neighbours, and it is not priced.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwmodels.workload import Map, Move, Piece, Workload


def written(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """What the file holds in place of layer ``row`` where tensors have ``element_bytes``; empty where it is the layer."""
    layer = workload.layers[row]
    target = workload.tensors[layer.output]
    shape = (target.channels, target.height, target.width)
    if layer.contracts and layer.finish in ("slope", "slopes"):
        side = Piece(layer.work, tuple(range(len(layer.inputs))), shape, weighs=True)
        return side, side, Piece(Map("compare", 2), (-1, -2), shape)
    if layer.moves("shuffle") and element_bytes > 1:
        return (Piece(turned(shape, workload.tensors[layer.inputs[0]].height), (0,), shape),)
    return ()


def read(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """What a file holds in place of a layer that was read from it: operators stand as they are, but for the moves that are read
    as one pixel shuffle."""
    return written(workload, row, element_bytes) if workload.layers[row].moves("shuffle") else ()


def turned(shape: tuple[int, int, int], rows: int) -> Move:
    """A pixel shuffle to ``shape`` (channels, height, width) from ``rows`` rows, as a transpose of rows, columns, rows of a
    block, and what is in one of these."""
    channels, height, width = shape
    factor = height // rows
    return Move("transpose", (rows, width // factor, factor, factor * channels), (0, 2, 1, 3))
