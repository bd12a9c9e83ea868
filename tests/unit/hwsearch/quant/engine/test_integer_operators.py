"""The integer operators on their own: numbers that can be checked by hand, identities, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from hwsearch.quant.engine.kernels.loops.rounding import reciprocal
from hwsearch.quant.engine.operators import activation, elementwise, functions, lookup, matmul, q31, qlinear, reduction, softmax
from hwsearch.quant.engine.operators.agreement import AGREEMENT, EXACT
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.operators.limits import RuntimeLimit


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def test_codes_and_real_values() -> None:
    grid = Grid("int8", 0.5, -3, low=-10)
    assert grid.bounds == (-10, 127)
    assert grid.reach == 130
    assert grid.encode(np.array([0.0, 0.25, 0.75, -100.0])).tolist() == [-3, -3, -1, -10]  # halves to even
    assert grid.decode(np.array([-3, 1], np.int8)).tolist() == [0.0, 2.0]
    assert Grid("uint8", 1.0).bounds == (0, 255)


def test_sums_are_those_of_integers() -> None:
    """Through float32, float64, and at the ends of the container."""
    rng = np.random.default_rng(0)
    for kind, depth, zero in (("int8", 7, 5), ("int8", 3000, -128), ("int16", 900, 0)):
        ends = np.iinfo(kind)
        a = rng.integers(ends.min, ends.max + 1, (2, 3, depth)).astype(kind)
        a[0, 0] = ends.max if zero < 0 else ends.min
        b = np.full((depth, 2), a[0, 0, 0], kind)
        grid = Grid(kind, 1.0, zero)  # type: ignore[arg-type]
        wanted = (a.astype(object) - zero) @ (b.astype(object) - zero)
        assert (matmul.sums(a, b, grid, grid) == wanted).all()


@pytest.mark.parametrize(("kind", "depth"), [("int8", 40_000), ("int16", 140_000)])
def test_sums_that_overflow_are_refused(kind: str, depth: int) -> None:
    """By what they are, and not by what as many products could be."""
    grid = Grid(kind, 1.0, -128 if kind == "int8" else 0)  # type: ignore[arg-type]
    largest = np.full((1, depth), np.iinfo(kind).max, kind)
    with pytest.raises(RuntimeLimit, match=f"sums of {depth:,} products reach"):
        matmul.sums(largest, largest.T, grid, grid)
    fitting = np.zeros((1, depth), kind) if kind == "int8" else (largest * np.where(np.arange(depth) % 2, 1, -1)).astype(kind)
    wanted = (fitting.astype(object) - grid.zero_point) @ (largest.T.astype(object) - grid.zero_point)
    assert (matmul.sums(fitting, largest.T, grid, grid) == wanted).all()


def test_the_sixteen_bit_product_rounds_once() -> None:
    """Multiplier 0.3 cut to 16 bits: 19661 / 2^16, one rounding half up."""
    total = np.arange(-50, 51, dtype=np.int64)
    wanted = [half_up(Fraction(int(value) * 19661, 65536)) for value in total]
    assert matmul.requantize(total, 0.3, Grid("int16", 1.0)).tolist() == wanted


def test_the_exponential_of_fixed_point_numbers() -> None:
    """27 and 26 fractional bits against double precision: the polynomial of degree four is good to 3e-7; one at zero."""
    for bits in (4, 5):
        x = -np.arange(0, 15 << (31 - bits), 123_457_123)
        wanted = np.exp(x / 2.0 ** (31 - bits))
        assert np.abs(q31.exp_of_negative(x, bits) / 2**31 - wanted).max() < 3e-7
    assert q31.exp_of_negative(np.array([0]), 5)[0] == q31.ONE


def test_reciprocals() -> None:
    """Newton's three steps give 28 bits; the compiled and the array form are one."""
    x = np.arange(0, 1 << 31, 98_765_431)
    wanted = 2.0**31 / (1 + x / 2**31)
    assert np.abs(q31.inverse(x) - wanted).max() < 8
    assert [reciprocal(int(value)) for value in x] == q31.inverse(x).tolist()


def test_logistic_and_tangent_in_31_bits() -> None:
    x = np.arange(-(15 << 27), 15 << 27, 12_345_677)
    real = x / 2.0**27
    assert np.abs(q31.logistic_31(x, 4) / 2**31 - 1 / (1 + np.exp(-real))).max() < 3e-7
    assert np.abs(q31.tanh_31(x, 4) / 2**31 - np.tanh(real)).max() < 3e-7


def test_halves_go_away_from_zero() -> None:
    x = np.array([0.5, -0.5, 1.5, -2.5, 0.49999997, 3.0], np.float32)
    assert lookup.half_away(x).tolist() == [1, -1, 2, -3, 0, 3]


def test_a_straight_line_is_its_own_table() -> None:
    """Samples of the identity between equal grids, interpolated, are the codes; up to one, because the runtime divides by 65535
    steps where there are 65536 codes."""
    grid = Grid("int16", 2.0**-12)
    codes = lookup.codes(grid).astype(np.int16)
    answers = lookup.apply(lookup.sampled(lambda real: real, grid, grid), codes)
    assert np.abs(answers.astype(np.int32) - codes).max() == 1


