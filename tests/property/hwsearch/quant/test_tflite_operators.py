"""Every integer operator beside LiteRT's reference kernels, LiteRT as it comes, and TFLite Micro: one operator a file, random
shapes, scales, zero points, axes and codes. What the table of agreement calls exact is equal code for code; what it says
otherwise of a runtime is so as well."""

from __future__ import annotations

import numpy as np
import pytest
import tflite_operators
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_operator_draws import DRAWS, Draw, codes, grid, power, span_of

from hwsearch.quant.engine.operators import matmul
from hwsearch.quant.engine.operators.agreement import AGREEMENT, EXACT, Runtime

CELLS = [
    (operator, bits, runtime)
    for (operator, bits), row in AGREEMENT.items()
    for runtime in tflite_operators.RUNTIMES
    if operator != "layer_norm" and runtime in row
]
LARGEST = {"logistic": 12, "tanh": 12}
"""Codes that runtimes which are not exact lie apart at most; 1 elsewhere."""


def drawn(operator: str, bits: int, seed: int) -> Draw:
    return DRAWS[operator](np.random.default_rng(seed), "int8" if bits == 8 else "int16")


def theirs(draw: Draw, runtime: Runtime) -> np.ndarray | None:
    """The runtime's codes; None where it has no kernel or refuses the types."""
    try:
        return tflite_operators.run(draw.operator, draw.inputs, runtime)
    except RuntimeError:
        return None


def ours(draw: Draw, runtime: Runtime) -> np.ndarray:
    return draw.compute("tflm" if runtime == "tflm" else "litert")


@pytest.mark.parametrize(("operator", "bits", "runtime"), CELLS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_codes_are_those_of_the_runtime(operator: str, bits: int, runtime: Runtime, seed: int) -> None:
    draw, reason = drawn(operator, bits, seed), AGREEMENT[operator, bits][runtime]
    answer = theirs(draw, runtime)
    if "no kernel" in reason:
        assert answer is None
        return
    assert answer is not None
    if "nonsense" in reason:
        return
    computed = ours(draw, runtime)
    assert (computed.dtype, computed.shape) == (answer.dtype, answer.shape)
    apart = 0 if reason == EXACT else LARGEST.get(operator, 1)
    assert np.abs(computed.astype(np.int32) - answer.astype(np.int32)).max(initial=0) <= apart


@pytest.mark.parametrize("bits", [8, 16])
def test_the_reference_sum_of_litert_is_nonsense(bits: int) -> None:
    """The one entry that calls a runtime wrong: its answer does not depend on the codes."""
    draw = drawn("sum", bits, 0)
    first = tflite_operators.run(draw.operator, draw.inputs, "litert reference")
    second = tflite_operators.run(draw.operator, tuple(-(x // 2) for x in draw.inputs), "litert reference")
    assert first is not None
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("operator", "bits", "runtime", "seeds"), [
    ("mean", 8, "litert", 40), ("mul", 8, "litert", 40), ("add", 8, "litert", 100), ("sub", 8, "litert", 100),
    ("sum", 8, "litert", 60), ("sum", 16, "litert", 60), ("tanh", 16, "litert", 30), ("logistic", 16, "litert", 30),
])  # fmt: skip
def test_what_differs_does_differ(operator: str, bits: int, runtime: Runtime, seeds: int) -> None:
    """Were these equal, the table would forbid what could be promised."""
    draws = (drawn(operator, bits, seed) for seed in range(seeds))
    assert any(not np.array_equal(ours(draw, runtime), theirs(draw, runtime)) for draw in draws)


def test_products_as_large_as_in_a_window() -> None:
    """Which precision a multiplier is taken in shows in one of a hundred thousand codes."""
    differing = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, b = grid(rng, "int8", power(rng, -2, 2)), grid(rng, "int8", power(rng, -2, 2))
        y = grid(rng, "int8", span_of(a) * span_of(b) * 8 * power(rng, -1.5, 0))
        shapes = (2, 64, 48), (2, 48, 64)
        x = codes(rng, a, shapes[0]), codes(rng, b, shapes[1])
        options = ("BatchMatMulOptions", (("AdjX", False), ("AdjY", False)))
        operator = tflite_operators.Operator("BATCH_MATMUL", shapes, (a, b), (2, 64, 64), y, options)
        single, double = (matmul.batch_matmul(*x, a, b, y, library=library) for library in ("litert", "tflm"))
        np.testing.assert_array_equal(single, tflite_operators.run(operator, x, "litert reference"))
        np.testing.assert_array_equal(double, tflite_operators.run(operator, x, "tflm"))
        differing += int((single != double).sum())
    assert differing > 0
