"""Operators of one tensor for which TFLite has fixed-point arithmetic: hard swish, reciprocal root, and, at 16 bits or in TFLite
Micro, logistic function and hyperbolic tangent.

Each function gives a table of all codes, as those of ``lookup`` do. Inside, numbers are Q-formats of 16 or 32 bits, here held in
64; where the runtime saturates, so does the table. The arithmetic was found in the sources of TensorFlow Lite
(``reference/hard_swish.h``, ``integer_ops/logistic.h``, ``tanh.h``, ``elementwise.cc``, ``common.h``) and
of the gemmlowp library.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from hwsearch.quant.engine.fixed_point import quantize_multiplier, reduced, scaled_once, scales_once
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.limits import RuntimeLimit
from hwsearch.quant.engine.operators.lookup import codes
from hwsearch.quant.engine.operators.q31 import divide, logistic_31, multiply, multiply_quantized, tanh_31

Library = Literal["litert", "tflm"]
"""Whose kernels: LiteRT's reference kernels, or those of TFLite Micro."""


def _sigmoid_table() -> np.ndarray:
    """The logistic function of ``i / 24`` with 16 fractional bits, 256 entries, each moved up by half of what the straight line
    to the next one lies too low in the middle: the table of both runtimes' 16-bit kernels."""
    at = np.arange(256)
    here, middle, following = (65536 / (1 + np.exp(-(at + ahead) / 24)) for ahead in (0, 0.5, 1))
    table: np.ndarray = np.rint(here + (middle - (here + following) / 2) / 2).astype(np.int64)
    table[-1] = 65535
    return table


SIGMOID = _sigmoid_table()


def hard_swish(x: Grid, y: Grid) -> np.ndarray:
    """``x min(max(x + 3, 0), 6) / 6``, 8 bits, LiteRT and TFLite Micro.

    Raises:
        RuntimeLimit: the output's steps are finer than 1/128 of the input's, for which the kernels have no shift.
    """
    fine = np.float32(1 / 128) * x.step
    m, shift = _reduced(fine / y.step)
    m_relu, shift_relu = _reduced(fine / (np.float32(3) / np.float32(32768)))
    if shift > 0:
        raise RuntimeLimit(f"hard swish from steps of {x.scale} to steps of {y.scale}: the output's are too fine")
    high = (codes(x) - x.zero_point) << 7
    outer = _multiply_16(high, m)
    relu = _saturate_16(high << max(shift_relu - 1, 0))
    relu = _multiply_16(relu, m_relu)
    relu = _saturate_16(relu << 1) if shift_relu > 0 else divide(relu, -shift_relu)
    relu = (relu + (1 << 15)) >> 1
    joined = relu * outer
    towards_zero = np.sign(joined) * (np.abs(joined) >> 15)
    return y.clamp(divide(towards_zero, -shift) + y.zero_point)


def _reduced(real: np.floating) -> tuple[int, int]:
    mantissa, shift = quantize_multiplier(float(real))
    return int(reduced(np.array(mantissa))), shift


def _saturate_16(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(x, -32768, 32767))


def _multiply_16(x: np.ndarray, m: int) -> np.ndarray:
    """``x m / 2^15`` rounded half up; ``m`` is positive, so nothing saturates."""
    return (x * m + (1 << 14)) >> 15


LOGISTIC_POWERS = (0,)
TANH_POWERS = (0, 1)


def as_power(x: Grid, powers: tuple[int, ...]) -> int | None:
    """Which of ``powers``, exponents of two on top of 2^-12, the kernels of 16 bits take a step for, which may be off by 0.07 %;
    None: they take it as it is."""
    exponent = float(np.float32(math.log(x.step)) * np.float32(1 / math.log(np.float32(2))))
    nearest = round(exponent)
    return nearest + 12 if abs(exponent - nearest) < 1e-3 and nearest + 12 in powers else None


def on_line(x: Grid, powers: tuple[int, ...]) -> tuple[int, int]:
    """The multiplier of at most 16 bits and the shift to the right, rounded half up, that bring codes to the axis of ``SIGMOID``,
    where 2^17 stands for 32/3."""
    if (power := as_power(x, powers)) is not None:
        return 3 << power, 0
    multiplier, shift = float(x.step) * 4096 * 3, 0
    while multiplier <= 32767 / 2 and shift <= 30:
        shift, multiplier = shift + 1, multiplier * 2
    return int(multiplier), shift


