"""Element by element: arithmetic of two tensors, functions of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from searchspaces.ir.graph import Node
from searchspaces.ops.maps import activation as act
from searchspaces.ops.maps import elementwise as ew
from searchspaces.ops.maps import jumps

if TYPE_CHECKING:
    from hwsearch.formats.onnx.writer import Writer

from hwsearch.formats.onnx.operators.table import WRITES, Write


def operands(writer: Writer, node: Node, xs: list[str]) -> list[str]:
    """Both operands of an element-wise operation, one of which may be a constant."""
    if "other" not in node.weights:
        return xs
    constant = writer.const(node.weights["other"].numpy())
    return [constant, *xs] if getattr(node.op, "constant_first", False) else [*xs, constant]


def _pointwise(kind: str) -> Write:
    return lambda writer, node, xs, name: writer.op(kind, operands(writer, node, xs), name)


for _cls, _kind in {
    ew.Add: "Add", ew.Sub: "Sub", ew.Mul: "Mul", ew.Div: "Div", ew.Minimum: "Min", ew.Maximum: "Max",
}.items():  # fmt: skip
    WRITES.put(_pointwise(_kind), _cls)


@WRITES.register(ew.SquaredDifference)
def _squared(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    difference = writer.op("Sub", operands(writer, node, xs))
    return writer.op("Mul", [difference, difference], name)


@WRITES.register(ew.Where)
def _where(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    mask = writer.const(node.weights["mask"].numpy() != 0, np.bool_)
    return writer.op("Where", [mask, *operands(writer, node, xs)], name)


# Functions of one value


def _function(kind: str, **attrs: Any) -> Write:
    return lambda writer, node, xs, name: writer.op(kind, [xs[0]], name, **attrs)


for _activation, _kind in {
    act.Relu: "Relu", act.Sigmoid: "Sigmoid", act.Tanh: "Tanh", act.HardSwish: "HardSwish", act.Softplus: "Softplus",
    act.Erf: "Erf", act.Exp: "Exp", act.Log: "Log", act.Sqrt: "Sqrt", act.Reciprocal: "Reciprocal", act.Abs: "Abs",
    act.Neg: "Neg", act.Sin: "Sin", act.Cos: "Cos", act.Atan: "Atan", jumps.Sign: "Sign",
}.items():  # fmt: skip
    WRITES.put(_function(_kind), _activation)
WRITES.put(_function("HardSigmoid", alpha=1 / 6, beta=0.5), act.HardSigmoid)


@WRITES.register(act.Relu6, act.Clip)
def _clip(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    low, high = act.bounds(node.op if isinstance(node.op, act.Activation) else None)
    return writer.op("Clip", [xs[0], writer.const(low), writer.const(high)], name)


@WRITES.register(act.LeakyRelu)
def _leaky(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.LeakyRelu)
    return writer.op("LeakyRelu", [xs[0]], name, alpha=float(node.op.slope))


@WRITES.register(act.PRelu)
def _prelu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    slope = node.weights["slope"].detach().numpy().astype(np.float32)
    return writer.op("PRelu", [xs[0], writer.const(slope.reshape(-1, 1, 1))], name)


@WRITES.register(act.Gelu)
def _gelu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.Gelu)
    return writer.op("Gelu", [xs[0]], name, approximate=node.op.approximate)


@WRITES.register(act.Silu)
def _silu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return writer.op("Mul", [xs[0], writer.op("Sigmoid", [xs[0]])], name)


@WRITES.register(act.Mish)
def _mish(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return writer.op("Mul", [xs[0], writer.op("Tanh", [writer.op("Softplus", [xs[0]])])], name)


@WRITES.register(act.Elu)
def _elu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.Elu)
    return writer.op("Elu", [xs[0]], name, alpha=float(node.op.alpha))


@WRITES.register(act.Rsqrt)
def _rsqrt(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return writer.op("Reciprocal", [writer.op("Sqrt", [xs[0]])], name)


@WRITES.register(act.Pow)
def _pow(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.Pow)
    return writer.op("Pow", [xs[0], writer.const(node.op.exponent)], name)


ROUND = {"floor": "Floor", "ceil": "Ceil", "even": "Round"}
RELATIONS = {">": "Greater", ">=": "GreaterOrEqual", "<": "Less", "<=": "LessOrEqual", "==": "Equal"}


@WRITES.register(jumps.Round)
def _round(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, jumps.Round)
    return writer.op(ROUND[node.op.to], [xs[0]], name)


@WRITES.register(jumps.Comparison)
def _comparison(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """A condition, and ones and zeros of it."""
    assert isinstance(node.op, jumps.Comparison)
    relation = "==" if node.op.relation == "!=" else node.op.relation
    holds = writer.op(RELATIONS[relation], [xs[0], writer.const(node.op.limit)])
    holds = writer.op("Not", [holds]) if node.op.relation == "!=" else holds
    return writer.op("Cast", [holds], name, to=TensorProto.FLOAT)


# Moves
