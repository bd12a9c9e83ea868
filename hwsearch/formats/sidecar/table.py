"""The plan as a table that anything reads: per layer and per tensor the widths, scales, zero points and bytes. No weights.

The JSON document has "provenance", "layers" and "tensors"; scales are written with all their digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwsearch.documents.files import write_bytes
from hwsearch.documents.versions import __version__
from hwsearch.formats.writing.check import check
from hwsearch.formats.writing.promote import weight_bytes
from hwsearch.quant.network.graph import LayerFloats, QuantizedGraph, same_weights
from searchspaces.ir.graph import Node
from searchspaces.ops.base import Op
from searchspaces.ops.table import OpTable

ROWS: OpTable[str] = OpTable("the table")
"""A row names what a tensor is computed by, so it has every operator."""
ROWS.put("a row", Op)


def provenance(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """What every text format says of its origin."""
    facts = {"hwsearch_version": __version__, "requantization": qgraph.rule, **(metadata or {})}
    return {key: str(value) for key, value in facts.items()}


def layer_row(qgraph: QuantizedGraph, node: Node) -> dict[str, Any]:
    """A layer with weights; ``weight_scale`` has one number per output channel and is ``None`` in half precision."""
    layer = qgraph.layers[node.name]
    source, target = qgraph.formats[node.inputs[0]], qgraph.formats[node.name]
    real, owner = isinstance(layer, LayerFloats), same_weights(qgraph, node.name)
    row = {
        "name": node.name,
        "input": node.inputs[0],
        "shape": list(layer.weight.shape),
        "groups": getattr(node.op, "groups", 1),
        "activation": "none" if node.activation is None else node.activation.kind,
        "weight_bits": layer.bits,
        "weight_type": "float16" if real else f"int{layer.bits}",
        "weight_bytes": weight_bytes(layer),
        "input_bits": source.bits,
        "output_bits": target.bits,
        "weight_scale": None if isinstance(layer, LayerFloats) else [float(s) for s in layer.scale],
    }
    return row if owner == node.name else row | {"weights_of": owner}


def document(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The whole table as plain data."""
    tensors = []
    for node in qgraph.graph.nodes:
        fmt = qgraph.formats[node.name]
        row: dict[str, Any] = {"name": node.name, "op": node.op.word, "inputs": list(node.inputs), "bits": fmt.bits}
        kind = {"type": "float16"} if fmt.is_float else {"type": f"uint{fmt.bits}", "scale": fmt.scale}
        bounds = {} if fmt.is_float else {"zero_point": fmt.zero_point, "lowest": fmt.qmin, "highest": fmt.qmax}
        tensors.append(row | kind | bounds)
    layers = [layer_row(qgraph, node) for node in qgraph.graph.convs]
    return {"provenance": provenance(qgraph, metadata), "layers": layers, "tensors": tensors}


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write the table as JSON, whole or not at all.

    Raises:
        FileError: the network has values that make no correct file (see ``check``), or ``path`` cannot be written.
    """
    check(qgraph)
    text = json.dumps(document(qgraph, metadata), indent=2, allow_nan=False) + "\n"
    return write_bytes(Path(path), text.encode())
