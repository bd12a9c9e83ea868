"""Which operators a requantization rule has arithmetic of its own for, in words; ``requant`` and ``fixed_point`` compute it.

Every other operator decodes what it reads, computes in single precision and rounds once to the codes that it writes: the same
under every rule.
"""

from __future__ import annotations

from collections.abc import Mapping

from hwsearch.quant.engine.requant import RULES
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Unknown
from searchspaces.ops.maps.activation import Activation, Relu, Relu6
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Concat, View
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.ops.reductions.reduce import MaxPool
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.ops.state import Remember, State
from searchspaces.ops.table import OpTable

ONCE = "it is rounded once, from single precision, under every rule"


def _table(rule: str, layers: str, additions: str) -> OpTable[str]:
    table: OpTable[str] = OpTable(f"rule {rule!r}")
    table.lacks(ONCE, Op)
    table.lacks("nobody knows what it computes", Unknown)
    table.put(layers, Conv, Linear)
    table.put(additions, Add)
    table.put("codes are moved, nothing is rounded", View, Concat, MaxPool, Remember)
    table.put("zero at the start of a clip, then the codes of the frame before", State)
    table.put("a table of codes for what is no clamp", Activation)
    table.put("exact sums of products, rounded like those of layers", MatMul)
    table.put("ONNX Runtime's QLinearSoftmax at 8 bits" if rule == "f32" else "TFLite's fixed-point softmax", Softmax)
    halves = "away from zero" if "TFLite" in additions and rule != "xnnpack" else "to even"
    table.put(f"codes in and out, single precision inside, in a fixed order, halves {halves}", LayerNorm)
    if rule != "f32":
        table.put("bilinear as TFLite's kernels weigh codes, else rounded once", Resize)
        table.put("a table of codes between 8-bit tensors", Relu, Relu6)
    return table


RULE_TABLES: Mapping[str, OpTable[str]] = {
    "f32": _table("f32", "a float32 multiplier, ties to even; float64 beside 16 bits", "QLinearAdd, fused multiply-adds"),
    "xnnpack": _table("xnnpack", "a float32 multiplier; integers beside 16 bits", "fixed-point sums of XNNPACK"),
    "gemmlowp": _table("gemmlowp", "a 32-bit multiplier and a shift, rounded twice", "fixed-point sums of TFLite"),
    "reference": _table("reference", "a 32-bit multiplier and a shift, rounded twice", "fixed-point sums of TFLite"),
}
"""Rule -> what it computes for each operator."""
assert RULE_TABLES.keys() == RULES.keys()
