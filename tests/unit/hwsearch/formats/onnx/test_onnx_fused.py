"""Operators that ONNX Runtime's optimizer puts in place of several, against ONNX Runtime; and files that it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from attention_block import shifted
from onnx import helper
from onnx_files import SIZES, array, difference, node, written
from random_networks import quantize
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.onnx import write
from hwsearch.formats.onnx.float_network import to_float_model
from hwsearch.formats.onnx.read import check
from hwsearch.formats.reading.readers import inspect
from searchspaces.tracing.trace import trace

SIZE = SIZES[0]
SIDES = (1, 4, *SIZE)
TOKENS, CHANNELS = SIZE[0] * SIZE[1] // 8, 32
"""Of a picture of 4 channels, as the tests cut it into rows."""
OWN = "com.microsoft"


def _file(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], opset: int = 13) -> Path:
    found = written(path, nodes, constants, opset=opset, sides=SIDES)
    model = onnx.load(found)
    model.opset_import.append(helper.make_opsetid(OWN, 1))
    onnx.save(model, found)
    return found


@pytest.mark.parametrize(
    ("kind", "attrs", "constants"),
    [
        ("QuickGelu", {}, {}),
        ("QuickGelu", {"alpha": 1.5}, {}),
        ("Gelu", {}, {}),
        ("FastGelu", {}, {}),
        ("FastGelu", {}, {"b": array(32)}),
        ("BiasGelu", {}, {"b": array(32)}),
        ("FusedConv", {"activation": "Relu", "pads": [1, 1, 1, 1]}, {"w": array(4, 4, 3, 3), "b": array(4)}),
        ("FusedConv", {"activation": "LeakyRelu", "activation_params": [0.2]}, {"w": array(2, 4, 3, 3)}),
        ("FusedMatMul", {"alpha": 0.3, "transB": 1}, {"m": array(5, 32)}),
        ("FusedMatMul", {"alpha": 0.3, "transA": 1}, {"m": array(24, 5)}),
    ],
)
def test_functions_and_layers(kind: str, attrs: dict[str, Any], constants: dict[str, Any], tmp_path: Path) -> None:
    assert difference(_file(tmp_path / "net.onnx", [node(kind, *constants, domain=OWN, **attrs)], constants), [SIZE]) < 1e-5


def test_a_sum_in_a_convolution(tmp_path: Path) -> None:
    """The summand stands behind the bias, the function behind the sum."""
    nodes = [
        helper.make_node("Exp", ["x"], ["z"]),
        helper.make_node("FusedConv", ["x", "w", "b", "z"], ["y"], domain=OWN, pads=[1, 1, 1, 1], activation="Relu"),
    ]
    assert difference(_file(tmp_path / "net.onnx", nodes, {"w": array(4, 4, 3, 3), "b": array(4)}), [SIZE]) < 1e-5


def _tokens() -> list[onnx.NodeProto]:
    return [helper.make_node("Reshape", ["x", "tokens"], ["t"]), helper.make_node("MatMul", ["t", "turn"], ["u"])]


CONSTANTS: dict[str, Any] = {
    "tokens": np.array([1, TOKENS, CHANNELS]), "picture": np.array([1, -1, *SIZE]), "turn": array(CHANNELS, CHANNELS) / 6,
    "gamma": array(CHANNELS, seed=1), "beta": array(CHANNELS, seed=2), "bias": array(CHANNELS, seed=3),
    "w": array(CHANNELS, 3 * CHANNELS, seed=4) / 6, "wide": array(3 * CHANNELS, seed=5),
    "narrow": array(CHANNELS, 80, seed=7) / 6, "less": array(80, seed=8), "mask": array(1, 4, TOKENS, TOKENS, seed=6),
    "four": np.array([1, TOKENS, 4, CHANNELS // 4]),
}  # fmt: skip
OF_TOKENS: dict[str, list[onnx.NodeProto]] = {
    "norm of a sum": [helper.make_node("SkipLayerNormalization", ["t", "u", "gamma", "beta"], ["v"], domain=OWN)],
    "norm of a sum and a bias, and the sum": [
        helper.make_node("SkipLayerNormalization", ["t", "u", "gamma", "", "bias"], ["n", "", "", "s"], domain=OWN, epsilon=0.1),
        helper.make_node("Sub", ["n", "s"], ["v"]),
    ],
    "root mean square of a sum": [
        helper.make_node("SkipSimplifiedLayerNormalization", ["t", "u", "gamma"], ["n", "", "", "s"], domain=OWN, epsilon=0.1),
        helper.make_node("Sub", ["n", "s"], ["v"]),
    ],
    "root mean square": [helper.make_node("SimplifiedLayerNormalization", ["t", "gamma"], ["v"], axis=-1, epsilon=0.1)],
    "attention": [helper.make_node("Attention", ["t", "w", "wide"], ["v"], domain=OWN, num_heads=4)],
    "attention with a bias of places, by a scale of its own": [
        helper.make_node("Attention", ["t", "w", "wide", "", "", "mask"], ["v"], domain=OWN, num_heads=4, scale=0.1)
    ],
    "attention with narrower keys": [
        helper.make_node("Attention", ["t", "narrow", "less"], ["v"], domain=OWN, num_heads=4, qkv_hidden_sizes=[24, 24, 32])
    ],
    "attention of three": [helper.make_node("MultiHeadAttention", ["t", "u", "u"], ["v"], domain=OWN, num_heads=4)],
    "attention of three with a bias": [
        helper.make_node("MultiHeadAttention", ["t", "u", "t", "wide", "", "mask"], ["v"], domain=OWN, num_heads=4)
    ],
    "attention of ONNX": [helper.make_node("Attention", ["t", "u", "t"], ["v"], q_num_heads=4, kv_num_heads=4)],
    "attention of ONNX, of heads": [
        *(helper.make_node("Reshape", [one, "four"], [f"{one}4"]) for one in "tu"),
        *(helper.make_node("Transpose", [f"{one}4"], [f"{one}h"], perm=[0, 2, 1, 3]) for one in "tu"),
        helper.make_node("Attention", ["th", "uh", "th", "mask"], ["h"], scale=0.2),
        helper.make_node("Transpose", ["h"], ["v"], perm=[0, 2, 1, 3]),
    ],
}


@pytest.mark.parametrize("name", OF_TOKENS)
def test_operators_of_tokens(name: str, tmp_path: Path) -> None:
    nodes = [*_tokens(), *OF_TOKENS[name], helper.make_node("Reshape", ["v", "picture"], ["y"])]
    read = {one for each in nodes for one in each.input}
    path = _file(tmp_path / "net.onnx", nodes, {key: value for key, value in CONSTANTS.items() if key in read}, opset=23)
    assert not inspect(path).graph.uncounted
    assert difference(path, [SIZE]) < 2e-5


FOLLOWS = "a mask of what follows"


@pytest.mark.parametrize(
    ("kind", "reads", "attrs", "said"),
    [
        ("Attention", ["t", "w", "wide"], {"domain": OWN, "num_heads": 4, "unidirectional": 1}, FOLLOWS),
        ("Attention", ["t", "t", "t"], {"q_num_heads": 4, "kv_num_heads": 4, "is_causal": 1}, FOLLOWS),
        ("Attention", ["t", "u", "t"], {"q_num_heads": 8, "kv_num_heads": 4}, "keys that several heads share"),
        ("MultiHeadAttention", ["t", "u", "u", "", "lengths"], {"domain": OWN, "num_heads": 4}, "are left out"),
    ],
)
def test_what_of_attention_is_not_read_is_named(
    kind: str, reads: list[str], attrs: dict[str, Any], said: str, tmp_path: Path
) -> None:
    constants = {**CONSTANTS, "lengths": np.array([3], np.int32)}
    nodes = [*_tokens(), helper.make_node(kind, reads, ["v"], **attrs), helper.make_node("Reshape", ["v", "picture"], ["y"])]
    assert said in inspect(_file(tmp_path / "net.onnx", nodes, constants, opset=23)).graph.uncounted[0]


def test_codes_that_are_averaged(tmp_path: Path) -> None:
    """With their channels first, and last."""
    grid = {"s": np.float32(0.05), "z": np.uint8(100), "s2": np.float32(0.04), "z2": np.uint8(90)}
    for last in (0, 1):
        turn = [0, 2, 3, 1] if last else [0, 1, 2, 3]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("Transpose", ["q"], ["t"], perm=turn),
            helper.make_node(
                "QLinearAveragePool", ["t", "s", "z", "s2", "z2"], ["p"], domain=OWN, kernel_shape=[2, 2], strides=[2, 2],
                channels_last=last,
            ),
            helper.make_node("Transpose", ["p"], ["u"], perm=list(np.argsort(turn))),
            helper.make_node("DequantizeLinear", ["u", "s2", "z2"], ["y"]),
        ]  # fmt: skip
        path = _file(tmp_path / f"{last}.onnx", nodes, grid)
        assert [one.op.kind for one in inspect(path).graph.nodes] == ["input", "avg_pool"]
        assert difference(path, [SIZE]) < 0.05 + 0.04  # a step of each grid


class Net(nn.Module):
    """What super-resolution networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.depth, self.tail = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.head(x))
        z = nn.functional.leaky_relu(self.depth(torch.relu(self.body(y) + y)), 0.1)
        z = nn.functional.gelu(nn.functional.avg_pool2d(z * torch.sigmoid(z.mean((2, 3), keepdim=True)), 2))
        return nn.functional.pixel_shuffle(self.tail(nn.functional.interpolate(z, scale_factor=2)), 2)