def _line(x: Grid, powers: tuple[int, ...]) -> np.ndarray:
    multiplier, shift = on_line(x, powers)
    return (codes(x) * multiplier + ((1 << shift) >> 1)) >> shift


def _on_the_table(place: np.ndarray, bits: int) -> np.ndarray:
    """``SIGMOID`` at ``place / 2^bits`` with 16 + ``bits`` fractional bits, a straight line between entries."""
    whole = np.minimum(place >> bits, 254)
    slope = SIGMOID[whole + 1] - SIGMOID[whole]
    return np.asarray((SIGMOID[whole] << bits) + (place & ((1 << bits) - 1)) * slope)


def logistic_16(x: Grid, y: Grid) -> np.ndarray:
    """The logistic function at 16 bits, LiteRT's reference kernels and TFLite Micro; ``y`` has steps of 2^-15."""
    line = _line(x, LOGISTIC_POWERS)
    place = np.abs(line)
    value = np.where(place >> 9 >= 255, 0x7FFF << 10, _on_the_table(place, 9))
    signed = np.where(line >= 0, value + (1 << 9), (1 << 25) - value + (1 << 9) - 1)
    return y.clamp(signed >> 10)


def tanh_16(x: Grid, y: Grid) -> np.ndarray:
    """The hyperbolic tangent at 16 bits, as ``2 logistic(2 x) - 1``, LiteRT's reference kernels and TFLite Micro; ``y`` has steps
    of 2^-15."""
    line = _line(x, TANH_POWERS)
    place = np.abs(line)
    value = np.where(place >> 8 >= 255, 0xFFFF << 8, _on_the_table(place, 8))
    signed = np.where(line >= 0, value - (1 << 23) + (1 << 7), (1 << 23) - value + (1 << 7) - 1)
    return y.clamp(signed >> 8)


