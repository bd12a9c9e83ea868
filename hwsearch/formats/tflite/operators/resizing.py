"""Pictures of another size in a TFLite file.

RESIZE_BILINEAR knows one grid: QUANTIZE in front of it, on the picture as it was, brings codes to the plan's. TensorFlow Lite
Micro has it for 8 bits alone.
"""

from __future__ import annotations

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.writer import Writer
from hwsearch.quant.engine.steps import resizing
from searchspaces.ir.graph import Node
from searchspaces.ops.moves.resize import Resize


@WRITES.register(Resize)
def _resize(writer: Writer, node: Node) -> int:
    op = node.op
    assert isinstance(op, Resize)
    size = writer.constant(f"{node.name}/size", np.array(writer.shapes[node.name][1:], np.int32))
    if op.mode == "nearest" and op.whole_factor is not None:
        return _nearest(writer, node, size)
    if op.mode != "bilinear" or op.antialias:
        raise FileError(f"{node.name!r}: TFLite has no kernel of {op.describe()}", "Export this plan as ONNX.")
    return _bilinear(writer, node, op, size)


def _nearest(writer: Writer, node: Node, size: int) -> int:
    writer.check_moved(node)
    x, options = writer.read(node.inputs[0], node), Options("ResizeNearestNeighborOptions")
    return writer.moved(
        node, writer.shapes[node.name], lambda y: writer.file.op("RESIZE_NEAREST_NEIGHBOR", [x, size], y, options, 2)
    )


def _bilinear(writer: Writer, node: Node, op: Resize, size: int) -> int:
    name = node.inputs[0]
    source, target = writer.qgraph.formats[name], writer.qgraph.formats[node.name]
    before, after = writer.shapes[name], writer.shapes[node.name]
    places = resizing.places(writer.qgraph.rule, source, target)
    if places is None:
        raise FileError(
            f"{node.name!r}: TensorFlow Lite Micro has no RESIZE_BILINEAR of 16-bit tensors", "Give it 8 bits (--pin)."
        )
    if not resizing.by_kernel(op, before[1:], after[1:], places):
        raise FileError(
            f"{node.name!r}: TFLite resizes {before[1]}x{before[2]} to {after[1]}x{after[2]} pixels in steps that lead elsewhere",
            "Export it for a smaller picture (--input), or as ONNX.",
        )
    x = writer.read(name, node)
    if resizing.converted(source, target):
        given, options = x, Options("QuantizeOptions")
        x = writer.bounded(
            f"{node.name}/converted",
            target,
            before,
            lambda y, _: writer.file.op("QUANTIZE", [given], y, options, 2),
            fusible=False,
        )
    fields = {"AlignCorners": op.align_corners, "HalfPixelCenters": not op.align_corners}
    version = 4 if target.is_wide else 3
    y = writer.tensor(node.name, target, after)
    return writer.file.op("RESIZE_BILINEAR", [x, size], y, Options("ResizeBilinearOptions", fields), version)
