"""Random cases of every integer operator: shapes, scales, zero points, axes and codes, from one seed.

A draw gives the operator as a TFLite file holds it, its codes, and what the engine computes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from tflite_operators import Operator

from hwsearch.quant.engine.operators import activation, elementwise, functions, lookup, matmul, reduction, softmax
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid, Kind

Compute = Callable[[Library], np.ndarray]
NO_ACTIVATION = (("FusedActivationFunction", 0),)


@dataclass(frozen=True)
class Draw:
    """One case: what the runtime is asked, and ``compute``, which gives the engine's codes by the rule of a library."""

    operator: Operator
    inputs: tuple[np.ndarray, ...]
    compute: Compute


def grid(rng: np.random.Generator, kind: Kind, span: float) -> Grid:
    """A grid whose codes span about ``span``; any zero point at 8 bits, 0 at 16. Half of the scales have one digit: sums and
    products of such scales lie exactly half way between two codes now and then, which is where roundings differ."""
    ends = np.iinfo(kind)
    zero = 0 if kind == "int16" else int(rng.integers(ends.min, ends.max + 1))
    scale = span / (ends.max - ends.min)
    return Grid(kind, float(np.float32(f"{scale:.0e}" if rng.random() < 0.5 else scale)), zero)


def codes(rng: np.random.Generator, of: Grid, shape: tuple[int, ...]) -> np.ndarray:
    ends = np.iinfo(of.dtype)
    return rng.integers(ends.min, ends.max + 1, shape).astype(of.dtype)


def power(rng: np.random.Generator, least: float, most: float) -> float:
    return float(10 ** rng.uniform(least, most))


def sides(rng: np.random.Generator, least: int, most: int) -> tuple[int, ...]:
    return tuple(int(side) for side in rng.integers(1, 9, int(rng.integers(least, most + 1))))


