"""Means in a TFLite file: MEAN of codes, as the engine has it under the rules of TFLite's kernels."""

from __future__ import annotations

import math

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite.operators.moves import standing
from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.writer import Plain, Shape, Writer, widened
from hwsearch.quant.engine.operators import reduction
from hwsearch.quant.engine.steps import codes
from searchspaces.ir.graph import Node
from searchspaces.ops.reductions.reduce import Mean


@WRITES.register(Mean)
def _mean(writer: Writer, node: Node) -> int:
    op, name = node.op, node.inputs[0]
    assert isinstance(op, Mean)
    source, target = writer.qgraph.formats[name], writer.qgraph.formats[node.name]
    wide = not codes.narrow(source, target)
    count = math.prod(writer.full[name][axis] for axis in op.axes)
    if not reduction.fits(count, (codes.widened if wide else codes.stored)(source)):
        raise FileError(f"{node.name!r}: the codes of {count} places can overflow the 32 bits in which TFLite adds them")
    stands = standing(writer, node, picture=op.over_picture)
    x, shape = stands.x, writer.shapes[name] if stands.picture else Plain(writer.full[name])
    if wide and not source.is_wide:
        x = writer.quantize(x, f"{node.name}/wide", widened(source), shape)
    over = writer.constant(f"{node.name}/axes", np.array(sorted(stands.place(axis) for axis in op.axes), np.int32))
    own: Shape = writer.shapes[node.name] if stands.picture else Plain(writer.full[node.name])

    def write(y: int, _: int) -> int:
        return writer.file.op("MEAN", [x, over], y, Options("ReducerOptions", {"KeepDims": op.keepdims}), 2)

    if wide and not target.is_wide:
        return writer.narrowed(node.name, target, own, write)
    return writer.bounded(node.name, target, own, write, fusible=False)
