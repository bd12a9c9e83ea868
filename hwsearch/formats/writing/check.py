"""What no exporter writes: numbers that make no correct file, found before the first byte is written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hwmodels.errors import FileError
from hwmodels.numbers import Int
from hwsearch.quant.engine.integer import proofs
from hwsearch.quant.engine.proof import INT32_LIMIT
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, QuantizedGraph
from searchspaces.ir.graph import Node


def check(qgraph: QuantizedGraph, *, tables: bool = False) -> None:
    """Refuse what cannot be written as a correct file.

    Args:
        tables: decode tables can be.
    Raises:
        FileError: a scale, bias or weight that is not finite or not positive where it must be, a format that its container
        cannot hold, or sums that overflow the 32-bit accumulators of runtimes. All problems are listed.
    """
    # Sums are proven for a network whose numbers are sound.
    wrong = [*_network(qgraph, tables=tables)] or [*_sums(qgraph)]
    if wrong:
        raise FileError("this quantized network cannot be exported:\n" + "\n".join(f"  - {w}" for w in wrong))


def _network(qgraph: QuantizedGraph, *, tables: bool) -> Iterator[str]:
    if qgraph.by_picture is not None:
        yield "its widths are those of each picture, which no file format carries"
    for node in qgraph.graph.nodes:
        fmt = qgraph.formats.get(node.name)
        yield from [f"tensor {node.name!r} has no format"] if fmt is None else _tensor(node, fmt, tables=tables)
    yield from _layers(qgraph)


def _tensor(node: Node, fmt: TensorFormat, *, tables: bool) -> Iterator[str]:
    if fmt.levels is not None and not tables:
        yield f"tensor {node.name!r}: its codes need a decode table"
    if fmt.normalized is not None:
        yield f"tensor {node.name!r}: its range is that of each picture and channel, which no file format carries"
    if not fmt.is_float:
        top = fmt.grid.last_code
        if not (np.isfinite(fmt.scale) and fmt.scale > 0):
            yield f"tensor {node.name!r}: scale {fmt.scale}"
        if not (0 <= fmt.qmin <= fmt.qmax <= top and 0 <= fmt.zero_point <= top):
            yield f"tensor {node.name!r}: codes {fmt.qmin}..{fmt.qmax}, zero point {fmt.zero_point} do not fit 0..{top}"
    if (slope := node.weights.get("slope")) is not None and not bool(slope.isfinite().all()):
        yield f"{node.name!r}: a slope is not finite"


def _layers(qgraph: QuantizedGraph) -> Iterator[str]:
    for name, layer in qgraph.layers.items():
        if isinstance(layer, LayerFloats):
            if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
                yield f"layer {name!r}: a weight or bias is not finite"
            continue
        if not (np.isfinite(layer.scale).all() and (layer.scale > 0).all()):
            yield f"layer {name!r}: a weight scale is zero, negative or not finite"
        low, high = Int(layer.bits).weight_codes
        if layer.weight.min(initial=0) < low or layer.weight.max(initial=0) > high:
            yield f"layer {name!r}: weights exceed {layer.bits} bits"
    yield from (f"layer {node.name!r} has no weights" for node in qgraph.graph.convs if node.name not in qgraph.layers)


def _sums(qgraph: QuantizedGraph) -> Iterator[str]:
    for proof in proofs(qgraph):
        if proof.carrier == "half precision":
            continue
        narrow = not qgraph.formats[qgraph.graph[proof.layer].inputs[0]].is_wide
        if not proof.int32:
            yield f"layer {proof.layer!r}: sums up to {proof.bound} overflow 32 bits"
        elif narrow and np.abs(qgraph.layers[proof.layer].bias).max(initial=0) > INT32_LIMIT:
            yield f"layer {proof.layer!r}: a bias overflows 32 bits"
