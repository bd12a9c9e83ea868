"""Readers of what changes the notation of tensors: quantizers, casts, and operators that read and write codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from hwsearch.formats.onnx.reading.constants import CODES, Constant
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.onnx.reading.widths import grid_of
from hwsearch.formats.reading.builder import Map
from searchspaces.ops.maps.activation import Relu
from searchspaces.ops.maps.jumps import Comparison
from searchspaces.ops.reading import NotRead

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def lowest_code(zero: Constant | None) -> tuple[float, float]:
    """Zero point of a quantizer, and the lowest code of its type."""
    if zero is None:
        return 0.0, 0.0
    return float(zero.real.reshape(-1)[0]), float(CODES.get(zero.stored, (-np.inf, 0))[0])


def saturated(walk: Walk, call: Call, value: Map) -> Map:
    """What a quantizing operator writes, after its saturation."""
    scale, found = grid_of(call)
    zero, lowest = lowest_code(found)
    walk.zeros[call.name] = (zero, lowest)
    if scale is not None:
        walk.scales[call.name] = float(scale.real.reshape(-1)[0])
    return walk.saturated(value, f"{call.name}.relu", zero, lowest)


@READS.register("QuantizeLinear", becomes=(Relu,))
def _quantize(walk: Walk, call: Call) -> Value:
    scale = call.constant(1, "its scale")
    if scale.real.size != 1:
        raise NotRead("a tensor with one scale a channel")
    return saturated(walk, call, call.map())


@READS.register("DequantizeLinear")
def _dequantize(walk: Walk, call: Call) -> Value:
    """Codes that are read by another scale than they were written by are other values."""
    written, scale = walk.scales.get(call.reads[0]), call.numbers(1, "its scale").reshape(-1)
    if written is None or walk.notation or scale.size != 1 or abs(scale[0] / written - 1) < 1e-6:
        return call.map()
    return walk.scaled(call.name, call.map(), float(scale[0]) / written, 0.0)


@READS.register("Quant", "Identity")
def _notation(walk: Walk, call: Call) -> Value:
    return call.map()


@READS.register("Dropout", "DynamicQuantizeLinear")
def _several(walk: Walk, call: Call) -> Any:
    """One value and what nobody reads; or codes with the scale and zero point that were taken from them."""
    return [call.map()] * len(call.outputs)


@READS.register("Cast", becomes=(Comparison,))
def _cast(walk: Walk, call: Call) -> Value:
    """Ones and zeros are those in any notation."""
    to, value = call.attrs["to"], call.map()
    if to in FLOATS or walk.notation or call.reads[0] in walk.codes or isinstance(walk.nodes[value.name].op, Comparison):
        return value
    if to == TensorProto.BOOL:
        return walk.unary(call.name, Comparison("!="), value)
    raise NotRead("to whole numbers")


@READS.register("CastLike")
def _cast_like(walk: Walk, call: Call) -> Value:
    return call.map()
