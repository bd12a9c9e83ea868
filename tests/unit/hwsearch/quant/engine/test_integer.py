"""The integer engine against 64-bit integer arithmetic written out in numpy, independent of torch's convolutions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from random_networks import MODULES, float_graph, picture, quantize
from words import make_node

from hwmodels.numbers import FP16, Int
from hwsearch.quant.engine import integer, requant
from hwsearch.quant.engine.convolution import Conv
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Graph, execute


def conv_int64(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, pad: tuple[int, ...], dilation: int, groups: int
) -> np.ndarray:
    """Convolution of ``x int64 [C, H, W]`` in 64-bit integers."""
    left, right, top, bottom = pad
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    kh, kw = w.shape[2:]
    span = (dilation * (kh - 1) + 1, dilation * (kw - 1) + 1)
    windows = sliding_window_view(x, span, axis=(1, 2))[:, ::stride, ::stride, ::dilation, ::dilation]
    per_in, per_out = x.shape[0] // groups, w.shape[0] // groups
    parts = [
        np.einsum("chwij,ocij->ohw", windows[g * per_in : (g + 1) * per_in], w[g * per_out : (g + 1) * per_out])
        for g in range(groups)
    ]
    return np.concatenate(parts) + b[:, None, None]


def one_layer(
    weight: np.ndarray, source: TensorFormat, target: TensorFormat, *, activation: str = "none", **attrs: object
) -> QuantizedGraph:
    rng = np.random.default_rng(3)
    outputs = len(weight)
    layer = LayerIntegers(
        8, weight, rng.uniform(0.5, 2, outputs).astype(np.float32) * np.float32(1e-3), rng.integers(-9999, 9999, outputs)
    )
    attrs = {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1, "activation": activation} | attrs
    channels = weight.shape[1] * int(attrs["groups"])  # type: ignore[call-overload]
    weights = {"slope": torch.linspace(-0.4, 0.6, outputs)} if activation == "prelu" else {}
    nodes = (make_node("x", "input", (), {"channels": channels}), make_node("y", "conv", ("x",), attrs, weights))
    return QuantizedGraph(Graph("one", nodes), {"x": source, "y": target}, {"y": layer})


BYTE = TensorFormat(Int(8), float(np.float32(0.02)), 117)
WORD = TensorFormat(Int(16), float(np.float32(0.0001)), 32768, 0, 65535)
GEOMETRY = [
    {},
    {"stride": 2},
    {"dilation": 2, "padding": (2, 2, 2, 2)},
    {"groups": 4},
    {"padding": (0, 2, 1, 0)},
    {"stride": (2, 2), "padding": (1, 0, 0, 1)},
]


@pytest.mark.parametrize("attrs", GEOMETRY, ids=str)
@pytest.mark.parametrize("source", [BYTE, WORD], ids=["8", "16"])
def test_accumulators_are_those_of_64_bit_integers(attrs: dict[str, object], source: TensorFormat) -> None:
    rng = np.random.default_rng(0)
    groups = int(attrs.get("groups", 1))  # type: ignore[call-overload]
    weight = rng.integers(-127, 128, (8, 8 // groups, 3, 3)).astype(np.int8)
    q = one_layer(weight, source, WORD, **attrs)
    shifted = rng.integers(source.qmin, source.qmax + 1, (8, 13, 11)) - source.zero_point
    step = integer.Engine(q).steps["y"].__closure__[0].cell_contents  # type: ignore[attr-defined]
    acc = step.accumulate(source.carried(torch.from_numpy(shifted[None])))
    stride = attrs.get("stride", 1)
    expected = conv_int64(
        shifted,
        weight.astype(np.int64),
        q.layers["y"].bias,
        stride[0] if isinstance(stride, tuple) else stride,  # type: ignore[arg-type]
        attrs.get("padding", (1, 1, 1, 1)),  # type: ignore[arg-type]
        attrs.get("dilation", 1),  # type: ignore[arg-type]
        groups,
    )
    assert np.array_equal(acc[0].double().numpy(), expected)


def test_each_carrier_is_exact_where_the_one_before_it_no_longer_is() -> None:
    rng = np.random.default_rng(1)
    seen = set()
    for inputs, source in ((16, BYTE), (400, BYTE), (16, WORD), (200, WORD), (2500, WORD)):
        weight = rng.choice(np.array([-127, 127, 126, 125], np.int8), (2, inputs, 3, 3))
        q = one_layer(weight, source, WORD)
        proof = integer.proofs(q)[0]
        seen.add((proof.carrier, proof.limbs))
        # The worst pictures: every code at the end that makes an output channel as large, or as small, as it can be.
        ends = np.array([source.qmin, source.qmax]) - source.zero_point
        products = weight.reshape(2, -1, 1).astype(np.int64) * ends
        bias = np.abs(q.layers["y"].bias)
        largest = max((products.max(axis=2).sum(axis=1) + bias).max(), (-products.min(axis=2).sum(axis=1) + bias).max())
        assert proof.bound == largest
        assert proof.bound <= proof.limit
        shifted = rng.choice([source.qmin, source.qmax, source.qmax - 1], (inputs, 5, 5)) - source.zero_point
        conv = Conv(q.graph["y"], q.layers["y"], source, WORD)
        acc = conv.accumulate(source.carried(torch.from_numpy(shifted[None])))
        expected = conv_int64(shifted, weight.astype(np.int64), q.layers["y"].bias, 1, (1, 1, 1, 1), 1, 1)
        assert np.array_equal(acc[0].double().numpy(), expected)
    assert seen == {("float32", 1), ("float32 limbs", 2), ("float32 limbs", 3), ("float64", 1)}


@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "prelu"])
def test_8_bit_requantization_rounds_each_step_in_float32(activation: str) -> None:
    rng = np.random.default_rng(2)
    weight = rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
    q = one_layer(weight, BYTE, TensorFormat(Int(8), float(np.float32(0.03)), 31, 3, 250), activation=activation)
    x = torch.from_numpy(rng.uniform(-2, 3, (1, 4, 9, 9)).astype(np.float32))
    got = integer.run_codes(q, x)
    shifted = got["x"][0].numpy().astype(np.int64) - BYTE.zero_point
    layer, target = q.layers["y"], q.formats["y"]
    acc = conv_int64(shifted, layer.weight.astype(np.int64), layer.bias, 1, (1, 1, 1, 1), 1, 1).astype(np.float32)
    m = (np.float32(BYTE.scale) * layer.scale) / np.float32(target.scale)
    v = acc * m[:, None, None]
    low, high = 3, 250
    if activation == "prelu":
        v = np.where(v < 0, v * np.linspace(-0.4, 0.6, 6, dtype=np.float32)[:, None, None], v)
    if activation.startswith("relu"):
        low = 31
    if activation == "relu6":
        high = 31 + 200  # 6 / 0.03
    expected = np.clip(np.rint(v) + 31, low, high)
    assert len(np.unique(expected)) > 20
    assert np.array_equal(got["y"][0].numpy(), expected)


def test_addition_is_a_fused_multiply_add_of_codes() -> None:
    scales = (0.045303997, 0.10570933, 0.030202664)
    fa, fb, fy = (TensorFormat(Int(8), float(np.float32(s)), z) for s, z in zip(scales, (3, 131, 97), strict=True))
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 256, 5000), rng.integers(0, 256, 5000)

    def fused(x: float, y: float, z: float) -> np.float32:
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        near = np.float32(float(exact))
        others = (near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf)))
        return min(others, key=lambda c: (abs(Fraction(float(c)) - exact), int(c.view(np.uint32)) & 1))

    ra, rb = np.float32(fa.scale) / np.float32(fy.scale), np.float32(fb.scale) / np.float32(fy.scale)
    fix = np.float32(97) - fused(ra, 3, rb * np.float32(131))
    expected = [np.clip(np.rint(fused(x, ra, fused(y, rb, fix))), 0, 255) for x, y in zip(a, b, strict=True)]
    shape = (1, 1, 50, 100)
    left, right = (torch.from_numpy(v.astype(np.uint8)).view(shape) for v in (a, b))
    got = requant.add(left, right, fa, fb, fy, 0, 255)
    assert np.array_equal(got.numpy().ravel(), np.array(expected))


@pytest.mark.parametrize("name", MODULES)
def test_8_bit_codes_follow_the_floating_point_network(name: str) -> None:
    graph = float_graph(name)
    x = picture(graph)
    with torch.no_grad():
        expected = execute(graph, x)
    error = (integer.run(quantize(graph), x) - expected).pow(2).mean().sqrt()
    assert error < 0.03 * expected.std()


def test_16_bit_activations_are_nearly_lossless_apart_from_weights() -> None:
    graph = float_graph("fsrcnn-prelu")
    x = picture(graph)
    q = quantize(graph, 8, 16)
    stand_for = {
        n.name: n.with_weights(weight=torch.from_numpy(q.layers[n.name].weight * q.layers[n.name].scale[:, None, None, None]))  # type: ignore[union-attr]
        for n in graph.convs
    }
    with torch.no_grad():
        expected = execute(graph.replaced(stand_for), x)
    assert (integer.run(q, x) - expected).abs().max() < 1e-3 * expected.abs().max()


def test_float_layers_and_float_tensors_run_in_half_precision() -> None:
    graph = float_graph("fsrcnn-relu")
    q = quantize(graph, 8, 16, wide=FP16)
    x = picture(graph)
    assert q.float_layers
    assert not integer.exact(q)
    with torch.no_grad():
        expected = execute(graph, x)
    assert 0 < (integer.run(q, x) - expected).abs().max() < 0.02 * expected.abs().max()


def test_an_integer_layer_cannot_read_a_floating_point_tensor() -> None:
    q = one_layer(np.ones((1, 1, 3, 3), np.int8), TensorFormat(FP16), BYTE)
    with pytest.raises(ValueError, match="floating-point tensor"):
        integer.run(q, torch.zeros(1, 1, 4, 4))
