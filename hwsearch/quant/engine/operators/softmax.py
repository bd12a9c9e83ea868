"""Softmax over the last axis, as TFLite and ONNX Runtime compute it.

* 8 bits, LiteRT's reference kernels, its optimized ones (on x86) and TFLite Micro: the distance to the greatest code in 5 integer
  bits, its exponential in fixed point (``q31``), the sum in 12 integer bits, one reciprocal a row by Newton's method.
* 16 bits, both: two tables of 513 entries with interpolation, ``e^x`` over -10 .. 0 and ``1 / (1 + x)`` over 0 .. 1; LiteRT fills
  them in double precision, TFLite Micro in single, which changes some entries by one.
* ONNX Runtime's QLinearSoftmax, 8 bits: ``qlinear.softmax``.

The output's grid is prescribed: steps of 1/256 from -128 at 8 bits, of 1/32768 from 0 at 16.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from hwsearch.quant.engine.fixed_point import quantize_multiplier
from hwsearch.quant.engine.kernels.loops.integer_loops import softmax_8, softmax_16
from hwsearch.quant.engine.operators import functions
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.limits import RuntimeLimit
from hwsearch.quant.engine.operators.lookup import interpolate, samples
from hwsearch.quant.engine.operators.q31 import divide, exp_of_negative, multiply_quantized

OUTPUTS = {"int8": Grid("int8", 1 / 256, -128), "int16": Grid("int16", 1 / 32768)}
"""Kind of container -> the only grid that a softmax of it may write."""
LONGEST = (1 << 12) - 1
"""Entries of a row: its sum has 12 integer bits at 8-bit precision, and 16 at 16-bit precision."""
LONGEST_16 = (1 << 16) - 1
_DISTANCE_BITS, _SUM_BITS = 5, 12


def softmax(x: np.ndarray, grid: Grid, beta: float = 1.0, library: Library = "litert") -> np.ndarray:
    """Codes ``[..., K]`` to codes of ``OUTPUTS``, same shape and container: ``softmax(beta s_x (q - z))``.

    Raises:
        RuntimeLimit: rows so long that the sum of the runtime could overflow.
    """
    length = x.shape[-1]
    if length > (LONGEST_16 if grid.wide else LONGEST):
        raise RuntimeLimit(f"a softmax over {length} entries: the runtime's sum could overflow")
    rows = np.ascontiguousarray(x.reshape(-1, length), np.int32)
    out = np.empty(rows.shape, np.int64)
    if grid.wide:
        exponential, inverse = _tables_16(library)
        real = float(grid.step) * beta / (10.0 / 65535.0)
        if library == "litert":
            real = float(np.float32(grid.step * np.float32(beta))) / (10.0 / 65535.0)
        softmax_16(rows, exponential, inverse, *quantize_multiplier(real), out)
    else:
        exponential, narrow = exponentials_8(float(grid.step), beta)
        softmax_8(rows, exponential, narrow, 8, out)
        out -= 128
    return OUTPUTS[grid.kind].clamp(out.reshape(x.shape))


@lru_cache(maxsize=64)
def exponentials_8(scale: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """``exp`` of 0 .. 255 steps below the greatest code, int64, with 31 and with 19 fractional bits; 0 beyond 31 units."""
    m, shift = quantize_multiplier(min(beta * scale * (1 << (31 - _DISTANCE_BITS)), (1 << 31) - 1.0))
    reach = math.floor(((1 << _DISTANCE_BITS) - 1) * (1 << (31 - _DISTANCE_BITS)) / 2**shift)
    steps = np.arange(256)
    near = steps <= reach
    distance = multiply_quantized(-np.where(near, steps, 0), m, shift)
    exponential = np.where(near, exp_of_negative(distance, _DISTANCE_BITS), 0)
    return exponential, np.where(near, divide(exponential, _SUM_BITS), 0)


@lru_cache(maxsize=2)
def nodes_16(library: Library) -> tuple[np.ndarray, np.ndarray]:
    """``e^x`` over -10 .. 0 and ``1 / (1 + x)`` over 0 .. 1 at the 513 places that a runtime keeps: int16, 15 fractional bits."""
    tables = []
    ends: list[np.floating]
    for function, width, zero in ((functions.exp, 10.0, 32767), (functions.inverse, 1.0, -32768)):
        if library == "litert":
            step, output = np.float64(width / 65535), np.float64(2.0 / 65535)
            ends = [*(step * (code - zero) for code in (-32768, 32767)), *(output * code for code in (-32768, 32767))]
        else:
            ends = [np.float32(end) for end in (-width if zero > 0 else 0.0, 0.0 if zero > 0 else width, -1.0, 1.0)]
        tables.append(samples(function, ends[0], ends[1], ends[2], ends[3]))
    return tables[0], tables[1]


@lru_cache(maxsize=2)
def _tables_16(library: Library) -> tuple[np.ndarray, np.ndarray]:
    """The same at all 65536 places, int32."""
    exponential, inverse = (interpolate(table).astype(np.int32) for table in nodes_16(library))
    return exponential, inverse