def test_sixteen_bit_tables_stay_near_the_function() -> None:
    """GELU by 512 intervals: within the curvature of one interval."""
    x, y = Grid("int16", 8 / 32768), Grid("int16", 8 / 32768)
    codes = lookup.codes(x).astype(np.int16)
    real = x.decode(codes)
    wanted = np.array([0.5 * value * math.erfc(-value / math.sqrt(2)) for value in real])
    step = 16 / 512
    apart = np.abs(y.decode(lookup.apply(lookup.elementwise("gelu", x, y), codes)) - wanted)
    assert apart.max() < step**2 / 8 * 0.8 + 2 * y.scale


def test_functions_are_single_precision() -> None:
    x = np.linspace(-5, 5, 101).astype(np.float32)
    for name, function in functions.FUNCTIONS.items():
        y = function(x)
        assert y.dtype == np.float32, name
        assert np.isfinite(y).all(), name


def test_a_softmax_sums_to_one() -> None:
    rng = np.random.default_rng(0)
    for kind, scale, tolerance in (("int8", 0.1, 0.05), ("int16", 0.0005, 0.01)):
        ends = np.iinfo(kind)
        x = rng.integers(ends.min, ends.max + 1, (50, 24)).astype(kind)
        grid = Grid(kind, scale)  # type: ignore[arg-type]
        got = softmax.OUTPUTS[kind].decode(softmax.softmax(x, grid))
        real = np.exp(grid.decode(x) - grid.decode(x).max(axis=-1, keepdims=True))
        assert np.abs(got.sum(axis=-1) - 1).max() < tolerance
        assert np.abs(got - real / real.sum(axis=-1, keepdims=True)).max() < tolerance / 5


def test_rows_that_could_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match="overflow"):
        softmax.softmax(np.zeros((1, 4096), np.int8), Grid("int8", 0.1))
    with pytest.raises(ValueError, match="overflow"):
        reduction.mean(np.zeros((70_000, 1), np.int16), Grid("int16", 0.1), Grid("int16", 0.1), (0,))


def test_a_mean_of_equal_codes_is_the_code() -> None:
    grid = Grid("int8", 0.1, 7)
    x = np.repeat(np.arange(-128, 128, dtype=np.int8)[:, None], 61, axis=1)
    np.testing.assert_array_equal(reduction.mean(x, grid, grid, (1,), keep=False), x[:, 0])


def test_additions_and_products_by_hand() -> None:
    """Scales that are powers of two: nothing but the last rounding is inexact. Halves go
    away from zero where the multiplier is a shift, up where it is a mantissa."""
    a, b = np.array([[3], [-3]], np.int8), np.array([0, 1, 2], np.int8)
    one, two = Grid("int8", 1.0), Grid("int8", 2.0)
    assert elementwise.add(a, b, one, one, two).tolist() == [[2, 2, 3], [-2, -1, -1]]
    assert elementwise.subtract(a, b, one, one, two).tolist() == [[2, 1, 1], [-2, -2, -3]]
    assert elementwise.multiply(a, b, one, one, two).tolist() == [[0, 2, 3], [0, -1, -3]]  # the first rounding: half up
    assert elementwise.squared_difference(a, b, one, one, two).tolist() == [[5, 2, 1], [5, 8, 13]]
    assert elementwise.maximum(a, b, one).tolist() == [[3, 3, 3], [0, 1, 2]]
    assert elementwise.minimum(a, b, one).tolist() == [[0, 1, 2], [-3, -3, -3]]
    wide = Grid("int8", 1 / 64)
    assert elementwise.divide(a, np.array([2], np.int8), one, one, wide).tolist() == [[96], [-96]]


def test_what_the_kernels_have_no_numbers_for_is_refused() -> None:
    x = np.array([1, 2], np.int8)
    one, fine, coarse = Grid("int8", 1.0), Grid("int8", 1e-8), Grid("int8", 1e3)
    for function in (elementwise.add, elementwise.subtract, elementwise.squared_difference):
        with pytest.raises(ValueError, match="too fine"):
            function(x, x, one, one, fine)
    with pytest.raises(ValueError, match="beyond 32 bits"):
        elementwise.multiply(x, x, one, one, fine)
    with pytest.raises(ValueError, match="zero"):
        elementwise.divide(x, x - 1, one, one, one)
    with pytest.raises(ValueError, match="shift"):
        elementwise.divide(x, x, one, one, coarse)
    with pytest.raises(ValueError, match="too fine"):
        activation.hard_swish(one, Grid("int8", 1e-3))


def test_fused_bounds_are_kept_by_every_operator() -> None:
    """A ReLU behind an addition is nothing but the lowest code."""
    x = np.arange(-128, 128, dtype=np.int8)
    one, relu = Grid("int8", 1.0), Grid("int8", 1.0, 0, low=0, high=6)
    assert elementwise.add(x, np.zeros(1, np.int8), one, one, relu).tolist() == np.clip(x, 0, 6).tolist()
    assert lookup.elementwise("gelu", one, relu).max() == 6
    assert qlinear.add(x, np.zeros(1, np.int8), one, one, relu).tolist() == np.clip(x, 0, 6).tolist()


def test_every_entry_of_the_table_says_something() -> None:
    assert AGREEMENT["batch_matmul", 8]["tflm"] == EXACT
    assert AGREEMENT["gelu", 8]["tflm"] != EXACT
    assert all(len(row) == 4 and all(row.values()) for row in AGREEMENT.values())
    assert sum(entry == EXACT for row in AGREEMENT.values() for entry in row.values()) > 90
