"""Which values of an ONNX file are codes, and at which width the file stores a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from hwsearch.formats.onnx.reading.constants import INTEGER_BITS, Constant, code_bits
from hwsearch.formats.onnx.reading.table import Call
from hwsearch.formats.reading.builder import Map

if TYPE_CHECKING:
    from hwsearch.formats.onnx.reading.walk import Walk

CODES = (TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16)
"""Types of tensors that hold codes."""
KEEPS = (
    *("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Split", "Slice", "Gather", "Pad"),
    *("DepthToSpace", "SpaceToDepth", "Expand", "Tile", "MaxPool", "Resize", "Upsample"),
)
"""Operators that give codes where they read codes, on the same grid."""
_ZERO_AT = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearAdd": 7, "QLinearMul": 7, "QLinearConcat": 1, "QLinearMatMul": 7}
"""Which input is the zero point of the output; 4 for the others."""


def grid_of(call: Call) -> tuple[Constant | None, Constant | None]:
    """Scale and zero point of what a quantizing operator writes; the type of the zero point is that of the codes."""
    place = _ZERO_AT.get(call.kind, 4)
    found = [call.inputs[at] if len(call.inputs) > at else None for at in (place - 1, place)]
    scale, zero = (value if isinstance(value, Constant) else None for value in found)
    return scale, zero


def follow_codes(walk: Walk, call: Call) -> None:
    """Whether a node's outputs are codes, and the width at which it stores its tensor."""
    kind, read, written = call.kind, call.reads[0], call.outputs[0]
    value = walk.values.get(written)
    if not isinstance(value, Map):
        return
    name = value.name
    if (kind in ("Round", "Floor") and walk.notation) or (kind in ("Add", "Sub", "Clip") and read in walk.codes):
        walk.codes.add(written)
    if kind in KEEPS and read in walk.codes:
        walk.codes.update(call.outputs)
        grids: tuple[dict[str, Any], ...] = (walk.bounds, walk.zeros, walk.scales)
        for known in grids:
            if read in known:
                known.update(dict.fromkeys(call.outputs, known[read]))
    if kind == "QuantizeLinear" or kind.startswith("QLinear"):
        walk.codes.add(written)
        walk.widths[name] = quantizer_bits(call)
    elif kind == "Quant":
        walk.widths[name] = int(call.numbers(3))
    elif kind == "Cast" and call.attrs["to"] in CODES:
        # Codes that are parts of wider ones (its bytes) carry no bounds and say nothing.
        if read in walk.bounds:
            walk.widths[name] = code_bits(walk.bounds[read], INTEGER_BITS[call.attrs["to"]])
    elif kind == "Cast" and call.attrs["to"] == TensorProto.FLOAT16:
        walk.widths[name] = 16
    elif kind == "Clip" and written in walk.bounds:
        before = walk.widths.get(name, walk.widths.get(walk.unary_of.get(name, "")))
        if before is not None:
            walk.widths[name] = code_bits(walk.bounds[written], before)


def quantizer_bits(call: Call) -> int:
    """Bits of the codes that a quantizing operator writes."""
    zero = grid_of(call)[1]
    return INTEGER_BITS.get(zero.stored if zero else int(call.attrs.get("output_dtype", 0)) or TensorProto.UINT8, 8)
