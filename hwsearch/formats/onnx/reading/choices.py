"""Readers of comparisons, of what is made of them, and of choices by them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map
from hwsearch.formats.reading.choices import Operand, chosen, compared, opposite
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Maximum, Mul, Sub, Where
from searchspaces.ops.maps.jumps import Comparison, Relation
from searchspaces.ops.reading import NotRead

RELATIONS: Mapping[str, Relation] = {
    "Greater": ">", "GreaterOrEqual": ">=", "Less": "<", "LessOrEqual": "<=", "Equal": "==",
}  # fmt: skip


def _operand(call: Call, place: int) -> Operand:
    value = call.inputs[place]
    if value is None:
        raise NotRead("an operand is left out")
    return value.real if isinstance(value, Constant) else value


@READS.register(*RELATIONS, becomes=(Comparison, Sub, Affine, Add))
def _compare(walk: Walk, call: Call) -> Value:
    return compared(walk, call.name, RELATIONS[call.kind], _operand(call, 0), _operand(call, 1))


@READS.register("IsNaN", "IsInf")
def _not_finite(walk: Walk, call: Call) -> Value:
    """The numbers of a network are finite."""
    return walk.number(np.zeros(walk.shape(call.map()), bool), call.name)


@READS.register("Not", becomes=(Comparison, Affine, Mul))
def _not(walk: Walk, call: Call) -> Value:
    return opposite(walk, call.name, call.map())


@READS.register("And", "Or", becomes=(Mul, Maximum))
def _both(walk: Walk, call: Call) -> Value:
    op = Mul() if call.kind == "And" else Maximum()
    left, right = (_operand(call, place) for place in (0, 1))
    if isinstance(left, Map) and isinstance(right, Map):
        return walk.pointwise(call.name, op, [left, right])
    value, constant = (left, right) if isinstance(left, Map) else (right, left)
    assert isinstance(value, Map)
    assert isinstance(constant, np.ndarray)
    every = constant.astype(bool)
    if every.all() == every.any():  # the same everywhere
        keeps = bool(every.all()) == (call.kind == "And")
        return value if keeps else walk.number(np.full(walk.shape(value), call.kind == "Or"), call.name)
    if call.kind == "And":
        return walk.scaled(call.name, value, every.astype(np.float32), 0.0)
    return opposite(walk, call.name, walk.scaled(f"{call.name}.left", opposite(walk, f"{call.name}.not", value), ~every, 0.0))


@READS.register("Where", becomes=(Where, Comparison, Mul, Add, Affine))
def _where(walk: Walk, call: Call) -> Value:
    return chosen(walk, call.name, _operand(call, 0), _operand(call, 1), _operand(call, 2))
