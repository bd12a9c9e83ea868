"""Files that take or give pictures as bytes: the network between the conversions, compared with the file in its runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hwmodels.errors import FileError
from hwsearch.formats.onnx.reading import byte_pictures
from hwsearch.formats.reading import file_network, readers
from hwsearch.formats.reading.agreement import agree
from hwsearch.formats.tflite.writing.file import FlatModel, Options
from searchspaces.networks.adapted import value_range

WEIGHT = (0.3 * np.random.default_rng(0).normal(size=(3, 3, 3, 3))).astype(np.float32)
CONSTANTS = {"w": WEIGHT, "s": np.float32(255), "low": np.float32(0), "high": np.float32(255), "half": np.float32(0.5)}
CONV = helper.make_node("Conv", ["unit", "w"], ["conv"], pads=[1, 1, 1, 1])
FROM_BYTES = [
    helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
    helper.make_node("Div", ["real", "s"], ["unit"]),
]
TO_255 = [helper.make_node("Mul", ["conv", "s"], ["wide"]), helper.make_node("Clip", ["wide", "low", "high"], ["inside"])]
ROUNDED = [
    helper.make_node("Round", ["inside"], ["whole"]),
    helper.make_node("Cast", ["whole"], ["y"], to=TensorProto.UINT8),
]
CUT_OFF = [
    helper.make_node("Add", ["inside", "half"], ["more"]),
    helper.make_node("Clip", ["more", "low", "high"], ["again"]),
    helper.make_node("Cast", ["again"], ["y"], to=TensorProto.UINT8),
]
FILES = {
    "bytes on both sides": ("u8", "u8", [*FROM_BYTES, CONV, *TO_255, *ROUNDED], "0..255"),
    "cut off": ("u8", "u8", [*FROM_BYTES, CONV, *TO_255, *CUT_OFF], "0..255"),
    "bytes in": ("u8", "f32", [*FROM_BYTES, CONV, helper.make_node("Identity", ["conv"], ["y"])], "0..255"),
    "bytes out": ("f32", "u8", [helper.make_node("Identity", ["x"], ["unit"]), CONV, *TO_255, *ROUNDED], "0..1:0..255"),
}
KINDS = {"u8": TensorProto.UINT8, "f32": TensorProto.FLOAT}


def onnx_file(path: Path, taken: str, given: str, nodes: list[onnx.NodeProto], *, last: bool = False) -> Path:
    sides = ("n", "h", "w", 3) if last else ("n", 3, "h", "w")
    if last:
        turned = helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2])
        back = helper.make_node("Transpose", ["before"], ["y"], perm=[0, 2, 3, 1])
        renamed = {"x": "first", "y": "before"}
        nodes = [turned, *(_renamed(node, renamed) for node in nodes), back]
    ends = [helper.make_tensor_value_info("x", KINDS[taken], sides), helper.make_tensor_value_info("y", KINDS[given], None)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in CONSTANTS.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.input[:] = [names.get(name, name) for name in node.input]
    made.output[:] = [names.get(name, name) for name in node.output]
    return made


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_onnx_files_of_bytes_are_the_network_between_the_conversions(name: str, last: bool, tmp_path: Path) -> None:
    taken, given, nodes, values = FILES[name]
    network = file_network.load(onnx_file(tmp_path / "net.onnx", taken, given, nodes, last=last))  # compared with ONNX Runtime
    assert network.value_range == values
    assert any("bytes" in remark for remark in network.remarks)
    said = values if given == "u8" else f"{values}:0..1"
    inside = value_range.wrapped(network, said, returns=True).module
    x = torch.rand(1, 3, 12, 16)
    expected = torch.nn.functional.conv2d(x, torch.from_numpy(WEIGHT), padding=1)
    expected = expected.clamp(0, 1) if given == "u8" else expected
    with torch.no_grad():
        assert torch.allclose(inside(x), expected, atol=1e-5)


def test_floating_point_behind_bytes_is_compared_to_its_last_digits(tmp_path: Path) -> None:
    taken, given, nodes, _ = FILES["bytes in"]
    found = readers.inspect(onnx_file(tmp_path / "net.onnx", taken, given, nodes))
    with pytest.raises(FileError, match="differs from what another"):
        agree(found, (12, 16), lambda x: torch.zeros(1, 3, 12, 16), "another")


SHARED = {
    "the rounding": ([*TO_255, *ROUNDED], "whole"),
    "what bounds it": ([TO_255[0], helper.make_node("Add", ["wide", "half"], ["more"]), *CUT_OFF[1:]], "again"),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_is_read_elsewhere_too_is_not_left_out(name: str, tmp_path: Path) -> None:
    """A second output is the picture before its conversion: for it, the rounding and the half are no part of that."""
    nodes, shared = SHARED[name]
    file = onnx_file(tmp_path / "net.onnx", "u8", "u8", [*FROM_BYTES, CONV, *nodes])
    model = onnx.load(file)
    model.graph.output.append(helper.make_tensor_value_info(shared, TensorProto.FLOAT, None))
    kept = {node.op_type for node in model.graph.node} & {"Round", "Add"}
    byte_pictures.left_out(model.graph)
    assert kept < {node.op_type for node in model.graph.node}
    assert "Cast" in {node.op_type for node in model.graph.node}  # the one in front
    assert [node.op_type for node in model.graph.node if node.output[0] == "y"] == ["Identity"]


@pytest.mark.parametrize("bytes_are", ["the picture", "something smaller"])
def test_of_several_outputs_the_conversion_is_that_of_the_one_that_is_read(bytes_are: str, tmp_path: Path) -> None:
    """The picture behind features of floating point as bytes, or in floating point behind a smaller one as bytes."""
    large = helper.make_node("Resize", ["conv", "", "factors"], ["large"], mode="nearest", nearest_mode="floor")
    large.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
    convert = [_renamed(node, {"conv": "large" if bytes_are == "the picture" else "conv"}) for node in [*TO_255, *ROUNDED]]
    file = onnx_file(tmp_path / "net.onnx", "f32", "u8", [helper.make_node("Identity", ["x"], ["unit"]), CONV, large, *convert])
    model = onnx.load(file)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "factors"))
    other = helper.make_tensor_value_info("conv" if bytes_are == "the picture" else "large", TensorProto.FLOAT, None)
    ends = [other, *model.graph.output] if bytes_are == "the picture" else [*model.graph.output, other]
    del model.graph.output[:]
    model.graph.output.extend(ends)
    onnx.save(model, file)
    network = file_network.load(file)  # compared with ONNX Runtime
    assert any("gives bytes" in remark for remark in network.remarks) == (bytes_are == "the picture")
    assert network.value_range == ("0..1:0..255" if bytes_are == "the picture" else "")


CONVERTS = helper.make_node("Cast", ["a"], ["y"], to=TensorProto.UINT8)
DEEP = 1500
CROOKED = {
    "in a circle": [helper.make_node("Identity", ["b"], ["a"]), helper.make_node("Identity", ["a"], ["b"]), CONVERTS],
    "of itself": [helper.make_node("Identity", ["y"], ["y"])],
    "of nothing": [helper.make_node("Cast", [], ["y"], to=TensorProto.UINT8)],
}


@pytest.mark.parametrize("name", CROOKED)
def test_crooked_files_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileError):
        readers.inspect(onnx_file(tmp_path / "net.onnx", "u8", "u8", [*FROM_BYTES, CONV, *CROOKED[name]]))


def test_bytes_behind_many_operators(tmp_path: Path) -> None:
    passes = [helper.make_node("Identity", [f"i{i - 1}" if i else "x"], [f"i{i}"]) for i in range(DEEP)]
    converts = helper.make_node("Cast", [f"i{DEEP - 1}"], ["real"], to=TensorProto.FLOAT)
    nodes = [*passes, converts, FROM_BYTES[1], CONV, helper.make_node("Identity", ["conv"], ["y"])]
    assert readers.inspect(onnx_file(tmp_path / "net.onnx", "u8", "f32", nodes)).of_bytes.taken


def test_another_network_than_the_file_is_still_noticed(tmp_path: Path) -> None:
    """Rounding explains one step, not more: a file that wraps round is refused."""
    wraps = [
        *FROM_BYTES,
        CONV,
        helper.make_node("Mul", ["conv", "s"], ["inside"]),
        helper.make_node("Cast", ["inside"], ["y"], to=TensorProto.UINT8),
    ]
    with pytest.raises(FileError, match="what was read differs from what ONNX Runtime computes"):
        file_network.load(onnx_file(tmp_path / "net.onnx", "u8", "u8", wraps))


@pytest.mark.parametrize("how", ["rounded", "cut off", "a half more", "more by a half"])
def test_tflite_files_of_bytes(how: str, tmp_path: Path) -> None:
    model, shape = FlatModel(), (1, 12, 16, 3)
    x, y = model.tensor("x", shape, "uint8"), model.tensor("y", shape, "uint8")
    real, out, low, high, whole = (model.tensor(name, shape, "float32") for name in ("real", "out", "low", "high", "whole"))
    weight = model.tensor("w", (3, 3, 3, 3), "float32", data=np.ascontiguousarray(WEIGHT.transpose(0, 2, 3, 1)))
    bias = model.tensor("b", (3,), "float32", data=np.zeros(3, np.float32))
    zero = model.tensor("zero", (), "float32", data=np.float32(0))
    most = model.tensor("most", (), "float32", data=np.float32(255))
    casts = ("CastOptions", {})
    model.op("CAST", [x], real, Options(*casts))
    window = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    model.op("CONV_2D", [real, weight, bias], out, Options("Conv2DOptions", window))
    model.op("MAXIMUM", [out, zero], low, Options("MaximumMinimumOptions", {}))
    model.op("MINIMUM", [low, most], high, Options("MaximumMinimumOptions", {}))
    if how == "rounded":
        model.op("ROUND", [high], whole)
    elif how != "cut off":
        half = model.tensor("half", (), "float32", data=np.float32(0.5))
        model.op("ADD", [high, half] if how == "a half more" else [half, high], whole, Options("AddOptions", {}))
    model.op("CAST", [high if how == "cut off" else whole], y, Options(*casts))
    path = tmp_path / "net.tflite"
    path.write_bytes(model.serialize([x], [y], "bytes", {}))
    network = file_network.load(path)  # compared with LiteRT
    assert network.value_range == "0..255"
    x_ = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        found = value_range.wrapped(network, "0..255", returns=True).module(x_)
    expected = torch.nn.functional.conv2d(x_, torch.from_numpy(WEIGHT), padding=1).clamp(0, 1)
    assert torch.allclose(found, expected, atol=1e-5)


class Bytes(torch.nn.Module):
    """Bytes out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.conv.weight.data = torch.from_numpy(WEIGHT)

    def wide(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.to(torch.float32) / 255) * 255  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv(x) * 255).round().clamp(0, 255).to(torch.uint8)  # type: ignore[no-any-return]


