"""Additions of codes, and functions of one value, which are tables of all codes."""

from __future__ import annotations

from onnx import TensorProto, helper

from hwsearch.formats.onnx.codes.code_writer import CodeWriter, container
from hwsearch.formats.onnx.codes.table import CODES
from hwsearch.quant.engine import requant
from hwsearch.quant.engine.steps import adds_in_integers, looked_up, unary_table
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import Activation
from searchspaces.ops.maps.elementwise import Add


@CODES.register(Add)
def add(writer: CodeWriter, node: Node) -> str:
    formats = [writer.qgraph.formats[name] for name in (*node.inputs, node.name)]
    if not adds_in_integers(node, formats):
        return writer.in_floating_point(node)
    terms = [
        writer.op("DequantizeLinear", [writer.codes[n], *writer.grid(f)]) for n, f in zip(node.inputs, formats[:2], strict=True)
    ]
    y = writer.op("QuantizeLinear", [writer.op("Add", terms), *writer.grid(formats[2])])
    return writer.clip_codes(y, *requant.bounds(node, formats[2]))


@CODES.register(Activation)
def unary(writer: CodeWriter, node: Node) -> str:
    source, target = writer.qgraph.formats[node.inputs[0]], writer.qgraph.formats[node.name]
    if looked_up(node.op) and not source.is_float:
        table = unary_table(node, source, target).numpy()
        kind = helper.tensor_dtype_to_np_dtype(container(target))
        entries = writer.const(table if target.is_float else table + target.zero_point, kind)
        return writer.op("Gather", [entries, writer.cast(writer.codes[node.inputs[0]], TensorProto.INT32)], axis=0)
    return writer.in_floating_point(node)
