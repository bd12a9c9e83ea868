"""Which tensors a TFLite file has in another order of channels for some reader, as the price sees it: a GATHER each.

The same rules as ``writing.order``, from a workload instead of a graph: a pixel shuffle takes channels block by block. Layers
before it give them so, where they can: convolutions without groups, and additions, whose operands then come in that order. What
enters the network, a concatenation and everything else has its channels one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hwmodels.pricing.rewriting import itself
from hwmodels.workload import Contract, Layer, Move, Piece, Workload
from hwsearch.formats.tflite.writing.order import block_order, copies_order


def gathered(workload: Workload, row: int, pieces: Sequence[Piece]) -> Sequence[Piece]:
    """The pieces of layer ``row`` with a GATHER in front for every input that it takes in another order than it has; the same
    where there is none."""
    layer, first = workload.layers[row], list[Piece]()
    where: dict[int, int] = {}
    for number, tensor in enumerate(layer.inputs):
        order = _demanded(workload, layer, tensor)
        if order is None or np.array_equal(order, _order(workload, tensor)):
            continue
        source = workload.tensors[tensor]
        where[number] = len(first)
        first.append(Piece(Move("gather"), (number,), (source.channels, source.height, source.width)))
    if not first:
        return pieces
    own = pieces or (itself(workload, row),)
    moved = [
        replace(piece, inputs=tuple(where[i] - len(first) - place if i in where else i for i in piece.inputs))
        for place, piece in enumerate(own)
    ]
    return *first, *moved


def _free(layer: Layer) -> bool:
    return isinstance(layer.work, Contract) and layer.work.form == "window" and layer.groups == 1 and not layer.of_tensors


def _adds(layer: Layer) -> bool:
    return layer.maps("add") and len(layer.inputs) == 2 and not layer.constants


def _enlarges(workload: Workload, layer: Layer) -> bool:
    return workload.tensors[layer.output].height > workload.tensors[layer.inputs[0]].height


def _order(workload: Workload, tensor: int) -> np.ndarray:
    """Which channel stands at each place of a tensor."""
    found = workload.tensors[tensor]
    natural = np.arange(found.channels)
    if found.producer < 0:
        return natural
    layer = workload.layers[found.producer]
    source = workload.tensors[layer.inputs[0]]
    if layer.moves("shuffle") and not _enlarges(workload, layer):
        return block_order(source.channels, source.height // found.height)
    if layer.moves("repeat"):
        return copies_order(source.channels, found.channels)
    if not found.readers or not (_free(layer) or _adds(layer)):
        return natural
    demands = [_demanded(workload, workload.layers[reader], tensor) for reader in found.readers]
    wanted = [order for order in demands if order is not None]
    return wanted[0] if wanted and all(np.array_equal(order, wanted[0]) for order in wanted) else natural


def _demanded(workload: Workload, reader: Layer, tensor: int) -> np.ndarray | None:
    """The order in which a layer takes the channels of an input; None where it takes any."""
    if _free(reader):
        return None
    target = workload.tensors[reader.output]
    if reader.moves("shuffle") and _enlarges(workload, reader):
        return block_order(target.channels, target.height // workload.tensors[tensor].height)
    return _order(workload, reader.output) if _adds(reader) else np.arange(workload.tensors[tensor].channels)
