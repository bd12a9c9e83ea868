"""ONNX files, ours and those of others: QLinearConv and ConvInteger graphs, QDQ graphs, QONNX, floating point.

Only the structure and the constants are read; no runtime executes the file. Weights outside the file are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from hwmodels.errors import FileError
from hwsearch.formats.onnx.constants import Found
from hwsearch.formats.onnx.walk import Walker
from hwsearch.formats.readers import Inspected, InspectedLayer
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.simplify import simplify
from searchspaces.ops.conv import Conv


def read(path: Path) -> Inspected:
    """Read an ONNX file.

    Raises:
        FileError: no ONNX model, cut short, no network from picture to picture, or weights outside the file.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise FileError(f"{path}: not an ONNX model, or cut short: {error}", "Export it again.") from None
    try:
        walker = Walker(model.graph)
        nodes = walker.run()
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, ZeroDivisionError) as error:
        raise FileError(
            f"{path}: the model cannot be read: {error}", "It should map one picture [N, C, H, W] to another."
        ) from None
    graph = Graph(model.graph.name or path.stem, tuple(simplify(nodes)), tuple(walker.uncounted))
    bits = _tensor_bits(graph, walker)
    facts = {prop.key: prop.value for prop in model.metadata_props}
    layers = tuple(_layer(node, walker.layers[node.name], bits[node.name]) for node in graph.convs)
    return Inspected(
        path=path,
        format="onnx",
        producer=f"{model.producer_name} {model.producer_version}".strip() or "unknown",
        file_bytes=path.stat().st_size,
        layers=layers,
        graph=graph,
        tensor_bits=bits,
        input_size=walker.input_size,
        provenance=facts if "hwsearch_version" in facts else None,
        remarks=(facts["notes"],) if "hwsearch_version" in facts and "notes" in facts else (),
    )


def _layer(node: Node, found: Found, activation_bits: int) -> InspectedLayer:
    depthwise = isinstance(node.op, Conv) and node.op.groups > 1 and node.weights["weight"].shape[1] == 1
    op = "conv_transpose" if found.transposed else "depthwise" if depthwise else "conv"
    return InspectedLayer(node.name, op, found.shape, found.bits, activation_bits, found.bytes, found.stored_as)


def _tensor_bits(graph: Graph, walker: Walker) -> Mapping[str, int]:
    """Width of every tensor. What shares a width by structure has the widest that is written anywhere in its group; an
    activation that was folded into its producer hands its width on."""
    written = dict(walker.widths)
    for name, source in reversed(walker.unary_of.items()):
        if name in written and source not in written:
            written[source] = written[name]
    groups = graph.width_groups()
    widest: dict[str, int] = {}
    for node in graph.nodes:
        if node.name in written:
            widest[groups[node.name]] = max(widest.get(groups[node.name], 0), written[node.name])
    return {node.name: written.get(node.name, widest.get(groups[node.name], 32)) for node in graph.nodes}