def thinned(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with some sides 1, to broadcast."""
    return tuple(1 if rng.random() < 0.4 else side for side in shape)


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(side) for side in np.broadcast_shapes(*shapes))


def span_of(of: Grid) -> float:
    ends = np.iinfo(of.dtype)
    return float(of.step) * int(ends.max - ends.min)


def batch_matmul(rng: np.random.Generator, kind: Kind) -> Draw:
    rows, depth, columns = (int(side) for side in rng.integers(1, 33, 3))
    batch = tuple(int(side) for side in rng.integers(1, 4, int(rng.integers(1, 3))))
    batches = thinned(rng, batch), thinned(rng, batch)
    flip_a, flip_b = bool(rng.integers(2)), bool(rng.integers(2))
    a, b = grid(rng, kind, power(rng, -2, 2)), grid(rng, kind, power(rng, -2, 2))
    y = grid(rng, kind, span_of(a) * span_of(b) * np.sqrt(depth) * power(rng, -1.5, 0))
    shapes = (
        batches[0] + ((depth, rows) if flip_a else (rows, depth)),
        batches[1] + ((columns, depth) if flip_b else (depth, columns)),
    )
    x = codes(rng, a, shapes[0]), codes(rng, b, shapes[1])
    options = ("BatchMatMulOptions", (("AdjX", flip_a), ("AdjY", flip_b)))
    operator = Operator("BATCH_MATMUL", shapes, (a, b), (*broadcast(*batches), rows, columns), y, options)
    flips = {"transpose_a": flip_a, "transpose_b": flip_b}
    return Draw(operator, x, lambda library: matmul.batch_matmul(*x, a, b, y, **flips, library=library))


def softmax_(rng: np.random.Generator, kind: Kind) -> Draw:
    shape = (*sides(rng, 0, 2), int(rng.integers(1, 80)))
    of, beta = grid(rng, kind, power(rng, -1, 2.3)), float(np.float32(rng.choice([1.0, 0.5, 1.7])))
    x = codes(rng, of, shape)
    operator = Operator("SOFTMAX", (shape,), (of,), shape, softmax.OUTPUTS[kind], ("SoftmaxOptions", (("Beta", beta),)))
    return Draw(operator, (x,), lambda library: softmax.softmax(x, of, beta, library))


def reduce(name: str, function: Callable[..., np.ndarray]) -> Callable[[np.random.Generator, Kind], Draw]:
    def draw(rng: np.random.Generator, kind: Kind) -> Draw:
        shape = sides(rng, 4, 4)
        axes = tuple(sorted(int(axis) for axis in rng.choice(4, int(rng.integers(1, 4)), replace=False)))
        keep, of = bool(rng.integers(2)), grid(rng, kind, power(rng, -2, 2))
        y, x = grid(rng, kind, span_of(of) * power(rng, -1, 0.5)), codes(rng, of, shape)
        result = tuple(1 if axis in axes else side for axis, side in enumerate(shape) if keep or axis not in axes)
        options = ("ReducerOptions", (("KeepDims", keep),))
        operator = Operator(name, (shape,), (of,), result, y, options, (axes,))
        return Draw(operator, (x,), lambda _: function(x, of, y, axes, keep=keep))

    return draw


def binary(
    name: str, table: str, out: Callable[[Grid, Grid], float], compute: Callable[..., np.ndarray], *, fused: bool = True
) -> Callable[[np.random.Generator, Kind], Draw]:
    """``out``: a span that the results of two grids fill about; ``compute(a, b, grid_a, grid_b, y, library)``."""

    def draw(rng: np.random.Generator, kind: Kind) -> Draw:
        full = sides(rng, 1, 4)
        shapes = (full, full) if rng.random() < 0.4 else (thinned(rng, full), thinned(rng, full))
        a, b = grid(rng, kind, power(rng, -1, 1)), grid(rng, kind, power(rng, -1, 1))
        y = grid(rng, kind, out(a, b) * power(rng, -0.7, 0.7))
        x = codes(rng, a, shapes[0]), codes(rng, b, shapes[1])
        operator = Operator(name, shapes, (a, b), broadcast(*shapes), y, (table, NO_ACTIVATION if fused else ()))
        return Draw(operator, x, lambda library: compute(*x, a, b, y, library))

    return draw


def extreme(name: str, function: Callable[..., np.ndarray]) -> Callable[[np.random.Generator, Kind], Draw]:
    def draw(rng: np.random.Generator, kind: Kind) -> Draw:
        full, of = sides(rng, 1, 4), grid(rng, kind, 1.0)
        shapes = thinned(rng, full), full
        x = codes(rng, of, shapes[0]), codes(rng, of, shapes[1])
        operator = Operator(name, shapes, (of, of), broadcast(*shapes), of, ("MaximumMinimumOptions", ()))
        return Draw(operator, x, lambda _: function(*x, of))

    return draw


def division(rng: np.random.Generator, kind: Kind) -> Draw:
    """Divisors of one sign and at least a quarter of the range, so that quotients lie within the shifts of the kernel."""
    full = sides(rng, 1, 4)
    shapes = (full, full) if rng.random() < 0.4 else (thinned(rng, full), thinned(rng, full))
    a, b = grid(rng, kind, power(rng, -1, 1)), Grid(kind, power(rng, -2, 0), -128 if kind == "int8" else 0)
    ends = np.iinfo(kind)
    x = (
        codes(rng, a, shapes[0]),
        rng.integers(b.zero_point + 64 if kind == "int8" else 8192, ends.max + 1, shapes[1]).astype(kind),
    )
    ratio = power(rng, 2, 3) if kind == "int8" else power(rng, 4.4, 4.5)  # s_a / (s_b s_y)
    y = Grid(kind, float(np.float32(a.scale / (b.scale * ratio))), 0)
    operator = Operator("DIV", shapes, (a, b), broadcast(*shapes), y, ("DivOptions", NO_ACTIVATION))
    return Draw(operator, x, lambda library: elementwise.divide(*x, a, b, y, library))


def unary(
    name: str,
    table: Callable[[Grid, Grid, Library], np.ndarray],
    *,
    output: Callable[[Kind], Grid] | None = None,
    positive: bool = False,
    options: tuple[str, tuple[tuple[str, int | bool | float], ...]] | None = None,
) -> Callable[[np.random.Generator, Kind], Draw]:
    """All codes of a container at once."""

    def draw(rng: np.random.Generator, kind: Kind) -> Draw:
        of = grid(rng, kind, power(rng, -0.5, 1.6))
        if kind == "int16" and rng.random() < 0.2:
            of = Grid("int16", 2.0 ** int(rng.integers(-15, -9)))
        y = output(kind) if output else grid(rng, kind, power(rng, -0.5, 1.6))
        x = lookup.codes(of)
        if name == "HARD_SWISH":  # LiteRT refuses an output whose steps are finer than 1/128 of the input's
            y = replace(y, scale=max(y.scale, of.scale / 100))
        if name == "EXP":  # values beyond 32-bit integers have no defined code
            x = x[np.exp((x - of.zero_point) * of.scale) < 2**30 * y.scale]
        x = x[x >= of.zero_point].astype(kind) if positive else x.astype(kind)
        operator = Operator(name, (x.shape,), (of,), x.shape, y, options)
        return Draw(operator, (x,), lambda library: lookup.apply(table(of, y, library), x))

    return draw


def _function(name: str) -> Callable[[Grid, Grid, Library], np.ndarray]:
    return lambda x, y, library: lookup.sampled(functions.FUNCTIONS[name], x, y)


def _logistic(x: Grid, y: Grid, library: Library) -> np.ndarray:
    if x.wide:
        return activation.logistic_16(x, y)
    return lookup.elementwise("logistic", x, y) if library == "litert" else activation.logistic_8(x, y)


def _tanh(x: Grid, y: Grid, library: Library) -> np.ndarray:
    if x.wide:
        return activation.tanh_16(x, y)
    return lookup.elementwise("tanh", x, y) if library == "litert" else activation.tanh_8(x, y)


def _inverse_root(x: Grid, y: Grid, library: Library) -> np.ndarray:
    return lookup.inverse_root_16(x, y) if x.wide and library == "litert" else activation.inverse_root(x, y, library)


def _wider(a: Grid, b: Grid) -> float:
    return max(span_of(a), span_of(b))


DRAWS: dict[str, Callable[[np.random.Generator, Kind], Draw]] = {
    "batch_matmul": batch_matmul,
    "softmax": softmax_,
    "mean": reduce("MEAN", reduction.mean),
    "sum": reduce("SUM", reduction.sum_of),
    "add": binary("ADD", "AddOptions", _wider, lambda a, b, ga, gb, y, _: elementwise.add(a, b, ga, gb, y)),
    "sub": binary("SUB", "SubOptions", _wider, lambda a, b, ga, gb, y, _: elementwise.subtract(a, b, ga, gb, y)),
    "mul": binary("MUL", "MulOptions", lambda a, b: span_of(a) * span_of(b) / 4, elementwise.multiply),
    "squared_difference": binary(
        "SQUARED_DIFFERENCE", "SquaredDifferenceOptions", lambda a, b: _wider(a, b) ** 2 / 2,
        lambda a, b, ga, gb, y, _: elementwise.squared_difference(a, b, ga, gb, y), fused=False,
    ),
    "div": division,
    "minimum": extreme("MINIMUM", elementwise.minimum),
    "maximum": extreme("MAXIMUM", elementwise.maximum),
    "gelu": unary("GELU", _function("gelu"), options=("GeluOptions", (("Approximate", False),))),
    "gelu_tanh": unary("GELU", _function("gelu_tanh"), options=("GeluOptions", (("Approximate", True),))),
    "exp": unary("EXP", _function("exp")),
    "elu": unary("ELU", _function("elu")),
    "log": unary("LOG", lambda x, y, _: lookup.log(x, y)),
    "hard_swish": unary("HARD_SWISH", lambda x, y, _: activation.hard_swish(x, y)),
    "logistic": unary("LOGISTIC", _logistic, output=lambda kind: softmax.OUTPUTS[kind]),
    "tanh": unary("TANH", _tanh, output=lambda kind: Grid(kind, 1 / 128 if kind == "int8" else 1 / 32768)),
    "rsqrt": unary("RSQRT", _inverse_root, positive=True),
    "abs": unary("ABS", activation.absolute),
}  # fmt: skip
"""Operator -> one random case of it."""
