"""Readers of matrix products, by constants and of tensors."""

from __future__ import annotations

import numpy as np

from hwsearch.formats.onnx.reading.constants import Constant, found, with_codes
from hwsearch.formats.onnx.reading.convolutions import layer_name
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.reading import NotRead


def linear(walk: Walk, value: Map, weight: Constant, matrix: np.ndarray, bias: np.ndarray | None = None) -> Map:
    """``value`` times the transpose of ``matrix [O, I]``, which was made of ``weight``."""
    if matrix.shape[1] != walk.shape(value)[-1]:
        raise walk.contradiction(
            f"{weight.name}: a matrix for vectors of {matrix.shape[1]} reads vectors of {walk.shape(value)[-1]}"
        )
    weights = {"weight": tensor(matrix)}
    if bias is not None:
        weights["bias"] = tensor(np.broadcast_to(bias.reshape(-1), (matrix.shape[0],)))
    made = walk.put(layer_name(weight), Linear(), [value], weights, weight.name)
    walk.layers[made.name] = found(weight, False)
    return made


def _matrix(weight: Constant) -> np.ndarray:
    """The one matrix that a constant is."""
    array = weight.real
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2:
        raise NotRead(f"a constant factor {list(weight.real.shape)}, which is more than one matrix")
    return array


def _swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def product(walk: Walk, name: str, left: Map, right: Map) -> Map:
    """The product of two tensors; where one has its last two axes exchanged, the product reads it as it lies."""
    if min(len(left.axes), len(right.axes)) < 2:
        raise NotRead("a product with a vector")
    sides, turns = [], []
    for value in (left, right):
        turn = value.axes == _swapped(len(value.axes))
        sides.append(walk.whole(value.name) if turn else value)
        turns.append(turn)
    return walk.put(name, MatMul(turns[0], turns[1]), sides)


@READS.register("MatMul", becomes=(Linear, MatMul))
def _matmul(walk: Walk, call: Call) -> Value:
    left, right = call.inputs[:2]
    if isinstance(left, Map) and isinstance(right, Map):
        return product(walk, call.name, left, right)
    if isinstance(left, Map) and isinstance(right, Constant):
        return linear(walk, left, right, _matrix(right).T)
    if isinstance(left, Constant) and isinstance(right, Map):  # (right^T left^T)^T
        turned = walk.turned(right, _swapped(len(right.axes)))
        return walk.turned(linear(walk, turned, left, _matrix(left)), _swapped(len(right.axes)))
    raise NotRead("a factor is left out")


@READS.register("Gemm", becomes=(Linear, MatMul, Add))
def _gemm(walk: Walk, call: Call) -> Value:
    left, right = call.map(0), call.inputs[1]
    alpha, beta = float(call.attrs.get("alpha", 1)), float(call.attrs.get("beta", 1))
    left = walk.turned(left, (1, 0)) if call.attrs.get("transA") else left
    third = call.inputs[2] if len(call.inputs) > 2 else None
    if isinstance(right, Constant) and not isinstance(third, Map):
        matrix = alpha * (right.real if call.attrs.get("transB") else right.real.T)
        return linear(walk, left, right, matrix, None if third is None else beta * third.real)
    if not isinstance(right, Map) or alpha != 1 or beta != 1:
        raise NotRead("of scaled tensors")
    made = product(walk, call.name, left, walk.turned(right, (1, 0)) if call.attrs.get("transB") else right)
    if isinstance(third, Map):
        return walk.put(f"{call.name}.sum", Add(), [made, third])
    return made if third is None else walk.scaled(f"{call.name}.sum", made, 1.0, third.real)


@READS.register("MatMulInteger", becomes=(Linear,))
def _matmul_integer(walk: Walk, call: Call) -> Value:
    zero = call.constant(3) if call.has(3) else None
    weight = with_codes(call.constant(1, "a factor"), None, zero, -1)
    source = call.map()
    return walk.once((source, weight.name), lambda: linear(walk, source, weight, _matrix(weight).T))


@READS.register("QLinearMatMul", becomes=(Linear, MatMul))
def _qlinear_matmul(walk: Walk, call: Call) -> Value:
    right = call.inputs[3]
    if isinstance(right, Map):
        return saturated(walk, call, product(walk, call.name, call.map(), right))
    weight = with_codes(call.constant(3), call.constant(4), call.constant(5) if call.has(5) else None, -1)
    return saturated(walk, call, linear(walk, call.map(), weight, _matrix(weight).T))
