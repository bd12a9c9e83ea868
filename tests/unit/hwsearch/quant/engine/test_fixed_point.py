"""Fixed-point requantization against exact fractions: each rounding step written as it is defined, not as it is computed."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.numbers import Int
from hwsearch.quant.engine import fixed_point
from hwsearch.quant.network.formats import TensorFormat

HALF = Fraction(1, 2)


def half_away(value: Fraction) -> int:
    """To nearest, halves away from zero."""
    return math.floor(value + HALF) if value >= 0 else math.ceil(value - HALF)


def half_up(value: Fraction) -> int:
    return math.floor(value + HALF)


def gemmlowp(acc: int, mantissa: int, shift: int) -> int:
    first = Fraction(acc * 2 ** max(shift, 0) * mantissa, 2**31)
    return half_away(Fraction(half_up(first), 2 ** max(-shift, 0)))


@given(st.floats(1e-9, 1e6))
def test_multipliers_keep_31_bits(real: float) -> None:
    mantissa, shift = fixed_point.quantize_multiplier(real)
    assert 2**30 <= mantissa < 2**31
    assert abs(Fraction(mantissa) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(real) * Fraction(1, 2**31)


@pytest.mark.parametrize(("real", "expected"), [(0.0, (0, 0)), (0.5, (1 << 30, 0)), (1.0, (1 << 30, 1)), (2.0**-40, (0, 0))])
def test_multipliers_at_the_ends(real: float, expected: tuple[int, int]) -> None:
    assert fixed_point.quantize_multiplier(real) == expected


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=20), st.floats(2.0**-20, 0.99))
def test_gemmlowp_rounds_twice(sums: list[int], real: float) -> None:
    mantissa, shift = fixed_point.quantize_multiplier(real)
    acc, out = np.array(sums, dtype=np.float64)[None, :, None], np.empty((1, len(sums), 1), np.float32)
    bounds, origin = (-(2**20), 2**20), 100
    fixed_point.gemmlowp(acc, np.array([mantissa]), np.array([shift]), *bounds, origin, out)
    assert out.ravel().tolist() == [min(max(gemmlowp(value, mantissa, shift), bounds[0]), bounds[1]) + origin for value in sums]


def test_gemmlowp_at_exact_halves() -> None:
    """Multiplier 1/2 and 1/4: where the two roundings and their directions show."""
    values = list(range(-9, 10))
    for real in (0.5, 0.25, 0.125, 1.0, 2.0):
        mantissa, shift = fixed_point.quantize_multiplier(real)
        out = np.empty((1, len(values), 1), np.int16)
        acc = np.array(values, np.int32)[None, :, None]
        fixed_point.gemmlowp(acc, np.array([mantissa]), np.array([shift]), -100, 100, 0, out)
        assert out.ravel().tolist() == [gemmlowp(value, mantissa, shift) for value in values], real


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(-(2**46), 2**46), min_size=1, max_size=20), st.floats(2.0**-30, 0.99))
def test_i16_rounds_once_with_a_mantissa_of_16_bits(sums: list[int], real: float) -> None:
    mantissa, shift = fixed_point.quantize_multiplier(real)
    short = min(half_up(Fraction(mantissa, 2**16)), 0x7FFF)
    out = np.empty((1, len(sums), 1), np.int16)
    acc = np.array(sums, dtype=np.float64)[None, :, None]
    fixed_point.i16(acc, fixed_point.reduced(np.array([mantissa])), np.array([shift]), -32768, 32767, 0, out)
    expected = [half_up(Fraction(value * short) * Fraction(2) ** (shift - 15)) for value in sums]
    assert out.ravel().tolist() == [min(max(value, -32768), 32767) for value in expected]


@pytest.mark.parametrize("add", [fixed_point.add_tflite, fixed_point.add_xnnpack])
def test_additions_are_within_one_code_of_the_real_sum(add) -> None:  # type: ignore[no-untyped-def]
    fa, fb, fy = (TensorFormat(Int(8), float(np.float32(s)), 128) for s in (0.0453, 0.1057, 0.1302))
    a, b = (v.ravel().astype(np.float32) for v in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)))
    real = np.clip((a.astype(np.float64) * fa.scale + b.astype(np.float64) * fb.scale) / fy.scale, -128, 127)
    codes, got = [(v + 128).astype(np.uint8) for v in (a, b)], np.empty(a.shape, np.uint8)
    add(*codes, fa, fb, fy, -128, 127, got)
    assert np.abs(got - 128.0 - real).max() < 0.5001
    add(*codes, fy, fy, fy, -128, 127, got)
    assert np.array_equal(got, np.clip(a + b, -128, 127) + 128)
