"""What the exporter of TFLite files writes for a layer, as what is priced: the operators that differ from the network's.

A layer with slopes (PReLU, LeakyReLU) is two convolutions and the larger or smaller of both; a pixel shuffle between 16-bit
tensors, or back, is a transpose, since neither DEPTH_TO_SPACE nor SPACE_TO_DEPTH has a kernel for them. A picture stands
channels-last in the file and tokens as the network has them: a transpose leads from one to the other. A change of container,
which the exporter writes as QUANTIZE, multiplies by 1; compilers fold it into convolutions around it. Before an addition or
product it is executed, and priced there.

Files for an Ethos-U (``for_array``) have no pixel shuffle: its compiler leaves DEPTH_TO_SPACE to the processor beside the array,
and takes five passes for the transpose. Channels are in blocks, so those of one row of a block lie together: these slices, put
beside one another along the width, are the rows of the shuffled picture in their order, and a view is the rest. That is one copy,
at any size and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwmodels.workload import Map, Move, Piece, Tensor, Workload
from hwsearch.formats.tflite.reordered import gathered


def written(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """What the file holds in place of layer ``row`` where tensors have ``element_bytes``; empty where it is the layer."""
    return _gathered(workload, row, _written(workload, row, element_bytes))


def _gathered(workload: Workload, row: int, pieces: Sequence[Piece]) -> Sequence[Piece]:
    """The pieces behind the GATHER that give channels another order. A network with tokens has one order of axes, and layers that
    pixel shuffles alone read in theirs."""
    if any(layer.moves("view", "transpose") or layer.product for layer in workload.layers):
        return pieces
    return gathered(workload, row, pieces)


def _written(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    layer = workload.layers[row]
    target = workload.tensors[layer.output]
    shape = (target.channels, target.height, target.width)
    if layer.contracts and layer.finish in ("slope", "slopes"):
        side = Piece(layer.work, tuple(range(len(layer.inputs))), shape, weighs=True)
        return side, side, Piece(Map("compare", 2), (-1, -2), shape)
    if layer.moves("shuffle") and element_bytes > 1:
        # The axes in their new order are merged by a view.
        turn = Piece(turned(shape, workload.tensors[layer.inputs[0]].height), (0,), shape)
        return turn, Piece(Move("view"), (-1,), shape)
    return layout(workload, row)


def for_array(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """The same for files that are compiled for an Ethos-U."""
    if workload.layers[row].moves("shuffle"):
        return _gathered(workload, row, joined(workload, row))
    return _kept(workload, row) or written(workload, row, element_bytes)


def _kept(workload: Workload, row: int) -> Sequence[Piece]:
    """What a network keeps for the next frame of a video, which the compiler takes from where its layer wrote it."""
    layer, target = workload.layers[row], workload.tensors[workload.layers[row].output]
    if not layer.moves("copy") or target.readers or workload.tensors[layer.inputs[0]].producer < 0:
        return ()
    return (Piece(Move("view"), (0,), (target.channels, target.height, target.width)),)


def joined(workload: Workload, row: int) -> Sequence[Piece]:
    """A pixel shuffle, or back, as a concatenation of slices and a view: of the channels that are a row of a block, along the
    width; back, of the width that is a row of blocks, along the channels."""
    layer = workload.layers[row]
    source, target = (workload.tensors[i] for i in (layer.inputs[0], layer.output))
    shape = (target.channels, target.height, target.width)
    if target.height > source.height:
        rows = target.height // source.height
        part = (source.channels // rows, source.height, source.width)
        slices = [Piece(Move("slice"), (0,), part)] * rows
        together = Piece(Move("concat"), tuple(range(-rows, 0)), (part[0], part[1], rows * part[2]))
        return *slices, together, Piece(Move("view"), (-1,), shape)
    rows = source.height // target.height
    part = (target.channels // rows, target.height, target.width)
    flat = Piece(Move("view"), (0,), (part[0], part[1], rows * part[2]))
    slices = [Piece(Move("slice"), (-1 - number,), part) for number in range(rows)]
    return flat, *slices, Piece(Move("concat"), tuple(range(-rows, 0)), shape)


def layout(workload: Workload, row: int) -> Sequence[Piece]:
    """A view or transpose between a picture and tokens, with the transposes that lead from one order of axes to the other."""
    layer = workload.layers[row]
    if not isinstance(layer.work, Move) or layer.work.how not in ("view", "transpose"):
        return ()
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    own = Piece(layer.work, (0,), (target.channels, target.height, target.width))
    found = [own]
    if _as_picture(workload, source):
        height, width, channels = source.height, source.width, source.channels
        turned = Piece(Move("transpose", (height, width, channels), (2, 0, 1)), (0,), (width, channels, height))
        found = [turned, replace(own, inputs=(-1,))]
    if target.picture and not all(workload.layers[r].moves("view", "transpose") for r in target.readers):
        height, width, channels = target.height, target.width, target.channels
        plain = replace(found[-1], shape=(width, channels, height))
        back = Piece(Move("transpose", (channels, height, width), (1, 2, 0)), (-1,), (channels, height, width))
        found = [*found[:-1], plain, back]
    return found if len(found) > 1 else ()


def _as_picture(workload: Workload, tensor: Tensor) -> bool:
    """Whether a tensor stands channels-last in the file: a picture that no operator of tokens wrote."""
    return tensor.picture and (tensor.producer < 0 or not workload.layers[tensor.producer].moves("view", "transpose"))


def read(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """What a file holds in place of a layer that was read from it: operators stand as they are, but for the moves that are read
    as one pixel shuffle."""
    return _written(workload, row, element_bytes) if workload.layers[row].moves("shuffle") else ()


def read_for_array(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """The same of a file for an Ethos-U."""
    return joined(workload, row) if workload.layers[row].moves("shuffle") else ()


def turned(shape: tuple[int, int, int], rows: int) -> Move:
    """A pixel shuffle, or back, to ``shape`` (channels, height, width) from ``rows`` rows, as a transpose of rows, columns, rows
    of a block, and what is in one of these; back, of rows, rows of a block, columns, and that."""
    channels, height, width = shape
    if rows > height:
        factor = rows // height
        return Move("transpose", (height, factor, width, channels // factor), (0, 2, 1, 3))
    factor = height // rows
    return Move("transpose", (rows, width // factor, factor, factor * channels), (0, 2, 1, 3))
