"""Comparisons, choices, Einstein sums and rare functions of ONNX files, against ONNX Runtime on the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import CHANNELS, difference, node, written

from hwsearch.formats.reading.readers import inspect
from searchspaces.ir.graph import execute


def _then(kind: str, *inputs: str, out: str = "y", **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [out], **attrs)


def _cast(source: str, out: str = "y") -> onnx.NodeProto:
    return _then("Cast", source, out=out, to=TensorProto.FLOAT)


LIMIT = {"c": np.float32(0.2), "z": np.float32(0)}
CHANNEL = {"c": np.linspace(-0.2, 0.6, CHANNELS, dtype=np.float32).reshape(1, CHANNELS, 1, 1)}
RAMP = np.linspace(0, 1, 2 * 24 * 32, dtype=np.float32).reshape(1, 2, 24, 32)
FILES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "greater": ([_then("Greater", "x", "c", out="m"), _then("Where", "m", "x", "z")], LIMIT),
    "less on the left": ([_then("Less", "c", "x", out="m"), _then("Where", "m", "z", "x")], LIMIT),
    "of two": (
        [_then("Abs", "x", out="a"), _then("LessOrEqual", "a", "x", out="m"), _then("Where", "m", "x", "c")], LIMIT
    ),
    "by channels": ([_then("GreaterOrEqual", "x", "c", out="m"), _cast("m", "f"), _then("Mul", "x", "f")], CHANNEL),
    "equal": ([_then("Relu", "x", out="r"), _then("Equal", "r", "z", out="m"), _then("Not", "m", out="n"), _cast("n")], LIMIT),
    "logic": (
        [
            *(_then("Greater", "x", "c", out="a"), _then("Less", "x", "z", out="b"), _then("Or", "a", "b", out="o")),
            *(_then("Not", "b", out="n"), _then("And", "o", "n", out="m"), _then("Where", "m", "x", "c")),
        ],
        LIMIT,
    ),
    "no number": ([_then("IsNaN", "x", out="m"), _then("Where", "m", "z", "x")], LIMIT),
    "mask of numbers": ([_then("Relu", "x", out="r"), _then("Cast", "r", out="m", to=TensorProto.BOOL), _cast("m")], {}),
    "power of a number": ([_then("Pow", "b", "x")], {"b": np.float32(2)}),
    "celu": ([node("Celu", alpha=0.7)], {}),
    "softsign": ([node("Softsign")], {}),
    "sinh": ([node("Sinh")], {}),
    "tan": ([node("Tan")], {}),
    "cosh": ([node("Cosh")], {}),
    "whole numbers": (
        [_then("Mul", "x", "c", out="s"), _then("Floor", "s", out="f"), _then("Round", "s", out="r"), _then("Sub", "f", "r")],
        {"c": np.float32(5)},
    ),
    "largest and sum": ([node("ReduceLogSumExp", axes=[1])], {}),
    "the other end": ([node("Pad", "p", mode="wrap")], {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3], np.int64)}),
    "constant part": ([_then("Concat", "x", "k", axis=1)], {"k": RAMP}),
}  # fmt: skip
OPSETS = {"largest and sum": 13, "the other end": 19}


@pytest.mark.parametrize("name", FILES)
def test_choices_and_functions(name: str, tmp_path: Path) -> None:
    nodes, constants = FILES[name]
    sides = ("n", CHANNELS, 24, 32) if name == "constant part" else ("n", CHANNELS, "h", "w")
    path = written(tmp_path / "net.onnx", nodes, constants, opset=OPSETS.get(name, 17), sides=sides)
    assert difference(path) < 1e-5


SUMS = {
    "matrix of channels": ("bchw,dc->bdhw", (6, CHANNELS)),
    "matrix on the left": ("dc,bchw->bhdw", (6, CHANNELS)),
    "columns": ("bchw,wv->bchv", (32, 16)),
}


@pytest.mark.parametrize("name", SUMS)
def test_einstein_sums_with_a_constant(name: str, tmp_path: Path) -> None:
    equation, shape = SUMS[name]
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    operands = ("m", "x") if name == "matrix on the left" else ("x", "m")
    nodes = [_then("Einsum", *operands, equation=equation)]
    sides = (1, CHANNELS, 24, 32) if name == "columns" else ("n", CHANNELS, "h", "w")
    path = written(tmp_path / "net.onnx", nodes, {"m": matrix}, sides=sides)
    assert difference(path) < 1e-5


PAIRS = ("bchw,bdhw->bcd", "bchw,bchv->bhwv", "bchw,bchw->bhw", "bchw,bdhw->bhwcd", "bchw,bcvw->bchv", "bchw,bchw->bchw")


@pytest.mark.parametrize("equation", PAIRS)
def test_einstein_sums_of_two_tensors(equation: str, tmp_path: Path) -> None:
    nodes = [_then("Abs", "x", out="a"), _then("Einsum", "x", "a", equation=equation)]
    path = written(tmp_path / "net.onnx", nodes, sides=(1, CHANNELS, 24, 32))
    assert difference(path, ((24, 32),)) < 1e-5


def test_a_product_by_element_is_one(tmp_path: Path) -> None:
    nodes = [_then("ReduceMean", "x", out="p", axes=[2, 3], keepdims=0), _then("Einsum", "p", "x", equation="bc,bchw->bchw")]
    path = written(tmp_path / "net.onnx", nodes, sides=(1, CHANNELS, 24, 32))
    assert difference(path, ((24, 32),)) < 1e-5
    assert not any(node.op.word == "matmul" for node in inspect(path).graph.nodes)


@pytest.mark.parametrize("equation", ["bchw,bchw,bchw->bchw", "bchw,bdhw,bchv->bdwv", "bchw,bchw,bchw->bc"])
def test_einstein_sums_of_three_tensors(equation: str, tmp_path: Path) -> None:
    nodes = [_then("Abs", "x", out="a"), _then("Exp", "x", out="e"), _then("Einsum", "x", "a", "e", equation=equation)]
    path = written(tmp_path / "net.onnx", nodes, sides=(1, CHANNELS, 24, 32))
    assert difference(path, ((24, 32),)) < 1e-5


def test_what_an_einstein_sum_cannot_be_read_for(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [_then("Einsum", "x", equation="bcii->bc")])
    (line,) = inspect(path).graph.uncounted
    assert "named twice" in line


def test_a_mask_with_infinity_before_softmax(tmp_path: Path) -> None:
    """Scores at masked places are far below the others, and softmax makes nothing of them."""
    mask = np.triu(np.ones((32, 32), bool), 1)
    nodes = [
        *(_then("Transpose", "x", perm=[0, 1, 3, 2], out="t"), _then("MatMul", "t", "x", out="s")),
        *(_then("Where", "m", "i", "s", out="k"), _then("Softmax", "k", axis=-1)),
    ]
    path = written(tmp_path / "net.onnx", nodes, {"m": mask, "i": np.float32(-np.inf)}, sides=(1, CHANNELS, 24, 32))
    assert difference(path) < 1e-5


def test_an_order_of_axes_counted_from_the_end(tmp_path: Path) -> None:
    """ONNX Runtime refuses what PyTorch's exporter writes for ``movedim``."""
    nodes = [_then("Transpose", "x", out="t", perm=[0, 2, 3, 1]), _then("Transpose", "t", perm=[0, -1, 1, 2])]
    graph = inspect(written(tmp_path / "net.onnx", nodes)).graph
    x = torch.rand(1, CHANNELS, 4, 6)
    assert torch.equal(execute(graph, x), x)


