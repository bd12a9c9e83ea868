"""Emitting vector instructions for numba's intrinsics: loads and stores of 32-bit and 16-bit integers and bytes, and linear
combinations of them.

Numba has no vector types and computes with 64-bit integers whatever the arrays hold, so what must be a vector of narrow integers
is written in LLVM's language here, at compile time. Arithmetic wraps around, as LLVM's ``add``, ``sub`` and ``mul`` do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.core.errors import NumbaTypeError

from hwsearch.quant.engine.kernels.cpu import LANES

I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
CODES, SUMS = ir.VectorType(I16, 2 * LANES), ir.VectorType(I32, LANES)
"""The two kinds of vectors: 16-bit operands of products, and sums."""

Matrix = tuple[tuple[int, ...], ...]


def intrinsic(typed: Callable[..., Any]) -> Any:
    """``numba.extending.intrinsic``, whose own annotations do not let compiled functions call what it makes."""
    return extending.intrinsic(typed)


class Memory:
    """A contiguous numba array of any shape seen as flat memory; places ``at`` are LLVM values and count elements.

    Raises:
        NumbaTypeError: when the caller is compiled with an array that has gaps or holds something other than ``element``.
    """

    def __init__(self, context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, element: Any) -> None:
        if not isinstance(array_type, types.Array) or array_type.layout != "C" or array_type.dtype != element:
            raise NumbaTypeError(f"expected a contiguous array of {element}, got {array_type}")
        self._builder = builder
        self._data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
        self._align = element.bitwidth // 8

    def pointer(self, at: ir.Value, kind: ir.Type) -> ir.Value:
        return self._builder.bitcast(self._builder.gep(self._data, [at]), kind.as_pointer())

    def load(self, at: ir.Value, kind: ir.Type) -> ir.Value:
        value = self._builder.load(self.pointer(at, kind))
        value.align = self._align
        return value

    def store(self, at: ir.Value, value: ir.Value) -> None:
        self._builder.store(value, self.pointer(at, value.type)).align = self._align


def constant(kind: ir.Type, number: float) -> ir.Constant:
    """A number, or a vector that repeats it."""
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def ahead(builder: ir.IRBuilder, at: ir.Value, step: ir.Value | int, times: ir.Value | int = 1) -> ir.Value:
    """``at + step * times``."""
    step, times = (constant(I64, value) if isinstance(value, int) else value for value in (step, times))
    return builder.add(at, builder.mul(step, times))


def broadcast(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    """A word of 32 bits, integer or floating point, in all places of a vector."""
    first = builder.insert_element(ir.Constant(ir.VectorType(word.type, LANES), ir.Undefined), word, constant(I32, 0))
    return builder.shuffle_vector(first, first, constant(SUMS, 0))


def combination(builder: ir.IRBuilder, coefficients: Sequence[int], vectors: Sequence[ir.Value]) -> ir.Value:
    """``sum(c * v)``, without the terms whose coefficient is zero; at least one is positive."""
    total = None
    for coefficient, vector in sorted(zip(coefficients, vectors, strict=True), key=lambda term: term[0] < 0):
        if coefficient == 0:
            continue
        term = vector if abs(coefficient) == 1 else builder.mul(vector, constant(vector.type, abs(coefficient)))
        if total is not None:
            term = builder.add(total, term) if coefficient > 0 else builder.sub(total, term)
        total = term
    return total


def product(builder: ir.IRBuilder, factors: Sequence[Matrix], vectors: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The product of the matrices times a column of vectors."""
    for matrix in reversed(factors):
        vectors = [combination(builder, row, vectors) for row in matrix]
    return vectors


def both_sides(
    builder: ir.IRBuilder, factors: Sequence[Matrix], load: Callable[[int, int], ir.Value]
) -> list[Sequence[ir.Value]]:
    """``M X M^T``, where M is the product of the factors, for a square X whose element (i, j) is the vector ``load(i, j)``."""
    size = range(len(factors[-1][0]))
    columns = [product(builder, factors, [load(i, j) for i in size]) for j in size]
    return [product(builder, factors, row) for row in zip(*columns, strict=True)]
