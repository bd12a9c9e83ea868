"""Requantization without floating point: a multiplier as integer mantissa and shift, as microcontrollers and TFLite compute it.

A real multiplier is ``m * 2^shift / 2^31`` with ``2^30 <= m < 2^31`` (``quantize_multiplier``). Two arithmetics use it, found in
the sources of TensorFlow Lite (``kernels/internal/common.h``), whose int8 kernels descend from the gemmlowp library:

* "gemmlowp", 8-bit tensors: ``x m / 2^31`` rounded half up, then a division by ``2^-shift`` rounded half away from zero: two
  roundings.
* "i16", where a 16-bit tensor takes part: 64-bit sums, ``m`` reduced to 16 bits, one rounding half up:
  ``(x m16 + 2^(14 - shift)) >> (15 - shift)``.

Additions of TFLite (``reference/add.h``) bring both operands to a common scale ``2 max(s_a, s_b)`` in fixed point with 20 bits
(15 for 16-bit tensors) to spare, add, and multiply down to the result's scale. XNNPACK adds in one step, with multipliers of 21
bits relative to the larger one and one rounding half up (its ``qs8-vadd`` kernels).

All kernels compute *shifted* codes ``q - z`` and write them plus the origin of their format (see ``requant``); integers inside
are 64 bits wide and never overflow under the bounds that ``integer.proofs`` states.
"""

from __future__ import annotations

import math

import numpy as np

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.loops.rounding import scaled
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers


def quantize_multiplier(real: float) -> tuple[int, int]:
    """``(m, shift)`` with ``real`` approximately ``m * 2^(shift - 31)``; (0, 0) for what 31 bits of shift cannot hold."""
    if real <= 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa, shift = mantissa >> 1, shift + 1
    return (0, 0) if shift < -31 else (mantissa, shift)


def scales_once(ratio: np.float32) -> bool:
    """Whether XNNPACK's kernels between two grids of 8 bits take a ratio of scales (``scaled_once``)."""
    return bool(2.0**-8 <= ratio <= 2.0**7)


def scaled_once(value: np.ndarray, ratio: np.float32) -> np.ndarray:
    """Shifted codes times a ratio of scales, as XNNPACK converts and applies slopes at 8 bits: a multiplier of 8 fractional bits,
    one rounding, halves up."""
    return value * int(np.rint(np.float32(256) * ratio)) + 128 >> 8


def layer_multipliers(layer: LayerIntegers, source: TensorFormat, target: TensorFormat) -> tuple[np.ndarray, np.ndarray]:
    """Mantissas and shifts, ``int64[O]`` each, of ``s_x * s_w[c] / s_y`` evaluated in double precision."""
    real = float(np.float32(source.scale)) * layer.scale.astype(np.float64) / float(np.float32(target.scale))
    pairs = np.array([quantize_multiplier(value) for value in real], dtype=np.int64)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def reduced(mantissa: np.ndarray) -> np.ndarray:
    """Mantissas of 16 bits, rounded half up and saturated, as rule "i16" uses them."""
    halves: np.ndarray = np.where(mantissa < 0x7FFF0000, (mantissa + (1 << 15)) >> 16, 0x7FFF)
    return halves


@compiled
def gemmlowp(acc: np.ndarray, m: np.ndarray, shift: np.ndarray, low: int, high: int, origin: int, out: np.ndarray) -> None:
    """Sums ``[rows, >= W, >= C]`` (int32, or floats holding integers) to shifted codes in ``low .. high``.

    They are written to ``out [<= rows, W, C]`` plus ``origin``.
    """
    rows, columns, channels = out.shape
    for r in range(rows):
        for p in range(columns):
            for c in range(channels):
                out[r, p, c] = min(max(scaled(int(acc[r, p, c]), m[c], shift[c]), low), high) + origin


