"""Every integer operator of ONNX Runtime beside the engine's, one node a model, over random shapes, scales, zero points and
codes; and the operators that it leaves in floating point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_operators
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_operator_draws import codes, grid, power, sides, span_of, thinned
from onnx import helper, numpy_helper

from hwsearch.quant.engine.operators import lookup, qlinear
from hwsearch.quant.engine.operators.agreement import AGREEMENT
from hwsearch.quant.engine.operators.grid import Grid, Kind

Pair = tuple[np.ndarray, np.ndarray]


def matmul(rng: np.random.Generator, kind: Kind) -> Pair:
    rows, depth, columns = (int(side) for side in rng.integers(1, 40, 3))
    batch = sides(rng, 0, 2)
    a, b = grid(rng, kind, power(rng, -2, 2)), grid(rng, kind, power(rng, -2, 2))
    y = grid(rng, kind, span_of(a) * span_of(b) * np.sqrt(depth) * power(rng, -1.5, 0))
    x = codes(rng, a, (*batch, rows, depth)), codes(rng, b, (*batch, depth, columns))
    return qlinear.matmul(*x, a, b, y), onnx_operators.run("QLinearMatMul", [(x[0], a), (x[1], b)], y, domain="")


def gemm(rng: np.random.Generator, kind: Kind) -> Pair:
    rows, depth, columns = (int(side) for side in rng.integers(1, 40, 3))
    a, b = grid(rng, kind, power(rng, -2, 2)), grid(rng, kind, power(rng, -2, 2))
    y = grid(rng, kind, span_of(a) * span_of(b) * np.sqrt(depth) * power(rng, -1.5, 0))
    x = codes(rng, a, (rows, depth)), codes(rng, b, (depth, columns))
    bias = rng.integers(-5000, 5001, columns).astype(np.int32)
    theirs = onnx_operators.run("QGemm", [(x[0], a), (x[1], b)], y, between=[bias], attributes={"alpha": 1.0})
    return qlinear.matmul(*x, a, b, y, bias=bias), theirs


def binary(name: str, function: Callable[..., np.ndarray], product: bool) -> Callable[[np.random.Generator, Kind], Pair]:
    def draw(rng: np.random.Generator, kind: Kind) -> Pair:
        full = sides(rng, 1, 4)
        a, b = grid(rng, kind, power(rng, -1, 1)), grid(rng, kind, power(rng, -1, 1))
        span = span_of(a) * span_of(b) / 4 if product else max(span_of(a), span_of(b))
        y = grid(rng, kind, span * power(rng, -0.7, 0.7))
        x = codes(rng, a, thinned(rng, full)), codes(rng, b, full)
        return function(*x, a, b, y), onnx_operators.run(name, [(x[0], a), (x[1], b)], y)

    return draw


def softmax(rng: np.random.Generator, kind: Kind) -> Pair:
    of = grid(rng, kind, power(rng, -1, 2))
    x = codes(rng, of, (*sides(rng, 0, 2), int(rng.integers(3, 80))))
    y = Grid(kind, float(np.float32(1 / 256 if rng.random() < 0.5 else power(rng, -2.5, -2))), int(np.iinfo(kind).min))
    theirs = onnx_operators.run("QLinearSoftmax", [(x, of)], y, attributes={"opset": 13, "axis": -1})
    return qlinear.softmax(x, of, y), theirs


def sigmoid(rng: np.random.Generator, kind: Kind) -> Pair:
    of, y = grid(rng, kind, power(rng, -0.5, 1.6)), grid(rng, kind, power(rng, -0.5, 0.3))
    x = lookup.codes(of).astype(kind)
    return lookup.apply(qlinear.sigmoid(of, y), x), onnx_operators.run("QLinearSigmoid", [(x, of)], y)


def leaky_relu(rng: np.random.Generator, kind: Kind) -> Pair:
    of, y = grid(rng, kind, power(rng, -0.5, 1.6)), grid(rng, kind, power(rng, -0.5, 1.6))
    x, slope = lookup.codes(of).astype(kind), float(np.float32(rng.uniform(0, 1.2)))
    theirs = onnx_operators.run("QLinearLeakyRelu", [(x, of)], y, attributes={"alpha": slope})
    return lookup.apply(qlinear.leaky_relu(of, y, slope), x), theirs


DRAWS: dict[str, Callable[[np.random.Generator, Kind], Pair]] = {
    "QLinearMatMul": matmul,
    "QGemm": gemm,
    "QLinearAdd": binary("QLinearAdd", qlinear.add, product=False),
    "QLinearMul": binary("QLinearMul", qlinear.multiply, product=True),
    "QLinearSoftmax": softmax,
    "QLinearSigmoid": sigmoid,
    "QLinearLeakyRelu": leaky_relu,
}


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("name", DRAWS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_codes_are_those_of_onnx_runtime(name: str, kind: Kind, seed: int) -> None:
    ours, theirs = DRAWS[name](np.random.default_rng(seed), kind)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("step", "row", "written"),
    [
        (0.13, [249, 196, 201, 215, 161, 204], [251, 0, 0, 3, 0, 1]),
        (0.055, [219, 224, 201, 189, 168, 175], [84, 111, 31, 16, 5, 8]),
        (0.097, [174, 159, 183, 146, 188, 202], [11, 3, 27, 1, 44, 171]),
        (0.144, [193, 197, 182, 221, 169, 235], [1, 1, 0, 30, 0, 224]),
    ],
)
def test_the_softmax_s_table_is_moved_by_a_single_precision_logarithm(step: float, row: list[int], written: list[int]) -> None:
    """Rows whose first or last code falls on another side of a half with a logarithm in double precision: one code in a
    million, which a deep network enlarges."""
    x, of, y = np.array([row], np.uint8), Grid("uint8", step, 113), Grid("uint8", 1 / 256, 0)
    theirs = onnx_operators.run("QLinearSoftmax", [(x, of)], y, attributes={"opset": 13, "axis": -1})
    np.testing.assert_array_equal(theirs, [written])
    np.testing.assert_array_equal(qlinear.softmax(x, of, y), theirs)


def test_a_softmax_that_overflows_in_the_kernel_is_refused() -> None:
    """One entry a row and steps of 1/256: the kernel multiplies a number of e^(88.7 - 5) by 256."""
    with pytest.raises(ValueError, match="overflow"):
        qlinear.softmax(np.zeros((2, 1), np.uint8), Grid("uint8", 0.1), Grid("uint8", 1 / 256))


def test_the_reduction_of_the_schema_has_no_kernel() -> None:
    x = np.zeros((2, 4), np.uint8)
    with pytest.raises(Exception, match="Could not find an implementation"):
        onnx_operators.run(
            "QLinearReduceMean", [(x, Grid("uint8", 0.1))], Grid("uint8", 0.1), attributes={"axes": [-1], "keepdims": 1}
        )


ISLANDS = {
    ("layer_norm", 8): "LayerNormalization", ("gelu", 8): "Gelu", ("exp", 8): "Exp", ("tanh", 8): "Tanh", ("abs", 8): "Abs",
    ("minimum", 8): "Min", ("maximum", 8): "Max", ("sum", 8): "ReduceSum", ("mean", 8): "ReduceMean",
    ("hard_swish", 8): "HardSwish", ("elu", 8): "Elu", ("log", 8): "Log", ("sub", 8): "Sub", ("div", 8): "Div",
    ("batch_matmul", 16): "MatMul", ("softmax", 16): "Softmax", ("add", 16): "Add", ("mul", 16): "Mul",
    ("logistic", 16): "Sigmoid", ("mean", 16): "ReduceMean", ("layer_norm", 16): "LayerNormalization", ("gelu", 16): "Gelu",
}  # fmt: skip
"""Entry of the table -> the operator that stays between DequantizeLinear and QuantizeLinear."""
EXPANDED = {"HardSwish": "HardSigmoid"}
"""Operators of which the optimizer leaves another."""


@pytest.mark.parametrize(("operator", "bits"), ISLANDS)
def test_what_is_called_floating_point_is(operator: str, bits: int, tmp_path: Path) -> None:
    """The optimized graph still has the operator itself, and no integer form of it."""
    assert "floating point" in AGREEMENT[operator, bits]["onnxruntime"]
    name, kind = ISLANDS[operator, bits], np.uint8 if bits == 8 else np.int16
    two = name in ("MatMul", "Add", "Sub", "Mul", "Div", "Min", "Max")
    fixed = [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(kind(0), "z")]
    nodes = [helper.make_node("DequantizeLinear", [f"x{i}", "s", "z"], [f"f{i}"]) for i in range(1 + two)]
    inputs = [f"f{i}" for i in range(1 + two)]
    if name == "LayerNormalization":
        fixed.append(numpy_helper.from_array(np.ones(8, np.float32), "gamma"))
        inputs.append("gamma")
    nodes += [helper.make_node(name, inputs, ["g"]), helper.make_node("QuantizeLinear", ["g", "s", "z"], ["y"])]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    ports = [helper.make_tensor_value_info(f"x{i}", element, [8, 8]) for i in range(1 + two)]
    graph = helper.make_graph(nodes, "island", ports, [helper.make_tensor_value_info("y", element, None)], fixed)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    left = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert EXPANDED.get(name, name) in left
    assert not any(kept.startswith("QLinear") for kept in left)
