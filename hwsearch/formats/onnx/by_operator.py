"""Every operator of an exported file by itself: fed with the codes that ONNX Runtime has before it, does our engine write the
codes that ONNX Runtime has behind it?

Where floating point takes part, as in layer normalization, a code differs now and then by one, and a deep network spreads and
enlarges that: on the output alone it cannot be told from a fault. Here nothing adds up. Whatever runs in integers must be equal;
an island of floating point may differ by one code, in few places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor

from hwsearch.formats.onnx import write
from hwsearch.formats.running.runtime import Apart, Looked
from hwsearch.quant.engine import steps
from hwsearch.quant.engine.integer import engine
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.shapes import shapes
from searchspaces.ops.maps.elementwise import Add

SIDE = 64
"""Pixels of height and width that are looked at, where the network takes any: all its operators stand on each."""
MOST_BYTES = 1 << 29
"""What the codes that are looked at together may be; the network runs once for each such part of it."""
TIPPED = 0.05
"""Share of the codes of an island that may differ, by one. Measured on random networks of ten families: 0.0076 at
most, a normalization to unit length from 8 to 16 bits."""


def look(qgraph: QuantizedGraph, file: str | Path | bytes, x: Tensor, *, fused: bool = True, whole: bool = False) -> Looked:
    """Whether every operator of the exported ``file`` of a network computes by itself what the engine computes, on one picture
    ``x float32 [1, C, H, W]`` in 0..1, and which is the first that does not. It cannot be told with state, or tensors in half
    precision, or of a file that this version of ours did not write.

    Args:
        fused: ONNX Runtime's additions are exact on this CPU (``ort.additions_are_fused``).
        whole: the picture is looked at to its last pixel, and not a corner of it.
    """
    qgraph = qgraph.of_picture(x)
    graph, formats = qgraph.graph, qgraph.formats
    if graph.remembered or qgraph.float_layers or any(fmt.is_float for fmt in formats.values()):
        return Looked(told=False)
    model = onnx.load_from_string(file) if isinstance(file, bytes) else onnx.load(str(file))
    writer = write.written(qgraph)
    if [node.SerializeToString() for node in model.graph.node] != [node.SerializeToString() for node in writer.nodes]:
        return Looked(told=False)
    x = x if whole else _part(graph, x)
    found = (_apart(qgraph, model, writer.codes, part, x, fused) for part in _parts(graph, x))
    return Looked(told=True, apart=next((apart for apart in found if apart is not None), None))


def _part(graph: Graph, x: Tensor) -> Tensor:
    """As much of a picture as is looked at."""
    if graph.size is not None:
        return x
    most = max(SIDE // graph.multiple, 1) * graph.multiple
    return x[:, :, :most, :most].contiguous()


def _parts(graph: Graph, x: Tensor) -> Iterator[list[Node]]:
    """The nodes that compute something, so many together as may be looked at."""
    sides, held = shapes(graph, *x.shape[2:]), 0
    part: list[Node] = []
    for node in graph.nodes:
        if not node.inputs:
            continue
        size = 8 * sum(int(np.prod(sides[name])) for name in {node.name, *node.inputs})
        if part and held + size > MOST_BYTES:
            yield part
            part, held = [], 0
        part.append(node)
        held += size
    yield part


def _apart(
    qgraph: QuantizedGraph, model: onnx.ModelProto, codes: dict[str, str], nodes: Sequence[Node], x: Tensor, fused: bool
) -> Apart | None:
    """The first of ``nodes`` that differs by more than it may."""
    formats = qgraph.formats
    names = list(dict.fromkeys(name for node in nodes for name in (*node.inputs, node.name)))
    looked_at = onnx.ModelProto()
    looked_at.CopyFrom(model)
    del looked_at.graph.output[:]
    tensors = list(dict.fromkeys(codes[name] for name in names))
    looked_at.graph.output.extend(helper.make_empty_tensor_value_info(tensor) for tensor in tensors)
    session = write.session(looked_at.SerializeToString())
    given = session.run(tensors, {"input": np.ascontiguousarray(x.numpy(), np.float32)})
    found = {tensor: torch.from_numpy(value.astype(np.int32)) for tensor, value in zip(tensors, given, strict=True)}
    if "input" in names:
        apart = (formats["input"].encode(x).to(torch.int32) - found[codes["input"]]).abs()
        if int(apart.max()):
            return _told("input", "picture", apart)
    ours = engine(qgraph).steps_for(*x.shape[2:])
    for node in nodes:
        target = formats[node.name]
        sources = [formats[name].carried(found[codes[name]] - formats[name].zero_point) for name in node.inputs]
        written = target.shifted(ours[node.name](sources)).to(torch.int32) + target.zero_point
        apart = (written - found[codes[node.name]]).abs()
        exact = steps.exact(node.op, *(formats[name] for name in (*node.inputs, node.name)))
        exact = exact and (fused or not isinstance(node.op, Add))
        if int(apart.max()) > (0 if exact else 1) or float((apart > 0).double().mean()) > TIPPED:
            return _told(node.name, f"{node.op.kind}, {' and '.join(_widths(formats, node.inputs))} to {target.number}", apart)
    return None


def _widths(formats: Mapping[str, TensorFormat], names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(str(formats[name].number) for name in names))


def _told(name: str, kind: str, apart: Tensor) -> Apart:
    return Apart(name, kind, int((apart > 0).sum()), apart.numel(), int(apart.max()))
