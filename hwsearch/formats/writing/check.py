"""What no exporter writes: numbers that make no correct file, found before the first byte is written."""

from __future__ import annotations

import numpy as np

from hwmodels.errors import FileError
from hwmodels.numbers import Int
from hwsearch.quant.engine.integer import proofs
from hwsearch.quant.engine.proof import INT32_LIMIT
from hwsearch.quant.network.graph import LayerFloats, QuantizedGraph


def check(qgraph: QuantizedGraph, *, tables: bool = False) -> None:
    """Refuse what cannot be written as a correct file.

    Args:
        tables: decode tables can be.
    Raises:
        FileError: a scale, bias or weight that is not finite or not positive where it must be, a format that its container
        cannot hold, or sums that overflow the 32-bit accumulators of runtimes. All problems are listed.
    """
    wrong = []
    if qgraph.by_picture is not None:
        wrong.append("its widths are those of each picture, which no file format carries")
    for node in qgraph.graph.nodes:
        fmt = qgraph.formats.get(node.name)
        if fmt is None:
            wrong.append(f"tensor {node.name!r} has no format")
            continue
        if fmt.levels is not None and not tables:
            wrong.append(f"tensor {node.name!r}: its codes need a decode table")
        if fmt.normalized is not None:
            wrong.append(f"tensor {node.name!r}: its range is that of each picture and channel, which no file format carries")
        top = 0 if fmt.is_float else fmt.grid.last_code
        if not fmt.is_float and not (np.isfinite(fmt.scale) and fmt.scale > 0):
            wrong.append(f"tensor {node.name!r}: scale {fmt.scale}")
        if not fmt.is_float and not (0 <= fmt.qmin <= fmt.qmax <= top and 0 <= fmt.zero_point <= top):
            wrong.append(f"tensor {node.name!r}: codes {fmt.qmin}..{fmt.qmax}, zero point {fmt.zero_point} do not fit 0..{top}")
        for key, value in node.weights.items():
            if key == "slope" and not bool(value.isfinite().all()):
                wrong.append(f"{node.name!r}: a slope is not finite")
    for name, layer in qgraph.layers.items():
        if isinstance(layer, LayerFloats):
            if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
                wrong.append(f"layer {name!r}: a weight or bias is not finite")
            continue
        if not (np.isfinite(layer.scale).all() and (layer.scale > 0).all()):
            wrong.append(f"layer {name!r}: a weight scale is zero, negative or not finite")
        low, high = Int(layer.bits).weight_codes
        if layer.weight.min(initial=0) < low or layer.weight.max(initial=0) > high:
            wrong.append(f"layer {name!r}: weights exceed {layer.bits} bits")
    for node in qgraph.graph.convs:
        if node.name not in qgraph.layers:
            wrong.append(f"layer {node.name!r} has no weights")
    if not wrong:
        for proof in proofs(qgraph):
            narrow = not qgraph.formats[qgraph.graph[proof.layer].inputs[0]].is_wide
            bias = qgraph.layers[proof.layer].bias
            if proof.carrier != "half precision" and not proof.int32:
                wrong.append(f"layer {proof.layer!r}: sums up to {proof.bound} overflow 32 bits")
            elif proof.carrier != "half precision" and narrow and np.abs(bias).max(initial=0) > INT32_LIMIT:
                wrong.append(f"layer {proof.layer!r}: a bias overflows 32 bits")
    if wrong:
        raise FileError("this quantized network cannot be exported:\n" + "\n".join(f"  - {w}" for w in wrong))