def _optimized(path: Path, level: onnxruntime.GraphOptimizationLevel) -> Path:
    """The file as ONNX Runtime writes it once it has optimized it."""
    options, behind = onnxruntime.SessionOptions(), path.with_name("optimized.onnx")
    options.graph_optimization_level, options.optimized_model_filepath, options.log_severity_level = level, str(behind), 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return behind


@pytest.mark.parametrize("name", ["convolutions", "attention"])
def test_files_that_the_runtime_has_optimized(name: str, tmp_path: Path) -> None:
    graph = trace(Net().eval(), 3, "net", 2) if name == "convolutions" else shifted()
    path = tmp_path / "net.onnx"
    path.write_bytes(to_float_model(graph).SerializeToString())
    behind = _optimized(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    assert {one.domain for one in onnx.load(behind).graph.node} >= {OWN}
    found = inspect(behind)
    assert not found.graph.uncounted
    check(found, (8, 8))


def test_codes_that_the_runtime_has_optimized(tmp_path: Path) -> None:
    q = quantize(
        trace(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1)).eval(), 3, "net"), 8, 8
    )
    path = write.export(q, tmp_path / "net.onnx", metadata={})
    found = inspect(_optimized(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED))
    assert [layer.weight_bits for layer in found.layers] == [8, 8]


def test_a_layout_of_one_cpu_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(to_float_model(trace(Net().eval(), 3, "net", 2)).SerializeToString())
    behind = _optimized(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    if all(one.domain != "com.microsoft.nchwc" for one in onnx.load(behind).graph.node):
        pytest.skip("this CPU has no such layout")
    with pytest.raises(FileError, match="laid out for one kind of CPU") as refused:
        inspect(behind)
    assert "ORT_ENABLE_EXTENDED" in refused.value.hint
