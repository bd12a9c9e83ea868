"""Every operator: its shape rule against what it computes, its document, its work, and its execution against ONNX Runtime."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch
from operator_samples import CHANNELS, SAMPLES

from hwmodels.errors import FileError
from hwmodels.workload import Contract, Map, Move, Reduce
from hwsearch.formats.onnx.float_network import to_float_model
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.ir.shapes import channel_axes, shapes
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.extent import BadExtent, check, evaluate
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Sqrt
from searchspaces.ops.moves.move import Reshape
from searchspaces.ops.reductions.reduce import Std
from searchspaces.ops.registry import from_document, operators, to_document

SIZES = ((8, 12), (12, 10))


def test_every_operator_has_a_sample() -> None:
    beside = {"input", "unknown", "state", "remember"}  # state: tests/unit/hwsearch/quant/engine/test_state.py
    assert SAMPLES.keys() == operators().keys() - beside
    assert all(SAMPLES[kind]().output.op.kind == kind for kind in SAMPLES)


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shape_rules_say_what_is_computed(kind: str, size: tuple[int, int]) -> None:
    graph, found = SAMPLES[kind](), {}
    execute(graph, torch.rand(1, CHANNELS, *size), lambda node, y: found.__setitem__(node.name, tuple(y.shape)))
    assert shapes(graph, *size) == found


@pytest.mark.parametrize("kind", SAMPLES)
def test_float_file_under_onnx_runtime_computes_the_same(kind: str) -> None:
    graph = SAMPLES[kind]()
    session = onnxruntime.InferenceSession(_frame(graph), providers=["CPUExecutionProvider"])
    for size in SIZES:
        x = torch.rand(1, CHANNELS, *size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = execute(graph, x).numpy()
        found = session.run(None, {"input": x.numpy()})[0]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 2e-5 * max(1.0, np.abs(expected).max())


def _frame(graph: object) -> bytes:
    return to_float_model(graph).SerializeToString()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SAMPLES)
def test_documents_give_the_operator_back(kind: str) -> None:
    for node in SAMPLES[kind]().nodes:
        word, attrs = to_document(node.op)
        assert from_document(word, attrs) == node.op


def test_documents_of_the_first_release() -> None:
    """Words and parameters as files have had them since 0.1.0."""
    old = {"stride": 2, "padding": [1, 1, 1, 1], "dilation": 1, "groups": 1, "activation": "leaky_relu", "slope": 0.1}
    assert to_document(from_document("conv", old)) == ("conv", old)
    for word, attrs in (
        ("input", {"channels": 3}),
        ("add", {}),
        ("add", {"activation": "relu"}),
        ("mul", {}),
        ("concat", {}),
        ("slice", {"start": 2, "stop": 5}),
        ("repeat", {"times": 9}),
        ("pixel_shuffle", {"factor": 2}),
        ("resize", {"mode": "nearest", "factor": 2}),
        ("unary", {"kind": "tanh"}),
        ("unary", {"kind": "clip", "low": -1.0, "high": 1.0}),
        ("pool", {"kind": "std"}),
    ):
        assert to_document(from_document(word, attrs)) == (word, attrs)


@pytest.mark.parametrize(
    ("word", "attrs", "said"),
    [
        ("conv", {"stride": 0}, "at least 1"),
        ("conv", {"strid": 1}, "no parameter strid"),
        ("conv", {"activation": "swich"}, "no activation 'swich'"),
        ("unary", {"kind": "rely"}, "no operator 'unary rely'"),
        ("unary", {"kind": "conv"}, "no operator 'unary conv'"),
        ("wavelet", {}, "no operator 'wavelet'"),
        ("slice", {"start": 0}, "stop"),
        ("permute", {"axes": [0, 0]}, "no order of axes"),
        ("reshape", {"sizes": ["h.real"]}, "no size"),
        ("reshape", {"sizes": ["__import__('os')"]}, "no size"),
        ("resize", {"mode": "nearest"}, "a factor or a size"),
    ],
)
def test_wrong_documents_are_refused(word: str, attrs: dict[str, object], said: str) -> None:
    with pytest.raises(FileError, match=said):
        from_document(word, attrs)


def test_operators_are_values() -> None:
    assert MatMul(transpose_b=True) == MatMul(False, True)
    assert hash(Reshape((1, "h * w"))) == hash(Reshape((1, "h * w")))
    with pytest.raises(dataclasses.FrozenInstanceError):
        MatMul().transpose_a = True  # type: ignore[misc]


def test_sizes_of_pictures() -> None:
    assert evaluate("(h + 7) // 8 * 8 - w", 17, 5) == 19
    assert evaluate(12, 0, 0) == 12
    for wrong in ("h / 2", "x", "h ** 2", "1 if h else 2", "h // (w - w)", "(", "True"):
        with pytest.raises(BadExtent):
            check(wrong)


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_operator_is_work(kind: str) -> None:
    """What is counted: every value that is written comes from the layer; sums of products are as many as the definition has."""
    graph = SAMPLES[kind]()
    workload = to_workload(graph, 8, 12)
    layer, target = workload.layers[-1], workload.tensors[-1]
    assert target.elements == np.prod(shapes(graph, 8, 12)[graph.output.name])
    assert isinstance(layer.work, Contract | Map | Reduce | Move)
    pixels = 8 * 12
    counted = {"conv": pixels * 6 * CHANNELS * 9, "linear": pixels * 6 * CHANNELS, "matmul": pixels * pixels * CHANNELS}
    assert layer.macs == counted.get(kind, 0)
    assert layer.weight_count == {"conv": 6 * CHANNELS * 9, "linear": 6 * CHANNELS}.get(kind, 0)
    if kind == "matmul":
        assert isinstance(layer.work, Contract)
        assert (layer.work.stationary, layer.work.depth) == ("tensor", CHANNELS)


def test_channels_of_tokens_are_their_last_axis() -> None:
    graph = SAMPLES["linear"]()
    found = shapes(graph, 8, 12)
    axes = channel_axes(graph, found)
    assert axes == {"x": 1, "y0": 2, "y1": 2, "y2": 2}
    tensors = {t.name: t for t in to_workload(graph, 8, 12).tensors}
    assert (tensors["y2"].channels, tensors["y2"].height, tensors["y2"].width) == (6, 96, 1)
    assert tensors["x"].picture
    assert not tensors["y2"].picture


def test_an_operator_says_what_it_does_not_do() -> None:
    with pytest.raises(NotImplementedError):
        Op().run([], {})
    with pytest.raises(ValueError, match="picture"):
        Input(3).shape([], {})
    with pytest.raises(ValueError, match="depends on the picture"):
        Reshape(("h",)).shape([(4,)], {})


@pytest.mark.parametrize("op", [Std(axes=(2, 3)), Sqrt()])
def test_a_constant_has_a_derivative(op: Op) -> None:
    """The deviation of a channel that is everywhere the same has no slope; a backward pass through it must still be numbers."""
    x = torch.zeros(1, 2, 4, 4)
    x[0, 1] = torch.arange(16.0).view(4, 4) / 16
    x.requires_grad_(True)
    y = op.run([x], {})
    expected = x.std((2, 3), correction=0, keepdim=True) if isinstance(op, Std) else torch.sqrt(x)
    assert torch.allclose(y, expected)
    y.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad[0, 0] == 0).all()
    assert (x.grad[0, 1] != 0).any()
