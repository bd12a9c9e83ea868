"""Operators of ONNX files as they are read, against ONNX Runtime on the same file, at sizes that the reader has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import SIZES, difference, node, written
from operator_samples import SAMPLES

from hwmodels.errors import FileError, UncountedError, UsageError
from hwsearch.formats.onnx.float_network import to_float_model
from hwsearch.formats.onnx.read import check
from hwsearch.formats.reading import file_network
from hwsearch.formats.reading.readers import inspect
from searchspaces.ir.graph import execute
from searchspaces.tracing.trace import trace


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind not in ("log", "sqrt", "rsqrt", "reciprocal")])
def test_what_we_write_is_read_for_every_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(to_float_model(SAMPLES[kind]()).SerializeToString())
    assert inspect(path).graph.size is None
    assert difference(path) < 1e-5


def _array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


I64 = np.int64
ONE: dict[str, tuple[int, onnx.NodeProto, dict[str, Any]]] = {
    "conv same upper": (17, node("Conv", "w", auto_pad="SAME_UPPER", kernel_shape=[4, 4]), {"w": _array(3, 4, 4, 4)}),
    "conv same lower, strided": (
        17,
        node("Conv", "w", "b", auto_pad="SAME_LOWER", strides=[2, 2], kernel_shape=[3, 3]),
        {"w": _array(3, 4, 3, 3), "b": _array(3)},
    ),
    "conv uneven": (
        9,
        node("Conv", "w", pads=[0, 1, 2, 3], strides=[2, 1], dilations=[1, 2], group=2),
        {"w": _array(6, 2, 3, 3)},
    ),
    "transposed": (
        11,
        node("ConvTranspose", "w", "b", strides=[2, 2], pads=[1, 1, 1, 1]),
        {"w": _array(4, 3, 4, 4), "b": _array(3)},
    ),
    "transposed, uneven": (
        11,
        node("ConvTranspose", "w", strides=[3, 3], pads=[1, 0, 2, 1], output_padding=[1, 2], group=2),
        {"w": _array(4, 3, 5, 5)},
    ),
    "transposed, same": (11, node("ConvTranspose", "w", strides=[2, 2], auto_pad="SAME_UPPER"), {"w": _array(4, 3, 3, 3)}),
    "transposed, to a size": (11, node("ConvTranspose", "w", strides=[2, 2], output_shape=[48, 64]), {"w": _array(4, 3, 3, 3)}),
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
    "min of an array": (13, node("Min", "c"), {"c": _array(4, 1, 1)}),
    "number less": (13, helper.make_node("Sub", ["c", "x"], ["y"]), {"c": np.float32(1)}),
    "number over": (13, helper.make_node("Div", ["c", "z"], ["y"]), {"c": np.float32(2)}),
    "power": (13, node("Pow", "c"), {"c": np.float32(2)}),
    "where": (13, helper.make_node("Where", ["m", "x", "c"], ["y"]), {"m": _array(4, 1, 1) > 0, "c": np.float32(0.5)}),
    "leaky": (16, node("LeakyRelu", alpha=0.2), {}),
    "prelu": (16, node("PRelu", "s"), {"s": _array(4, 1, 1)}),
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
        {"s": _array(4), "b": _array(4, seed=1), "m": _array(4, seed=2), "v": np.abs(_array(4, seed=3)) + 0.1},
    ),
    "instance normalization": (13, node("InstanceNormalization", "s", "b"), {"s": _array(4), "b": _array(4)}),
    "thresholded": (13, node("ThresholdedRelu", alpha=0.2), {}),
    "shrunk": (13, node("Shrink", bias=0.1, lambd=0.2), {}),
    "normalization by neighbours": (13, node("LRN", size=3, alpha=0.5, beta=0.75, bias=1.5), {}),
    "product": (13, node("ReduceProd", axes=[1], keepdims=0), {}),
    "product of no axis": (18, node("ReduceProd", noop_with_empty_axes=1), {}),
    "running total": (14, node("CumSum", "a"), {"a": np.array(1, I64)}),
    "running total from behind": (14, node("CumSum", "a", exclusive=1, reverse=1), {"a": np.array(-3, I64)}),
    "upsample linear of operator set 9": (9, node("Upsample", "s", mode="linear"), {"s": np.array([1, 1, 2, 3], np.float32)}),
    "layer normalization": (17, node("LayerNormalization", "s", axis=-1), {"s": np.array([0.5], np.float32)}),
    "group normalization": (21, node("GroupNormalization", "s", "b", num_groups=2), dict.fromkeys("sb", _array(4))),
    "rms normalization": (23, node("RMSNormalization", "s", axis=-1), {"s": np.array([0.5], np.float32)}),

    "what is less than a whole": (13, node("Mod", "c", fmod=1), {"c": np.float32(1)}),
}  # fmt: skip
TIMES: dict[str, tuple[float, float]] = {"half as large": (0.5, 0.5), "twice": (2, 2), "uneven": (3, 2), "between": (1.5, 1.25)}
RESIZED: dict[str, dict[str, Any]] = {
    "nearest, half pixel": {},
    **{
        f"nearest, {where}, {rounding}": {"nearest_mode": rounding, "coordinate_transformation_mode": where}
        for where in ("half_pixel", "asymmetric", "align_corners", "tf_half_pixel_for_nn")
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    },
    **{
        f"{mode}, {where}": {"mode": mode, "coordinate_transformation_mode": where}
        for mode in ("linear", "cubic")
        for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
    },
    "cubic, sharp": {"mode": "cubic", "cubic_coeff_a": -0.5},
    "cubic, without what lies outside": {"mode": "cubic", "exclude_outside": 1},
    "linear, filtered": {"mode": "linear", "antialias": 1},
    "cubic, filtered": {"mode": "cubic", "antialias": 1},
    "cubic, sharp, filtered, without what lies outside": {
        "mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1
    },
}  # fmt: skip


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", RESIZED)
def test_resizing(name: str, times: str, tmp_path: Path) -> None:
    """Of one size, as matrices and lists of places for a side need it; ties of nearest pixels are not told by random values."""
    one = node("Resize", "", "s", **RESIZED[name])
    path = written(
        tmp_path / "net.onnx", [one], {"s": np.array([1, 1, *TIMES[times]], np.float32)}, opset=19, sides=(1, 4, 24, 32)
    )
    assert difference(path, SIZES[:1]) < 1e-5


ODD: dict[str, tuple[dict[str, Any], tuple[float, float], tuple[int, int]]] = {
    "rows alone": ({"mode": "cubic", "cubic_coeff_a": -0.5}, (2, 1), (10, 10)),
    "rows alone, from the corner": ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, (1.5, 1), (10, 10)),
    "20.5 pixels are 20": ({"mode": "cubic"}, (2.05, 2.05), (10, 10)),
    "20.5 pixels are 20, nearest": (
        {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, (2.05, 2.05), (10, 10)
    ),
    "0.7 in single precision": ({"mode": "linear"}, (0.7, 0.7), (10, 20)),
    "ties in single precision": ({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, (1.1, 1.1), (24, 32)),
    "too little for a pixel more": ({"mode": "cubic", "cubic_coeff_a": -0.5}, (1.01, 1.01), (24, 32)),
    "too little for a row more, filtered": ({"mode": "cubic", "antialias": 1}, (1.1, 1.1), (9, 15)),
    "rows as they are": ({"mode": "linear", "coordinate_transformation_mode": "tf_half_pixel_for_nn"}, (1, 2), (5, 7)),
    "one row": ({"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, (0.1, 0.1), (10, 10)),
    "corners, filtered": (
        {"mode": "linear", "coordinate_transformation_mode": "align_corners", "antialias": 1}, (3, 3), (10, 10)
    ),
}  # fmt: skip
"""Attributes, factors and the size of a picture."""


@pytest.mark.parametrize("name", ODD)
def test_resizing_by_odd_factors_and_of_one_side(name: str, tmp_path: Path) -> None:
    attrs, factors, size = ODD[name]
    factor = {"s": np.array([1, 1, *factors], np.float32)}
    path = written(tmp_path / "net.onnx", [node("Resize", "", "s", **attrs)], factor, opset=19, sides=(1, 3, *size))
    assert difference(path, (size,)) < 1e-5


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", ["cubic, sharp", "cubic, asymmetric", "linear, half_pixel_symmetric"])
def test_enlargements_by_whole_factors_are_read_for_every_size(name: str, factor: int, tmp_path: Path) -> None:
    one = node("Resize", "", "s", **RESIZED[name])
    path = written(tmp_path / "net.onnx", [one], {"s": np.array([1, 1, factor, factor], np.float32)}, opset=19)
    assert inspect(path).graph.size is None
    assert difference(path) < 1e-5


def test_a_part_of_a_picture_is_refused_with_what_to_do(tmp_path: Path) -> None:
    one = node("Resize", "roi", "s", coordinate_transformation_mode="tf_crop_and_resize", mode="linear")
    arrays = {"s": np.array([1, 1, 2, 2], np.float32), "roi": np.array([0, 0, 0.1, 0, 1, 1, 0.9, 1], np.float32)}
    found = inspect(written(tmp_path / "net.onnx", [one], arrays, opset=19))
    assert "tf_crop_and_resize: cut the picture with a Slice" in found.graph.uncounted[0]


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
    path = written(tmp_path / "net.onnx", [*nodes, behind], {**constants, "mixed": _array(4, 4, seed=9)}, opset=opset)
    assert difference(path) < 1e-5


@pytest.mark.parametrize("opset", [9, 13])
def test_tokens_and_matrices(opset: int, tmp_path: Path) -> None:
    """Pixels as tokens by sizes that the file computes, products with constants on either side and of tensors."""
    axes: dict[str, Any] = {"axes": [0]} if opset < 13 else {}
    one = ["zero"] if opset >= 13 else []
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        *(helper.make_node("Gather", ["shape", f"i{i}"], [f"s{i}"], axis=0) for i in (0, 2, 3)),
        helper.make_node("Mul", ["s2", "s3"], ["area"]),
        *(helper.make_node("Unsqueeze", [name, *one], [f"{name}_"], **axes) for name in ("s0", "s2", "s3", "area")),
        helper.make_node("Concat", ["s0_", "four", "area_"], ["flat"], axis=0),
        helper.make_node("Reshape", ["x", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["tokens", "m"], ["q"]),
        helper.make_node("Add", ["q", "b"], ["qb"]),
        helper.make_node("MatMul", ["rows", "qb"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=2),
        helper.make_node("MatMul", ["weights", "rows"], ["mixed"]),
        helper.make_node("MatMul", ["left", "mixed"], ["more"]),
        helper.make_node("Concat", ["s0_", "four", "s2_", "s3_"], ["whole"], axis=0),
        helper.make_node("Reshape", ["more", "whole"], ["y"]),
    ]
    constants = {"i0": 0, "i2": 2, "i3": 3, "zero": [0], "four": [4]}
    arrays = {key: np.array(value, I64) for key, value in constants.items()}
    arrays |= {"m": _array(4, 4), "b": _array(4), "left": _array(4, 4, seed=1)}
    path = written(tmp_path / "net.onnx", nodes, arrays, opset=opset)
    found = inspect(path)
    assert found.graph.size is None
    assert [layer.op for layer in found.layers] == ["linear", "linear"]
    assert difference(path) < 1e-5


def test_a_slice_of_nothing(tmp_path: Path) -> None:
    """A shift by no place, as exporters spell it: what lies behind the end, and everything in front of that."""
    nodes = [
        helper.make_node("Slice", ["x", "end", "end", "axis"], ["nothing"]),
        helper.make_node("Slice", ["x", "zero", "end", "axis"], ["all"]),
        helper.make_node("Concat", ["nothing", "all"], ["y"], axis=2),
    ]
    places = {name: np.array([place], I64) for name, place in (("end", 999), ("zero", 0), ("axis", 2))}
    path = written(tmp_path / "net.onnx", nodes, places)
    assert not inspect(path).graph.uncounted
    assert difference(path) < 1e-6


def test_zeros_in_front_of_max_pooling_agree_with_the_runtime(tmp_path: Path) -> None:
    """Where all values are negative, the zeros are the largest; ONNX Runtime's fusion of the two would leave them out."""
    nodes = [
        helper.make_node("Neg", ["x"], ["below"]),
        helper.make_node("Pad", ["below", "pads"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3]),
    ]
    path = written(tmp_path / "net.onnx", nodes, {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], I64)})
    check(inspect(path), (12, 16))