def _q4(x: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Codes with 27 fractional bits, and where they lie beyond what 4 integer bits hold: -1, 0 or 1."""
    m, shift = quantize_multiplier(float(x.step) * (1 << 27))
    radius = math.floor(15 * (1 << 27) / (1 << shift))
    shifted = codes(x) - x.zero_point
    beyond = np.where(shifted <= -radius, -1, np.where(shifted >= radius, 1, 0))
    return multiply_quantized(np.where(beyond == 0, shifted, 0), m, shift), beyond


def logistic_8(x: Grid, y: Grid) -> np.ndarray:
    """The logistic function at 8 bits, TFLite Micro: in 31 bits; ``y`` has steps of 1/256 and the zero point -128."""
    line, beyond = _q4(x)
    inside = np.clip(divide(logistic_31(line, 4), 23) - 128, -128, 127)
    return y.clamp(np.select([beyond < 0, beyond > 0], [np.full_like(inside, -128), np.full_like(inside, 127)], inside))


def tanh_8(x: Grid, y: Grid) -> np.ndarray:
    """The hyperbolic tangent at 8 bits, TFLite Micro: in 31 bits; ``y`` has steps of 1/128 and the zero point 0."""
    line, beyond = _q4(x)
    inside = np.clip(divide(tanh_31(line, 4), 24), -128, 127)
    return y.clamp(np.select([beyond < 0, beyond > 0], [np.full_like(inside, -128), np.full_like(inside, 127)], inside))


def inverse_root(x: Grid, y: Grid, library: Library) -> np.ndarray:
    """``1 / sqrt`` in fixed point: 8 bits in both libraries, 16 bits in TFLite Micro (LiteRT's is ``lookup.inverse_root_16``).

    Zero gets the greatest code. Codes below the zero point are refused by the runtimes; the table has the greatest code there.
    The libraries differ in the precision of the multiplier ``1 / (sqrt(s_x) s_y)``: single in LiteRT, double in TFLite Micro.
    """
    root = float(np.sqrt(x.step) * y.step) if library == "litert" else math.sqrt(float(x.step)) * float(y.step)
    m, shift = quantize_multiplier(1 / root)
    value = codes(x) - x.zero_point
    mantissa, exponent = _newton_root(np.maximum(value, 1))
    unit = np.array([multiply_quantized(np.array(1), int(a), int(b) + 20) for a, b in zip(mantissa, exponent, strict=True)])
    result = multiply_quantized(unit, m, shift - 20) + y.zero_point
    return y.clamp(np.where(value > 0, result, np.iinfo(y.dtype).max))


def _newton_root(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``1 / sqrt`` of integers from 1 as mantissa of 31 bits and exponent: five steps of Newton's method in 3 integer bits."""
    pairs = np.array([(32 - int(v).bit_length() - 1) // 2 - 1 for v in value])
    shift = 11 - pairs
    point = (value << (2 * pairs)) >> 1
    half = divide(point, 1)
    root = np.full_like(value, 1 << 28)
    for _ in range(5):
        cube = _times(multiply(multiply(root, root), root), 6)
        root = _times(multiply(np.full_like(root, 3 << 27), root) - multiply(half, cube), 3)
    root = multiply(root, np.full_like(root, 1518500250))
    root, shift = np.where(shift < 0, root << np.maximum(-shift, 0), root), np.maximum(shift, 0)
    alone = value <= 1
    return np.where(alone, (1 << 31) - 1, root), np.where(alone, 0, -shift)


def _times(x: np.ndarray, power: int) -> np.ndarray:
    """``x 2^power`` cut to 32 bits."""
    return np.asarray(np.clip(x << power, -(1 << 31), (1 << 31) - 1))


def leaky(x: Grid, y: Grid, slope: float, library: Library) -> np.ndarray:
    """``x``, below zero times ``slope``: LEAKY_RELU of 8 and 16 bits. Both multipliers are single in LiteRT, double in TFLite
    Micro."""
    value = codes(x) - x.zero_point
    if library == "litert":
        above, below = float(x.step / y.step), float(x.step * np.float32(slope) / y.step)
    else:
        above, below = float(x.step) / float(y.step), float(x.step) * float(np.float32(slope)) / float(y.step)
    sides = [multiply_quantized(value, *quantize_multiplier(real)) for real in (above, below)]
    return y.clamp(np.where(value >= 0, *sides) + y.zero_point)


def leaky_once(x: Grid, y: Grid, slope: float) -> np.ndarray:
    """LEAKY_RELU of XNNPACK, 8 bits: see ``fixed_point.scaled_once``.

    Raises:
        RuntimeLimit: multipliers that XNNPACK does not take.
    """
    above = x.step / y.step
    below = above * np.float32(slope)
    if not (scales_once(above) and scales_once(below)):
        raise RuntimeLimit(f"a slope of {slope:g} from steps of {x.scale:g} to steps of {y.scale:g}")
    value = codes(x) - x.zero_point
    return y.clamp(np.where(value >= 0, scaled_once(value, above), scaled_once(value, below)) + y.zero_point)


def prelu(x: Grid, y: Grid, slopes: np.ndarray, by: Grid) -> np.ndarray:
    """``x``, below zero times the slope of its channel: PRELU of LiteRT, 8 bits, which multiplies codes and rescales products as
    MUL does; the multipliers are single. One table a channel, ``[C, 256]``, for slopes that are codes ``[C]`` of the grid ``by``.
    """
    value, factors = codes(x) - x.zero_point, slopes.astype(np.int64)[:, None] - by.zero_point
    above = multiply_quantized(value, *quantize_multiplier(float(x.step / y.step)))
    below = multiply_quantized(value * factors, *quantize_multiplier(float(x.step * by.step / y.step)))
    return y.clamp(np.where(value >= 0, above, below) + y.zero_point)


def absolute(x: Grid, y: Grid, library: Library) -> np.ndarray:
    """``|x|``; one scale on both sides costs no rounding. The multiplier ``s_x / s_y`` is single in LiteRT, double in TFLite
    Micro."""
    value = np.abs(codes(x) - x.zero_point)
    if x.step != y.step:
        real = float(x.step / y.step) if library == "litert" else float(x.step) / float(y.step)
        value = multiply_quantized(value, *quantize_multiplier(real))
    return y.clamp(value + y.zero_point)