class Rounded(Bytes):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(x).clamp_(0, 255).round_().byte()


class Cut(Bytes):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(x).clamp(0, 255).to(torch.uint8)


class HalfMore(Bytes):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (self.wide(x) + 0.5).clamp(0, 255).permute(0, 2, 3, 1).contiguous()
        return y.to(torch.device("cpu"), torch.uint8).permute(0, 3, 1, 2)


class Floor(Bytes):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (0.5 + self.wide(x)).floor().clamp(0.0, 255.0).to(dtype=torch.uint8)


class Whole(Bytes):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv(x) * 255).int()  # type: ignore[no-any-return]


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("how", [Bytes, Rounded, Cut, HalfMore, Floor])
def test_torchscript_programs_of_bytes(how: type[Bytes], traced: bool, tmp_path: Path) -> None:
    module, example = how().eval(), torch.rand(1, 3, 12, 16)
    program = torch.jit.trace(module, example) if traced else torch.jit.script(module)
    torch.jit.save(program, str(tmp_path / "net.ts"))
    network = file_network.load(tmp_path / "net.ts")
    assert network.value_range == ("0..1:0..255" if how is Bytes else "0..255")
    x = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        found = value_range.wrapped(network, network.value_range, returns=True).module(x)
    expected = torch.nn.functional.conv2d(x, torch.from_numpy(WEIGHT), padding=1).clamp(0, 1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_other_whole_numbers_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(Whole(), torch.rand(1, 3, 12, 16)), str(tmp_path / "net.ts"))
    with pytest.raises(FileError, match="gives pictures of int32") as refused:
        readers.inspect(tmp_path / "net.ts")
    assert "uint8" in str(refused.value.hint)
