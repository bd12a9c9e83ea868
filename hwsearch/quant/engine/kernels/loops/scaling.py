"""Sums times real multipliers, rounded to codes: ``rint(fp(acc) * m[c])`` within bounds, the requantization of most runtimes.

In single precision it is written in vectors of ``LANES`` numbers. A vector is stored whole also where a pixel has fewer
channels: what is too much lies in the next pixel, which is written after it. Where pixels of sums lie without gaps, several
count as one (``pixels_together``), so that no lane is empty. With 16 lanes and 12 channels:

    sums with gaps      12 sums, 4 of no meaning | 12 sums, 4 of no meaning | ...    a pixel is a vector, stored 12 codes apart
    sums without gaps   12 sums | 12 sums | 12 sums | 12 sums | ...                  four pixels are three vectors
"""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.products.vector_code import I32, SUMS, Memory, broadcast, constant, intrinsic

FLOATS = ir.VectorType(ir.FloatType(), LANES)


def pixels_together(channels: int) -> int:
    """How many pixels fill whole vectors."""
    return LANES // gcd(LANES, channels)


@intrinsic
def _vector(
    typingctx: Any, acc: Any, acc_at: Any, m: Any, slope: Any, at: Any, low: Any, high: Any, origin: Any, out: Any, out_at: Any
) -> Any:
    """``LANES`` sums, int32 or float32, from ``acc_at`` to as many codes; ``m`` and ``slope`` from ``at`` on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        _, acc_at, _, _, at, low, high, origin, _, out_at = args
        sums, codes = (Memory(context, builder, signature.args[i], args[i], signature.args[i].dtype) for i in (0, 8))
        multipliers = Memory(context, builder, signature.args[2], args[2], types.float32)
        v = sums.load(acc_at, SUMS if signature.args[0].dtype == types.int32 else FLOATS)
        v = builder.fmul(builder.sitofp(v, FLOATS) if v.type == SUMS else v, multipliers.load(at, FLOATS))
        if not isinstance(signature.args[3], types.NoneType):
            slopes = Memory(context, builder, signature.args[3], args[3], types.float32)
            negative = builder.fcmp_ordered("<", v, constant(FLOATS, 0.0))
            v = builder.select(negative, builder.fmul(v, slopes.load(at, FLOATS)), v)
        for sign, bound in ((">", broadcast(builder, low)), ("<", broadcast(builder, high))):  # whole numbers: rounded after it
            v = builder.select(builder.fcmp_ordered(sign, v, bound), v, bound)
        rint = builder.module.declare_intrinsic(f"llvm.rint.v{LANES}f32", fnty=ir.FunctionType(FLOATS, [FLOATS]))
        whole = builder.fptosi(builder.call(rint, [v]), SUMS)
        whole = builder.add(whole, broadcast(builder, builder.trunc(origin, I32)))
        codes.store(out_at, builder.trunc(whole, ir.VectorType(ir.IntType(signature.args[8].dtype.bitwidth), LANES)))
        return context.get_dummy_value()

    return types.void(acc, acc_at, m, slope, at, types.float32, types.float32, types.int64, out, out_at), generate


@compiled
def _column(
    acc: np.ndarray, acc_at: int, acc_step: int, m: np.ndarray, slope: np.ndarray | None, at: int,
    low: float, high: float, origin: int, out: np.ndarray, out_at: int, out_step: int, count: int,
) -> None:  # fmt: skip
    """One vector of each of ``count`` pixels."""
    for i in range(count):
        _vector(acc, acc_at + i * acc_step, m, slope, at, low, high, origin, out, out_at + i * out_step)


@compiled
def scale_vectors(
    acc: np.ndarray, m: np.ndarray, slope: np.ndarray | None, together: int, low: float, high: float, origin: int,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Sums ``[>= rows, >= W, >= C]``, int32 or float32, to codes ``out [rows, W, C]``, uint8 or int16.

    Args:
        m: float32, of ``together`` pixels, filled up to whole vectors; so is ``slope`` (of what is below zero), if there is one.
        together: pixels that are taken as one; more than one only if the sums have C channels.
        low, high: bounds of the codes before ``origin`` is added.
    """
    rows, columns, channels = out.shape
    sums, codes = acc.reshape(-1), out.reshape(-1)
    acc_step, out_step, pixels = acc.shape[2] * together, channels * together, -(-columns // together)
    rest, last = np.empty(LANES, acc.dtype), np.empty(LANES, out.dtype)
    for r in range(rows):
        for v in range(m.size // LANES - 1, -1, -1):  # the first vector last: it overwrites what the last had too much
            at = v * LANES
            a, o = r * acc.shape[1] * acc.shape[2] + at, r * columns * channels + at
            inside = min((sums.size - LANES - a) // acc_step + 1, (codes.size - LANES - o) // out_step + 1)
            inside = max(min(inside, pixels), 0)
            _column(sums, a, acc_step, m, slope, at, low, high, origin, codes, o, out_step, inside)
            for p in range(inside, pixels):  # whose vectors reach beyond the arrays
                a_here, o_here = a + p * acc_step, o + p * out_step
                count = min(out_step - at, sums.size - a_here, codes.size - o_here, LANES)
                for i in range(count):
                    rest[i] = sums[a_here + i]
                _vector(rest, 0, m, slope, at, low, high, origin, last, 0)
                for i in range(count):
                    codes[o_here + i] = last[i]


@compiled
def scale(acc: np.ndarray, m: np.ndarray, slope: np.ndarray, low: float, high: float, origin: float, out: np.ndarray) -> None:
    """The same in the precision of ``m`` (of one pixel), which all numbers share, one sum after the other."""
    rows, columns, channels = out.shape
    for r in range(rows):
        for p in range(columns):
            for c in range(channels):
                v = m.dtype.type(acc[r, p, c]) * m[c]
                v = v * slope[c] if v < 0 else v
                out[r, p, c] = np.int32(min(max(np.rint(v), low), high) + origin)
