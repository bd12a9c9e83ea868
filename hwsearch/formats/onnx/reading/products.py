"""Readers of matrix products, by constants and of tensors."""

from __future__ import annotations

import numpy as np

from hwsearch.formats.onnx.reading.constants import Constant, found, with_codes
from hwsearch.formats.onnx.reading.convolutions import layer_name
from hwsearch.formats.onnx.reading.quantized import saturated
from hwsearch.formats.onnx.reading.reductions import reduced
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Permute, Reshape, Slice
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Sum


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
    """The one matrix that a constant is.

    Raises:
        NotRead: it is several.
    """
    array = _one(weight)
    if array is None:
        raise NotRead(f"a constant factor {list(weight.real.shape)}, which is more than one matrix")
    return array


def _one(weight: Constant) -> np.ndarray | None:
    array = weight.real
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return array if array.ndim == 2 else None


def _as_map(walk: Walk, name: str, factor: Constant, beside: Map) -> Map:
    """Constant matrices as a value of no fewer axes than the other factor: a matrix for each head has no axis of pictures."""
    if factor.real.ndim < 2:
        raise NotRead("a product with a vector")
    missing = len(walk.shape(beside)) - factor.real.ndim
    return walk.constant(f"{name}.constant", tensor(factor.real[(None,) * missing]), beside)


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


@READS.register("MatMul", becomes=(Linear, MatMul, Slice, Reshape, Affine, Mul, Add))
def _matmul(walk: Walk, call: Call) -> Value:
    return matmul(walk, call.name, *call.inputs[:2])


def matmul(walk: Walk, name: str, left: Value | None, right: Value | None) -> Map:
    """The product of two values, one of which may be constant."""
    if isinstance(left, Map) and isinstance(right, Constant) and _one(right) is None:
        right = _as_map(walk, name, right, left)
    if isinstance(right, Map) and isinstance(left, Constant) and _one(left) is None:
        left = _as_map(walk, name, left, right)
    if isinstance(left, Map) and isinstance(right, Map):
        return product(walk, name, left, right)
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


@READS.register("Einsum", becomes=(MatMul, Linear, Mul, Sum, Reshape, Permute))
def _einsum(walk: Walk, call: Call) -> Value:
    """Of two operands, and so one after the other: a product of matrices, or element by element where nothing is summed over."""
    text = call.text("equation").replace(" ", "")
    read, _, written = text.partition("->")
    terms = read.split(",")
    if "->" not in text or "." in text or any(len(set(term)) != len(term) for term in (*terms, written)):
        raise NotRead(f"{text}: with axes that are left out or named twice")
    if len(terms) == 1:
        value, axes = _summed(walk, call.name, call.map(), terms[0], written)
        return walk.turned(value, [axes.index(axis) for axis in written])
    if len(terms) == 2 and any(isinstance(value, Constant) for value in call.inputs):
        return _einsum_by_constant(walk, call, terms, written)
    found, term = call.map(0), terms[0]
    for place, other in enumerate(terms[1:], 1):  # one after the other, what later ones or the result need is kept
        last = place == len(terms) - 1
        needed = written + "".join(terms[place + 1 :])
        kept = written if last else "".join(axis for axis in dict.fromkeys(term + other) if axis in needed)
        name = call.name if last else f"{call.name}.{place}"
        found, term = _einsum_of_two(walk, name, (found, term), (call.map(place), other), kept), kept
    return found


def _einsum_of_two(walk: Walk, name: str, first: tuple[Map, str], second: tuple[Map, str], written: str) -> Map:
    one, a = _summed(walk, f"{name}.left", *first, written + second[1])
    two, b = _summed(walk, f"{name}.right", *second, written + first[1])
    both = [axis for axis in written if axis in a and axis in b]
    inner = [axis for axis in a if axis in b and axis not in written]
    if not inner and written in ("".join(sorted(a, key=written.index)), "".join(sorted(b, key=written.index))):
        return _by_element(walk, name, [(one, a), (two, b)], written)
    rows, columns = ([axis for axis in written if axis in term and axis not in both] for term in (a, b))
    sides = dict(zip(a + b, walk.shape(one) + walk.shape(two), strict=True))

    def matrix(value: Map, term: str, order: list[list[str]], word: str) -> Map:
        turned = walk.turned(value, [term.index(axis) for group in order for axis in group])
        sizes = [sides[axis] for axis in both] + [int(np.prod([sides[axis] for axis in group])) for group in order[1:]]
        return walk.reshaped(f"{name}.{word}", turned, sizes)

    left = matrix(one, a, [both, rows, inner], "left")
    right = matrix(two, b, [both, inner, columns], "right")
    made = product(walk, name, left, right)
    found = walk.reshaped(f"{name}.shaped", made, [sides[axis] for axis in (*both, *rows, *columns)])
    order = [*both, *rows, *columns]
    return walk.turned(found, [order.index(axis) for axis in written])


def _by_element(walk: Walk, name: str, operands: list[tuple[Map, str]], written: str) -> Map:
    """The product element by element, the larger operand first."""
    found = []
    for value, term in sorted(operands, key=lambda operand: -len(operand[1])):
        turned = walk.turned(value, [term.index(axis) for axis in written if axis in term])
        sides = dict(zip(term, walk.shape(value), strict=True))
        found.append(walk.reshaped(f"{name}.operand", turned, [sides.get(axis, 1) for axis in written]))
    return walk.pointwise(name, Mul(), found)


def _summed(walk: Walk, name: str, value: Map, term: str, needed: str) -> tuple[Map, str]:
    """A value summed over the axes that nobody needs, and the names of those that are left."""
    gone = [place for place, axis in enumerate(term) if axis not in needed]
    if not gone:
        return value, term
    return reduced(walk, f"{name}.sum", Sum, value, gone, False), "".join(axis for axis in term if axis in needed)


def _einsum_by_constant(walk: Walk, call: Call, terms: list[str], written: str) -> Value:
    """A matrix that is a constant: its rows are what it gives, its columns what it reads."""
    place = 0 if isinstance(call.inputs[0], Map) else 1
    value, weight = call.map(place), call.constant(1 - place, "a factor")
    a, b = terms[place], terms[1 - place]
    inner = [axis for axis in a if axis in b and axis not in written]
    kept, new = [axis for axis in a if axis not in inner], [axis for axis in b if axis not in inner]
    if any(axis in a for axis in new) or any(axis not in written for axis in kept + new) or not inner:
        raise NotRead(f"{','.join(terms)}->{written}: a constant factor that is more than one matrix")
    sides = dict(zip(a, walk.shape(value), strict=True)) | dict(zip(b, weight.real.shape, strict=True))
    turned = walk.turned(value, [a.index(axis) for axis in kept + inner])
    vectors = walk.reshaped(f"{call.name}.vectors", turned, [*(sides[x] for x in kept), int(np.prod([sides[x] for x in inner]))])
    matrix = weight.real.transpose([b.index(axis) for axis in new + inner]).reshape(-1, walk.shape(vectors)[-1])
    made = linear(walk, vectors, weight, matrix)
    shaped = walk.reshaped(f"{call.name}.shaped", made, [sides[axis] for axis in kept + new])
    return walk.turned(shaped, [(kept + new).index(axis) for axis in written])
