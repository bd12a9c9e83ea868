"""Networks of several operators in ONNX files as they are read, against ONNX Runtime on the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import SIZES, array, difference, node, written

from hwsearch.formats.onnx.read import check
from hwsearch.formats.reading import file_network
from hwsearch.formats.reading.readers import inspect
from searchspaces.ir.graph import execute
from searchspaces.tracing.trace import trace

I64 = np.int64


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
    arrays |= {"m": array(4, 4), "b": array(4), "left": array(4, 4, seed=1)}
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
    arrays = {"table": array(1, 1, 4, 4), "rows": np.array([2, 2], I64), "sides": np.array([4, 1, 1], I64)}
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
    arrays = {"same": np.array([1, 24 * 8, 4, 4], I64), "scales": array(4), "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1], I64)}
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
    arrays = {"w": array(3, 3, 3, 3), "scales": array(3)}
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
    path = written(tmp_path / "net.onnx", nodes, {"w": array(12, 3, 3, 3)}, sides=sides, output=order[0])
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


def test_a_relu_that_a_quantizer_swallowed_is_read(tmp_path: Path) -> None:
    """Unsigned codes whose zero point is their lowest cut negative values off; a zero point in the middle does not."""
    for zero in (0, 128):
        nodes = [
            node("Conv", "w", out="a"),
            helper.make_node("QuantizeLinear", ["a", "s", "z"], ["b"]),
            helper.make_node("DequantizeLinear", ["b", "s", "z"], ["y"]),
        ]
        path = written(tmp_path / "net.onnx", nodes, {"w": array(4, 4, 1, 1), "s": np.float32(0.05), "z": np.uint8(zero)})
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


def test_the_cases(shared: Path) -> None:
    """Older operator sets, channels last, dynamic sizes, weights in a second file, a quantized file."""
    names = ("op9", "op10", "nhwc", "bil_dyn", "external", "QDQ_a16w8")
    for name in names:
        network = file_network.load(shared / "cases" / f"{name}.onnx")  # compared with ONNX Runtime there
        assert trace(network.module, network.channels, name).size is None
        assert network.scale == 2
    assert {bits for bits in network.widths.values()} == {8, 16}