@compiled
def i16(acc: np.ndarray, m: np.ndarray, shift: np.ndarray, low: int, high: int, origin: int, out: np.ndarray) -> None:
    """As ``gemmlowp``, by rule "i16"; ``m`` are ``reduced`` mantissas."""
    rows, columns, channels = out.shape
    for r in range(rows):
        for p in range(columns):
            for c in range(channels):
                total = 15 - shift[c]
                out[r, p, c] = min(max((int(acc[r, p, c]) * m[c] + (1 << (total - 1))) >> total, low), high) + origin


@compiled
def _add(
    a: np.ndarray, b: np.ndarray, m: np.ndarray, shift: np.ndarray, spare: int, low: int, high: int,
    origins: tuple[int, int, int], out: np.ndarray,
) -> None:  # fmt: skip
    from_a, from_b, origin = origins
    for i in range(a.size):
        x = scaled((int(a[i]) - from_a) << spare, m[0], shift[0])
        y = scaled((int(b[i]) - from_b) << spare, m[1], shift[1])
        out[i] = min(max(scaled(x + y, m[2], shift[2]), low), high) + origin


def add_tflite(
    a: np.ndarray, b: np.ndarray, fa: TensorFormat, fb: TensorFormat, fy: TensorFormat, low: int, high: int, out: np.ndarray
) -> None:
    """Sum of codes as their formats carry them, by the rule of TFLite's reference kernel; flat arrays; shifted bounds."""
    spare = 15 if any(fmt.is_wide for fmt in (fa, fb, fy)) else 20
    scales = [float(np.float32(fmt.scale)) for fmt in (fa, fb, fy)]
    twice = 2 * max(scales[0], scales[1])
    reals = (scales[0] / twice, scales[1] / twice, twice / ((1 << spare) * scales[2]))
    pairs = np.array([quantize_multiplier(real) for real in reals], dtype=np.int64)
    _add(a, b, pairs[:, 0].copy(), pairs[:, 1].copy(), spare, low, high, (fa.origin, fb.origin, fy.origin), out)


@compiled
def _add_once(
    a: np.ndarray,
    b: np.ndarray,
    ma: int,
    mb: int,
    shift: int,
    low: int,
    high: int,
    origins: tuple[int, int, int],
    out: np.ndarray,
) -> None:
    from_a, from_b, origin = origins
    start = (1 << (shift - 1)) - from_a * ma - from_b * mb
    for i in range(a.size):
        total = int(a[i]) * ma + int(b[i]) * mb + start
        out[i] = min(max(total >> shift, low), high) + origin


def add_xnnpack(
    a: np.ndarray, b: np.ndarray, fa: TensorFormat, fb: TensorFormat, fy: TensorFormat, low: int, high: int, out: np.ndarray
) -> None:
    """Sum of 8-bit codes by the rule of XNNPACK; arguments as for ``add_tflite``."""
    ra, rb = (np.float32(fmt.scale) / np.float32(fy.scale) for fmt in (fa, fb))
    shift = 20 - (math.frexp(float(max(ra, rb)))[1] - 1)
    ma, mb = (int(np.rint(math.ldexp(float(r), shift))) for r in (ra, rb))
    _add_once(a, b, ma, mb, shift, low, high, (fa.origin, fb.origin, fy.origin), out)


def rescale_table(source: TensorFormat, target: TensorFormat, low: int, high: int) -> np.ndarray:
    """Shifted codes of ``target`` in ``low .. high`` for every code 0 .. 255 of ``source``: how TFLite moves an 8-bit tensor to
    another scale (its RELU kernels between different scales)."""
    real = float(np.float32(source.scale)) / float(np.float32(target.scale))
    m, shift = (np.array([value], dtype=np.int64) for value in quantize_multiplier(real))
    codes = (np.arange(256, dtype=np.float32) - source.zero_point)[None, :, None]
    out = np.empty(codes.shape, dtype=np.int16)
    gemmlowp(codes, m, shift, low, high, 0, out)
    return out.ravel()
