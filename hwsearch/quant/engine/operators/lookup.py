"""Operators of one tensor: whatever a runtime computes of each code, as a table of all codes.

A table has 256 entries for an 8-bit tensor and 65536 for one of 16 bits, in the order of the codes; ``apply`` looks codes up.
What stands in it is what the runtime computes, found in the sources of its kernels:

* ``sampled``, 8 bits, TFLite and TFLite Micro (GELU, EXP, ELU, LOG; LiteRT's LOGISTIC and TANH): the function in single
  precision, times ``fp32(1 / s_y)``, rounded half away from zero.
* ``sampled``, 16 bits, LiteRT (GELU, EXP, LOG, RSQRT): 513 samples between the ends of the container, each moved by half of the
  error that the straight line to the next one makes in the middle; the upper 9 bits of a code choose the sample, the lower 7
  interpolate. A real table of 513 entries is what the runtime keeps; 65536 are what it answers.
* ONNX Runtime (QLinearSigmoid, QLinearLeakyRelu): ``rint(fp32(v / s_y)) + z_y``, of a value in single precision.
* The others have fixed-point arithmetic of their own: ``activation``.

A value beyond the 32-bit integers has no defined code in a runtime (on x86 it becomes the least code, on ARM the greatest);
here it becomes the nearest end.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hwsearch.quant.engine.operators import functions
from hwsearch.quant.engine.operators.functions import Real
from hwsearch.quant.engine.operators.grid import Grid

STEPS = 512
"""Intervals of a 16-bit table."""


def codes(grid: Grid) -> np.ndarray:
    """Every code that the container holds, int64, in order."""
    ends = np.iinfo(grid.dtype)
    return np.arange(ends.min, ends.max + 1, dtype=np.int64)


def apply(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The entries of the codes ``x``, any shape; the container of ``x`` is the one that the table was made for."""
    looked_up: np.ndarray = table[x.astype(np.int64) - np.iinfo(x.dtype).min]
    return looked_up


def half_away(x: np.ndarray) -> np.ndarray:
    """To nearest, halves away from zero, in the precision of ``x``."""
    whole = np.trunc(x)
    away: np.ndarray = whole + np.copysign(np.abs(x - whole) >= 0.5, x)
    return away


def sampled(function: Real, x: Grid, y: Grid) -> np.ndarray:
    """The table of a function by TFLite's rules for 8 and 16 bits.

    Args:
        function: defined for every real value that a code of ``x`` stands for; float32 in and out.
    """
    return _interpolated(function, x, y) if x.wide else _direct(function, x, y)


def _direct(function: Real, x: Grid, y: Grid) -> np.ndarray:
    real = x.step * (codes(x) - x.zero_point).astype(np.float32)
    steps = half_away(function(real) * (np.float32(1) / y.step)) + np.float32(y.zero_point)
    return y.clamp(steps.astype(np.float64))


def _interpolated(function: Real, x: Grid, y: Grid) -> np.ndarray:
    ends = [(code - grid.zero_point) * grid.step for grid in (x, y) for code in (-32768, 32767)]
    return y.clamp(interpolate(samples(function, ends[0], ends[1], ends[2], ends[3])))


def samples(function: Real, first: np.floating, last: np.floating, least: np.floating, most: np.floating) -> np.ndarray:
    """The 513 entries of a 16-bit table, int16, in the precision of the arguments.

    Args:
        first, last: real values of the least and the greatest code of the input.
        least, most: the same of the output.
    """
    real = type(first)
    step = (last - first) / real(STEPS)
    at = first + np.arange(STEPS + 1).astype(real) * step
    per_unit = real(65536) / (most - least)
    value = function(at) * per_unit
    sample, following = half_away(value[:-1]), value[1:]
    middle = half_away(function(at[:-1] + step / real(2)) * per_unit)
    error = half_away((following + sample) / real(2)) - middle
    last_one = half_away(function(np.array([last], real)) * per_unit)
    moved = np.concatenate([sample - half_away(error / real(2)), last_one])
    table: np.ndarray = np.clip(moved, -32768, 32767).astype(np.int16)
    return table


def interpolate(table: np.ndarray) -> np.ndarray:
    """What a table of 513 entries answers to each of the 65536 codes, int16; the slope of an interval has 16 bits, as it has in
    the runtime."""
    places = np.arange(-32768, 32768)
    index, offset = (places >> 7) + 256, places & 127
    slope = np.diff(table.astype(np.int32)).astype(np.int16)[index].astype(np.int32)
    answers: np.ndarray = (table[index] + ((slope * offset + 64) >> 7)).astype(np.int16)
    return answers


def places_of(answers: np.ndarray) -> np.ndarray | None:
    """The table of 513 entries, int16, that ``interpolate`` answers from; None where there is none. The last entry is never an
    answer: it is the slope of the last interval."""
    known = answers[:: 1 << 7]
    rise = int(answers[-1]) - int(known[-1])
    for last in range(rise - 2, rise + 3):
        table = np.append(known, known[-1] + last + (last >> 7)).clip(-32768, 32767).astype(np.int16)
        if np.array_equal(interpolate(table), answers):
            return table
    return None


@lru_cache(maxsize=128)
def elementwise(name: str, x: Grid, y: Grid) -> np.ndarray:
    """``sampled`` of one of ``functions.FUNCTIONS``; the table is kept, and is not to be written to."""
    table = sampled(functions.FUNCTIONS[name], x, y)
    table.flags.writeable = False
    return table


def log(x: Grid, y: Grid) -> np.ndarray:
    """The natural logarithm, LiteRT at 8 and 16 bits; what is not positive gets the least code."""
    least = np.float32(np.iinfo(y.dtype).min - y.zero_point) * y.step

    def function(real: np.ndarray) -> np.ndarray:
        safe = np.where(real > 0, real, np.float32(1))
        return np.where(real > 0, functions.log(safe), least)

    return sampled(function, x, y)


def inverse_root_16(x: Grid, y: Grid) -> np.ndarray:
    """``1 / sqrt``, LiteRT at 16 bits; what is not positive gets the greatest code."""
    most = np.float32(32767) * y.step

    def function(real: np.ndarray) -> np.ndarray:
        safe = np.where(real > 0, real, np.float32(1))
        return np.where(real > 0, functions.inverse_root(safe), most)

    return sampled(function, x, y)


def rounded(function: Real, x: Grid, y: Grid) -> np.ndarray:
    """The table of a function of an 8-bit tensor by ONNX Runtime's rule."""
    real = x.step * (codes(x) - x.zero_point).astype(np.float32)
    low, high = y.bounds
    steps = np.clip(function(real) / y.step, low - y.zero_point, high - y.zero_point)
    return y.clamp(np.rint(steps).astype(np.int64) + y.zero_point)
