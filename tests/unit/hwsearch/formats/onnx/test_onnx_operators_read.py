"""Single operators of ONNX files as they are read, against ONNX Runtime, at sizes that the reader has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_files import array, difference, node, written
from operator_samples import SAMPLES

from hwsearch.formats.onnx.float_network import to_float_model
from hwsearch.formats.reading.readers import inspect


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind not in ("log", "sqrt", "rsqrt", "reciprocal")])
def test_what_we_write_is_read_for_every_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(to_float_model(SAMPLES[kind]()).SerializeToString())
    assert inspect(path).graph.size is None
    assert difference(path) < 1e-5


I64 = np.int64
ONE: dict[str, tuple[int, onnx.NodeProto, dict[str, Any]]] = {
    "conv same upper": (17, node("Conv", "w", auto_pad="SAME_UPPER", kernel_shape=[4, 4]), {"w": array(3, 4, 4, 4)}),
    "conv same lower, strided": (
        17,
        node("Conv", "w", "b", auto_pad="SAME_LOWER", strides=[2, 2], kernel_shape=[3, 3]),
        {"w": array(3, 4, 3, 3), "b": array(3)},
    ),
    "conv uneven": (
        9,
        node("Conv", "w", pads=[0, 1, 2, 3], strides=[2, 1], dilations=[1, 2], group=2),
        {"w": array(6, 2, 3, 3)},
    ),
    "transposed": (
        11,
        node("ConvTranspose", "w", "b", strides=[2, 2], pads=[1, 1, 1, 1]),
        {"w": array(4, 3, 4, 4), "b": array(3)},
    ),
    "transposed, uneven": (
        11,
        node("ConvTranspose", "w", strides=[3, 3], pads=[1, 0, 2, 1], output_padding=[1, 2], group=2),
        {"w": array(4, 3, 5, 5)},
    ),
    "transposed, same": (11, node("ConvTranspose", "w", strides=[2, 2], auto_pad="SAME_UPPER"), {"w": array(4, 3, 3, 3)}),
    "transposed, to a size": (11, node("ConvTranspose", "w", strides=[2, 2], output_shape=[48, 64]), {"w": array(4, 3, 3, 3)}),
    "depth to space DCR": (11, node("DepthToSpace", blocksize=2), {}),
    "depth to space CRD": (13, node("DepthToSpace", blocksize=2, mode="CRD"), {}),
    "space to depth": (13, node("SpaceToDepth", blocksize=2), {}),
    "upsample of operator set 9": (9, node("Upsample", "s", mode="nearest"), {"s": np.array([1, 1, 2, 2], np.float32)}),
    "resize of operator set 10": (10, node("Resize", "s", mode="nearest"), {"s": np.array([1, 1, 3, 3], np.float32)}),
    "resize linear by 1.5": (13, node("Resize", "", "s", mode="linear"), {"s": np.array([1, 1, 1.5, 1.5], np.float32)}),
    "resize cubic, axes": (
        18,
        node("Resize", "", "s", mode="cubic", axes=[2, 3]),
        {"s": np.array([2, 2], np.float32)},
    ),
    "pad of operator set 10": (10, node("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 4], value=0.5), {}),
    "pad edge, axes": (18, node("Pad", "p", "", "a", mode="edge"), {"p": np.array([1, 2, 3, 0]), "a": np.array([2, -1])}),
    "clip of operator set 9": (9, node("Clip", min=-0.1, max=0.3), {}),
    "clip to six": (13, node("Clip", "l", "u"), {"l": np.float32(0), "u": np.float32(6)}),
    "slice of operator set 9": (9, node("Slice", axes=[1, 3], starts=[1, 2], ends=[9, -1]), {}),
    "slice by steps": (
        13,
        node("Slice", "b", "e", "a", "s"),
        {"b": np.array([0, -1], I64), "e": np.array([99, -999], I64), "a": np.array([2, 3], I64), "s": np.array([2, -1], I64)},
    ),
    "gather, channels swapped": (13, node("Gather", "i", axis=1), {"i": np.array([2, 1, 0], I64)}),
    "gather, one": (13, node("Gather", "i", axis=1), {"i": np.array(-1, I64)}),
    "gather, repeated": (13, node("Gather", "i", axis=1), {"i": np.repeat(np.arange(4), 3)}),
    "gather elements": (
        13,
        node("GatherElements", "i", axis=3),
        {"i": np.tile(np.array([3, -1, 0], I64), (1, 4, 24, 1))},
    ),
    "gather nd": (13, node("GatherND", "i"), {"i": np.array([[[0, 3], [0, -3]]], I64)}),
    "flatten": (13, node("Flatten", axis=2), {}),
    "squeeze back": (13, node("Unsqueeze", "a"), {"a": np.array([2, -1], I64)}),
    "unsqueeze of operator set 11": (11, node("Unsqueeze", axes=[0]), {}),
    "tile": (13, node("Tile", "t"), {"t": np.array([1, 2, 1, 3], I64)}),
    "expand": (13, node("Expand", "s"), {"s": np.array([1, 1, 1, 1], I64)}),
    "max of a number": (13, node("Max", "c"), {"c": np.float32(0.1)}),
    "min of an array": (13, node("Min", "c"), {"c": array(4, 1, 1)}),
    "number less": (13, helper.make_node("Sub", ["c", "x"], ["y"]), {"c": np.float32(1)}),
    "number over": (13, helper.make_node("Div", ["c", "z"], ["y"]), {"c": np.float32(2)}),
    "power": (13, node("Pow", "c"), {"c": np.float32(2)}),
    "where": (13, helper.make_node("Where", ["m", "x", "c"], ["y"]), {"m": array(4, 1, 1) > 0, "c": np.float32(0.5)}),
    "leaky": (16, node("LeakyRelu", alpha=0.2), {}),
    "prelu": (16, node("PRelu", "s"), {"s": array(4, 1, 1)}),
    "prelu of columns": (16, node("PRelu", "s"), {"s": np.array([0.5], np.float32)}),
    "selu": (13, node("Selu"), {}),
    "hard sigmoid of its own": (13, node("HardSigmoid"), {}),
    "mish": (18, node("Mish"), {}),
    "gelu": (20, node("Gelu", approximate="tanh"), {}),
    "softmax of operator set 11": (11, node("Softmax", axis=2), {}),
    "softmax of channels": (13, node("Softmax", axis=1), {}),
    "log softmax": (13, node("LogSoftmax", axis=-1), {}),
    "mean over pixels": (13, node("ReduceMean", axes=[2, 3], keepdims=0), {}),
    "sum, axes as input": (13, node("ReduceSum", "a"), {"a": np.array([1], I64)}),
    "length": (13, node("ReduceL2", axes=[1]), {}),
    "lp normalization": (13, node("LpNormalization", axis=1), {}),
    "max pooling": (12, node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), {}),
    "max pooling, dilated": (12, node("MaxPool", kernel_shape=[3, 2], dilations=[2, 3], strides=[1, 2]), {}),
    "max pooling, dilated, beyond the border": (
        12,
        node("MaxPool", kernel_shape=[3, 3], dilations=[2, 2], pads=[2, 2, 2, 2]),
        {},
    ),
    "lengths of windows": (18, node("LpPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), {}),
    "sizes of windows": (11, node("LpPool", kernel_shape=[2, 3], p=1, pads=[0, 1, 1, 1]), {}),
    "length of a picture": (13, node("GlobalLpPool"), {}),
    "power of a picture": (13, node("GlobalLpPool", p=4), {}),
    "remainder": (13, node("Mod", "c", fmod=1), {"c": np.float32(0.3)}),
    "max pooling, one pixel behind": (12, node("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_UPPER"), {}),
    "average pooling": (19, node("AveragePool", kernel_shape=[2, 2], strides=[2, 2]), {}),
    "average pooling, padded": (11, node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), {}),
    "global max": (13, node("GlobalMaxPool"), {}),
    "batch normalization": (
        15,
        node("BatchNormalization", "s", "b", "m", "v"),
        {"s": array(4), "b": array(4, seed=1), "m": array(4, seed=2), "v": np.abs(array(4, seed=3)) + 0.1},
    ),
    "instance normalization": (13, node("InstanceNormalization", "s", "b"), {"s": array(4), "b": array(4)}),
    "thresholded": (13, node("ThresholdedRelu", alpha=0.2), {}),
    "shrunk": (13, node("Shrink", bias=0.1, lambd=0.2), {}),
    "normalization by neighbours": (13, node("LRN", size=3, alpha=0.5, beta=0.75, bias=1.5), {}),
    "product": (13, node("ReduceProd", axes=[1], keepdims=0), {}),
    "product of no axis": (18, node("ReduceProd", noop_with_empty_axes=1), {}),
    "running total": (14, node("CumSum", "a"), {"a": np.array(1, I64)}),
    "running total from behind": (14, node("CumSum", "a", exclusive=1, reverse=1), {"a": np.array(-3, I64)}),
    "upsample linear of operator set 9": (9, node("Upsample", "s", mode="linear"), {"s": np.array([1, 1, 2, 3], np.float32)}),
    "layer normalization": (17, node("LayerNormalization", "s", axis=-1), {"s": np.array([0.5], np.float32)}),
    "group normalization": (21, node("GroupNormalization", "s", "b", num_groups=2), dict.fromkeys("sb", array(4))),
    "rms normalization": (23, node("RMSNormalization", "s", axis=-1), {"s": np.array([0.5], np.float32)}),

    "what is less than a whole": (13, node("Mod", "c", fmod=1), {"c": np.float32(1)}),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_one_operator(name: str, tmp_path: Path) -> None:
    opset, one, constants = ONE[name]
    nodes = [one]
    if "z" in one.input:  # away from zero
        nodes.insert(0, helper.make_node("Exp", ["x"], ["z"]))
    assert difference(written(tmp_path / "net.onnx", nodes, constants, opset=opset)) < 1e-5


def test_a_threshold_below_zero_is_not_read(tmp_path: Path) -> None:
    """Values near zero lie beyond it on both sides: which one counts is a matter of order."""
    found = inspect(written(tmp_path / "net.onnx", [node("Shrink", bias=0.3, lambd=-0.1)], {}))
    assert "a threshold below zero" in found.graph.uncounted[0]


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("pads", [[1, 1], [0, 2]])
def test_pooling_of_lines(kind: str, pads: list[int], tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "line"], ["lines"]),
        helper.make_node(kind, ["lines"], ["y"], kernel_shape=[3], strides=[2], pads=pads),
    ]
    if (kind, pads) == ("AveragePool", [0, 2]):
        nodes[1].attribute.append(helper.make_attribute("count_include_pad", 1))
    assert difference(written(tmp_path / "net.onnx", nodes, {"line": np.array([0, 4, -1], I64)})) < 1e-6


@pytest.mark.parametrize("name", ONE)
def test_one_operator_of_what_lies_channels_last(name: str, tmp_path: Path) -> None:
    """Behind a product over the last axis the tensor lies with its channels last, seen through a transpose."""
    opset, one, constants = ONE[name]
    nodes = [
        helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["last", "mixed"], ["lies"]),
        helper.make_node("Transpose", ["lies"], ["first"], perm=[0, 3, 1, 2]),
        *([helper.make_node("Exp", ["first"], ["z"])] if "z" in one.input else []),
    ]
    behind = onnx.NodeProto()
    behind.CopyFrom(one)
    behind.input[:] = ["first" if read == "x" else read for read in one.input]
    path = written(tmp_path / "net.onnx", [*nodes, behind], {**constants, "mixed": array(4, 4, seed=9)}, opset=opset)
    assert difference(path) < 1e-5
