"""Encodings for AIMET and Qualcomm's QNN tools: grids by tensor name, for the network that the "float" exporter writes.

Two versions of the format, as AIMET 2 writes them. In 1.0.0 offsets are counted on an unsigned grid and negative (``-zero
point``; ``-2^(bits-1)`` for symmetric tensors), and lists of scales carry no axis. In 2.0.0 zero points follow ONNX and the axis
is said: 0, the output channels. Weights are signed and symmetric, biases 32-bit integers in units of ``s_x * s_w``. Tensors that
no entry names are left in floating point: those in half precision, and what is computed before a fused activation.

The tools know weights of 4 and 8 bits and tensors of 8 and 16; narrower ones are promoted before they come here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.errors import UsageError, closest
from hwsearch.documents.files import write_bytes
from hwsearch.formats.sidecar.table import provenance
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Node

VERSIONS = ("1.0.0", "2.0.0")


def document(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None, version: str = "2.0.0") -> dict[str, Any]:
    """The encodings as plain data."""
    entry = {"1.0.0": _entry_1, "2.0.0": _entry_2}[version]
    tensors = [
        entry(node.name, fmt.bits, [fmt.scale], fmt.zero_point, symmetric=_is_symmetric(fmt), signed=False)
        for node in qgraph.graph.nodes
        if not (fmt := qgraph.formats[node.name]).is_float
    ]
    parameters = []
    for node in qgraph.graph.convs:
        layer = qgraph.layers[node.name]
        if isinstance(layer, LayerIntegers):
            scale = [float(s) for s in layer.scale]
            parameters.append(entry(f"{node.name}.weight", layer.bits, scale, 0, symmetric=True, signed=True))
            parameters.append(entry(f"{node.name}.bias", 32, _bias_scale(qgraph, node, layer), 0, symmetric=True, signed=True))
    facts = provenance(qgraph, metadata)
    if version == "2.0.0":
        return {"version": version, "encodings": tensors + parameters, "producer": facts}
    return {"version": version, "activation_encodings": tensors, "param_encodings": parameters, "producer": facts}


def _bias_scale(qgraph: QuantizedGraph, node: Node, layer: LayerIntegers) -> list[float]:
    source = np.float32(qgraph.formats[node.inputs[0]].scale)
    return [float(s) for s in source * layer.scale]


def _is_symmetric(fmt: TensorFormat) -> bool:
    return fmt.zero_point == 1 << (fmt.bits - 1)


def _entry_1(name: str, bits: int, scale: list[float], zero_point: int, *, symmetric: bool, signed: bool) -> dict[str, Any]:
    offset = -(1 << (bits - 1)) if signed else -zero_point
    return {
        "name": name,
        "dtype": "INT",
        "bw": bits,
        "enc_type": "PER_CHANNEL" if signed else "PER_TENSOR",
        "is_sym": symmetric,
        "scale": scale,
        "offset": [offset] * len(scale),
    }


def _entry_2(name: str, bits: int, scale: list[float], zero_point: int, *, symmetric: bool, signed: bool) -> dict[str, Any]:
    if signed:
        return {"name": name, "output_dtype": f"int{bits}", "y_scale": scale, "axis": 0}
    zero = {"y_zero_point": zero_point} if zero_point else {}
    return {"name": name, "output_dtype": f"uint{bits}", "y_scale": scale[0], **zero}


def export(
    qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None, version: str = "2.0.0"
) -> Path:
    """Write the encodings, whole or not at all.

    Raises:
        UsageError: no such version of the format.
        FileError: the network has values that make no correct file (see ``check``), or ``path`` cannot be written.
    """
    if version not in VERSIONS:
        raise UsageError(f"no version {version!r} of AIMET's encodings", closest(version, VERSIONS))
    check(qgraph)
    text = json.dumps(document(qgraph, metadata, version), indent=1, allow_nan=False) + "\n"
    return write_bytes(Path(path), text.encode())