@pytest.mark.parametrize("rows", [100, 300])
def test_a_file_that_decides_by_the_size_is_for_one_size(rows: int, tmp_path: Path) -> None:
    """The sizes that are compared first are all on one side of it."""
    nodes = [
        *(_then("Shape", "x", out="s"), _then("Gather", "s", "two", out="h"), _then("Greater", "h", "rows", out="m")),
        *(_then("Where", "m", "less", "more", out="f"), _then("Mul", "x", "f")),
    ]
    constants = {"two": np.int64(2), "rows": np.int64(rows), "less": np.float32(0.5), "more": np.float32(0.75)}
    path = written(tmp_path / "net.onnx", nodes, constants)
    found = inspect(path)
    assert found.graph.size is not None
    assert found.again is not None
    x = torch.rand(1, CHANNELS, rows + 1, 20)
    assert torch.allclose(execute(found.again((rows + 1, 20)), x), x * 0.5)
    assert difference(path) < 1e-5


SEQUENCES = {
    "of one size": ({"sizes": np.int64(3)}, {}, 1),
    "of given sizes": ({"sizes": np.array([1, 3], np.int64)}, {}, -1),
    "of one place": ({}, {}, 2),
    "without the axis": ({}, {"keepdims": 0}, 2),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_parts_that_are_taken_out_of_a_sequence(name: str, tmp_path: Path) -> None:
    """As PyTorch's older exporter writes ``chunk``, ``tensor_split`` and ``unbind``."""
    sizes, attrs, place = SEQUENCES[name]
    nodes = [
        *(_then("SplitToSequence", "x", *sizes, out="parts", axis=1, **attrs), _then("SequenceAt", "parts", "place", out="one")),
        _then("Unsqueeze", "one", "axes", out="first") if attrs else _then("Identity", "one", out="first"),
        *(_then("SequenceAt", "parts", "zero", out="other"), _then("ReduceMean", "other", out="mean", keepdims=1, axes=[1])),
        _then("Add", "first", "mean") if not attrs else _then("Identity", "first"),
    ]
    constants = {**sizes, "place": np.int64(place), "zero": np.int64(0), "axes": np.array([1], np.int64)}
    assert difference(written(tmp_path / "net.onnx", nodes, constants)) < 1e-5


def test_what_does_not_fit_behind_an_unread_operator_is_not_the_reason(tmp_path: Path) -> None:
    """Parts of a sequence that is put together again, by an operator that is not read: nobody knows its channels."""
    nodes = [
        _then("SplitToSequence", "x", "size", out="parts", axis=1),
        _then("SequenceErase", "parts", "zero", out="less"),
        _then("ConcatFromSequence", "less", out="joined", axis=1),
        *(_then("Mul", "joined", "gain", out="louder"), _then("Reshape", "louder", "sides", out="y")),
    ]
    constants = {
        "size": np.int64(2), "zero": np.int64(0), "gain": np.ones((1, 2, 1, 1), np.float32), "sides": np.array([0, 2, -1, 1])
    }  # fmt: skip
    found = inspect(written(tmp_path / "net.onnx", nodes, constants))
    assert found.graph.uncounted[0].startswith("SequenceErase")