def test_windows_that_end_at_the_border_of_odd_pictures_alone(tmp_path: Path) -> None:
    """Odd multiples of three have no window that the border cuts off, even ones do."""
    pool = node("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    found = inspect(written(tmp_path / "net.onnx", [pool], opset=19))
    assert "windows that are cut off by the border" in found.graph.uncounted[0]


def test_what_the_file_computes_of_constants(tmp_path: Path) -> None:
    """A pooled table as an operand, by the runtime; sizes and shapes, by the reference."""
    nodes = [
        helper.make_node("AveragePool", ["table"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["pooled", "rows"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["turned"], perm=[1, 0]),
        helper.make_node("Reshape", ["turned", "sides"], ["other"]),
        node("Mul", "other"),
    ]
    arrays = {"table": _array(1, 1, 4, 4), "rows": np.array([2, 2], I64), "sides": np.array([4, 1, 1], I64)}
    path = written(tmp_path / "net.onnx", nodes, arrays)
    assert [n.op.kind for n in inspect(path).graph.nodes] == ["input", "conv"]
    assert difference(path) < 1e-6


def test_copies_of_channels_are_a_repeat(tmp_path: Path) -> None:
    """As exporters spell torch.repeat_interleave, for one size and for all."""
    for sides in ((1, 4, 24, 32), ("n", 4, "h", "w")):
        nodes = [
            helper.make_node("Unsqueeze", ["x", "two"], ["apart"]),
            helper.make_node("Tile", ["apart", "times"], ["copies"]),
            helper.make_node("Shape", ["x"], ["shape"], start=2, end=4),
            helper.make_node("Concat", ["n", "c", "shape"], ["whole"], axis=0),
            helper.make_node("Reshape", ["copies", "whole"], ["y"]),
        ]
        arrays = {
            key: np.array(value, I64) for key, value in {"two": [2], "times": [1, 1, 3, 1, 1], "n": [-1], "c": [12]}.items()
        }
        path = written(tmp_path / "net.onnx", nodes, arrays, sides=sides)
        assert [n.op.kind for n in inspect(path).graph.nodes] == ["input", "repeat"]
        assert difference(path, SIZES if sides[0] == "n" else SIZES[:1]) == 0


def test_a_deviation_in_steps_is_one_operator(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", axes=[2, 3], out="mean"),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["variance"], axes=[2, 3]),
        helper.make_node("Sqrt", ["variance"], ["y"]),
    ]
    path = written(tmp_path / "net.onnx", nodes, opset=13)
    assert [n.op.kind for n in inspect(path).graph.nodes] == ["input", "std"]
    assert difference(path) < 1e-6


def test_padding_of_what_lies_channels_last(tmp_path: Path) -> None:
    """Values mirrored at the border of a tensor whose channels are last, seen through a transpose."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "same"], ["lies"]),
        helper.make_node("Mul", ["lies", "scales"], ["more"]),
        helper.make_node("Transpose", ["more"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Pad", ["first", "pads"], ["y"], mode="reflect"),
    ]
    arrays = {"same": np.array([1, 24 * 8, 4, 4], I64), "scales": _array(4), "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1], I64)}
    path = written(tmp_path / "net.onnx", nodes, arrays, sides=(1, 4, 24, 32))
    assert difference(path, SIZES[:1]) < 1e-6


def test_channels_last_at_the_door_leaves_no_trace(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "w"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["c", "scales"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    arrays = {"w": _array(3, 3, 3, 3), "scales": _array(3)}
    found = inspect(written(tmp_path / "net.onnx", nodes, arrays, sides=(1, 24, 32, 3)))
    assert [n.op.kind for n in found.graph.nodes] == ["input", "conv"]
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    x = torch.rand(1, 3, 24, 32)
    theirs = session.run(None, {"x": x.permute(0, 2, 3, 1).numpy()})[0].transpose(0, 3, 1, 2)
    assert np.allclose(execute(found.graph, x).numpy(), theirs, atol=1e-5)


@pytest.mark.parametrize("order", [["y", "features", "small"], ["features", "small", "y"]])
@pytest.mark.parametrize("last", [False, True])
def test_of_several_outputs_the_largest_picture_is_read(order: list[str], last: bool, tmp_path: Path) -> None:
    first = "turned" if last else "x"
    nodes = [
        *([helper.make_node("Transpose", ["x"], [first], perm=[0, 3, 1, 2])] if last else []),
        helper.make_node("Conv", [first, "w"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [first], ["inner" if last else "small"]),
        helper.make_node("DepthToSpace", ["features"], ["large" if last else "y"], blocksize=2),
        *(
            [helper.make_node("Transpose", [a], [b], perm=[0, 2, 3, 1]) for a, b in (("inner", "small"), ("large", "y"))]
            if last
            else []
        ),
    ]
    sides = ("n", "h", "w", 3) if last else ("n", 3, "h", "w")
    path = written(tmp_path / "net.onnx", nodes, {"w": _array(12, 3, 3, 3)}, sides=sides, output=order[0])
    model = onnx.load(path)
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in order[1:])
    onnx.save(model, path)
    found = inspect(path)
    assert [node.op.kind for node in found.graph.nodes][-1] in ("pixel_shuffle", "gather")
    assert found.taken == order.index("y")
    assert f"{'the first' if order[0] == 'y' else 'y'} of 3 outputs is read" in found.remarks[0]
    check(found, (24, 32))


def test_a_branch_that_the_size_decides(tmp_path: Path) -> None:
    def branch(name: str, kind: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(kind, ["x"], [name])], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
        )

    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=1, end=2),
        helper.make_node("Equal", ["s", "four"], ["is"]),
        helper.make_node("If", ["is"], ["y"], then_branch=branch("t", "Sigmoid"), else_branch=branch("e", "Relu")),
    ]
    path = written(tmp_path / "net.onnx", nodes, {"four": np.array([4], I64)})
    assert [n.op.kind for n in inspect(path).graph.nodes] == ["input", "sigmoid"]


def small(path: Path, **more: Any) -> Path:
    return written(path, [node("Conv", "w", pads=[1, 1, 1, 1])], {"w": _array(4, 4, 3, 3)}, **more)


def test_a_relu_that_a_quantizer_swallowed_is_read(tmp_path: Path) -> None:
    """Unsigned codes whose zero point is their lowest cut negative values off; a zero point in the middle does not."""
    for zero in (0, 128):
        nodes = [
            node("Conv", "w", out="a"),
            helper.make_node("QuantizeLinear", ["a", "s", "z"], ["b"]),
            helper.make_node("DequantizeLinear", ["b", "s", "z"], ["y"]),
        ]
        path = written(tmp_path / "net.onnx", nodes, {"w": _array(4, 4, 1, 1), "s": np.float32(0.05), "z": np.uint8(zero)})
        found = inspect(path)
        assert [n.op.kind for n in found.graph.nodes] == ["input", "conv"]
        assert (found.graph.output.activation is not None) == (zero == 0)
        assert found.layers[0].activation_bits == 8


def test_a_file_becomes_a_network_with_its_widths(tmp_path: Path) -> None:
    codes = np.array([[[[-128]], [[127]], [[3]], [[-4]]]] * 4, np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["b"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["real"], axis=0),
        helper.make_node("Conv", ["b", "real"], ["y"]),
    ]
    constants = {
        "s": np.float32(1 / 255),
        "z": np.uint16(0),
        "w": codes,
        "sw": np.full(4, 0.01, np.float32),
        "zw": np.zeros(4, np.int8),
    }
    network = file_network.load(written(tmp_path / "net.onnx", nodes, constants, opset=21))
    assert dict(network.widths) == {"w": 8, "-> input": 16}
    assert torch.equal(network.module.state_dict()["w.weight"], torch.from_numpy(codes.astype(np.float32) * np.float32(0.01)))
    assert any("in integers already" in remark for remark in network.remarks)


# What is refused


def test_an_operator_that_is_not_read_is_named_with_its_node(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [helper.make_node("Det", ["x"], ["d"], name="/head/det"), node("Asin", out="y")])
    with pytest.raises(UncountedError, match="Asin y"):
        file_network.load(path)


@pytest.mark.parametrize(
    ("location", "message"),
    [("../w.bin", "outside"), ("/etc/passwd", "outside"), ("missing.bin", "not there"), ("short.bin", "has 10")],
)
def test_weights_in_another_file(location: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(4 * 4 * 9 * 4))
    (tmp_path / "in" / "short.bin").write_bytes(bytes(10))
    path = small(tmp_path / "in" / "net.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(4 * 4 * 9 * 4))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match=message):
        inspect(path)


def test_weights_behind_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(4 * 4 * 9 * 4))
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    path = small(tmp_path / "in" / "net.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match="outside"):
        inspect(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"opset": 8}, "operator set 8"),
        ({"sides": (2, 4, 8, 8)}, "2 pictures at once"),
        ({"sides": ("n", "c", 8, 8)}, "channels"),
        ({"sides": ("n", 4, 8)}, "3 axes"),
        ({"sides": (1, 4, 8, "w")}, "one side"),
        ({"sides": (1, 5, 8, 8)}, "weights for 4 channels read 5"),
        ({"output": "nobody"}, "output"),
    ],
)
def test_what_is_no_network_of_pictures(how: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=message):
        inspect(small(tmp_path / "net.onnx", **how))


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [node("Conv", "w.weight")], {"w.weight": np.full((4, 4, 1, 1), np.nan, np.float32)})
    with pytest.raises(FileError, match=r"w\.weight"):
        file_network.load(path)


def test_a_network_that_gives_no_picture(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [node("Flatten")])
    with pytest.raises(UsageError, match="becomes"):
        file_network.load(path)


def test_a_table_of_a_few_bytes_that_asks_for_all_memory(tmp_path: Path) -> None:
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["big"]), node("Add", "big")]
    with pytest.raises(FileError, match="numbers"):
        inspect(written(tmp_path / "net.onnx", nodes, {"s": np.array([1 << 20, 1 << 20], I64)}))


def test_the_cases(shared: Path) -> None:
    """Older operator sets, channels last, dynamic sizes, weights in a second file, a quantized file."""
    names = ("op9", "op10", "nhwc", "bil_dyn", "external", "QDQ_a16w8")
    for name in names:
        network = file_network.load(shared / "cases" / f"{name}.onnx")  # compared with ONNX Runtime there
        assert trace(network.module, network.channels, name).size is None
        assert network.scale == 2
    assert {bits for bits in network.widths.values()} == {8, 16}
