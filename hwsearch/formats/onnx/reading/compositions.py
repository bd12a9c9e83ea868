"""Readers of operators that are several of ours: thresholds, normalization by neighbouring channels, products and running totals
along an axis, remainders."""

from __future__ import annotations

import numpy as np

from hwsearch.formats.onnx.reading.pictures import padded
from hwsearch.formats.onnx.reading.pointwise import multiplied
from hwsearch.formats.onnx.reading.products import linear
from hwsearch.formats.onnx.reading.reductions import axes_of
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.activation import Abs, Pow
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Div, Mul, Sub
from searchspaces.ops.maps.jumps import Comparison, Round, Sign
from searchspaces.ops.moves.move import Permute, Reshape, Slice
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import AvgPool

MOST_FACTORS = 128
"""A product of more values along an axis is not taken apart."""
LONGEST = 1024
"""Places that a running total is summed over by a matrix, which has the square of that in numbers."""


@READS.register("ThresholdedRelu", becomes=(Comparison, Mul))
def _thresholded(walk: Walk, call: Call) -> Value:
    value = call.map()
    above = walk.unary(f"{call.name}.above", Comparison(">", float(call.attrs.get("alpha", 1.0))), value)
    return walk.pointwise(call.name, Mul(), [value, above])


@READS.register("Shrink", becomes=(Comparison, Mul, Affine, Add))
def _shrunk(walk: Walk, call: Call) -> Value:
    """Nothing near zero, and what lies beyond moved towards zero."""
    value, bias, limit = call.map(), float(call.attrs.get("bias", 0.0)), float(call.attrs.get("lambd", 0.5))
    if limit < 0:
        raise NotRead("a threshold below zero, beyond which values lie on both sides")
    parts = []
    for side, beyond, moved in (("above", Comparison(">", limit), -bias), ("below", Comparison("<", -limit), bias)):
        there = walk.unary(f"{call.name}.{side}", beyond, value)
        near = walk.scaled(f"{call.name}.{side}.moved", value, 1.0, moved)
        parts.append(walk.pointwise(f"{call.name}.{side}.part", Mul(), [near, there]))
    return walk.pointwise(call.name, Add(), parts)


@READS.register("LRN", becomes=(Pow, Reshape, Pad, AvgPool, Affine, Div))
def _by_neighbours(walk: Walk, call: Call) -> Value:
    """``x / (bias + alpha mean of x^2 over neighbouring channels)^beta``; channels beyond the first and last count as zeros."""
    value, size = call.map(), int(call.attrs["size"])
    shape = walk.shape(value)
    squares = walk.unary(f"{call.name}.squares", Pow(2.0), value)
    lines = walk.reshaped(f"{call.name}.lines", squares, (shape[0], 1, shape[1], int(np.prod(shape[2:]))))
    around = padded(walk, f"{call.name}.around", lines, {2: ((size - 1) // 2, size - 1 - (size - 1) // 2)})
    mean = walk.put(f"{call.name}.mean", AvgPool((size, 1), (1, 1), (0, 0), True), [around])
    energy = walk.scaled(
        f"{call.name}.energy",
        walk.reshaped(f"{call.name}.planes", mean, shape),
        float(call.attrs.get("alpha", 1e-4)),
        float(call.attrs.get("bias", 1.0)),
    )
    power = walk.unary(f"{call.name}.power", Pow(float(call.attrs.get("beta", 0.75))), energy)
    return walk.pointwise(call.name, Div(), [value, power])


@READS.register("ReduceProd", becomes=(Slice, Mul, Reshape))
def _product(walk: Walk, call: Call) -> Value:
    """Halves times each other until one place is left, axis by axis."""
    value = call.map()
    rank = len(value.axes)
    axes = sorted({axis % rank for axis in axes_of(call, rank) or ()})
    kept = [side for axis, side in enumerate(walk.shape(value)) if axis not in axes]
    for axis in axes:
        value = _folded(walk, f"{call.name}.{axis}", value, axis)
    return value if call.attrs.get("keepdims", 1) else walk.reshaped(call.name, value, kept)


def _folded(walk: Walk, name: str, value: Map, axis: int) -> Map:
    if walk.shape(value)[axis] > MOST_FACTORS:
        raise NotRead(f"of more than {MOST_FACTORS} values")
    odd: list[Map] = []
    while (count := walk.shape(value)[axis]) > 1:
        half = count // 2
        if count % 2:
            odd.append(walk.part(f"{name}.last", value, axis, count - 1, count))
        value = walk.pointwise(name, Mul(), [walk.part(f"{name}.half", value, axis, at, at + half) for at in (0, half)])
    for one in odd:
        value = walk.pointwise(name, Mul(), [value, one])
    return value


@READS.register("CumSum", becomes=(Linear, Permute))
def _running_total(walk: Walk, call: Call) -> Value:
    """A product with a matrix of ones on one side of its diagonal."""
    value, place = call.map(), int(call.numbers(1, "its axis").reshape(-1)[0])
    rank = len(value.axes)
    axis = place % rank
    side = walk.shape(value)[axis]
    if side > LONGEST:
        raise NotRead(f"of more than {LONGEST} values")
    matrix = np.tril(np.ones((side, side), np.float32), -1 if call.attrs.get("exclusive", 0) else 0)
    ones = walk.number(matrix, f"{call.name}.ones")
    order = [*(other for other in range(rank) if other != axis), axis]
    turned = linear(walk, walk.turned(value, order), ones, matrix.T if call.attrs.get("reverse", 0) else matrix)
    return walk.turned(turned, [order.index(other) for other in range(rank)])


@READS.register("Mod", becomes=(Affine, Div, Abs, Round, Sign, Mul, Sub))
def _remainder(walk: Walk, call: Call) -> Value:
    """What a division leaves, with the sign of the dividend (``fmod``), which is the only one of real values."""
    value, by = call.map(), call.inputs[1]
    if not call.attrs.get("fmod", 0):
        raise NotRead("of whole numbers")
    if isinstance(by, Map):
        ratio = walk.pointwise(f"{call.name}.ratio", Div(), [value, by])
    else:
        ratio = walk.scaled(f"{call.name}.ratio", value, 1.0 / call.numbers(1).astype(np.float64), 0.0)
    size = walk.unary(f"{call.name}.whole", Round("floor"), walk.unary(f"{call.name}.size", Abs(), ratio))
    sign = walk.unary(f"{call.name}.sign", Sign(), ratio)
    times = walk.pointwise(f"{call.name}.times", Mul(), [size, sign])
    return walk.pointwise(call.name, Sub(), [value, multiplied(walk, f"{call.name}.taken", times, by or call.map(1))])
