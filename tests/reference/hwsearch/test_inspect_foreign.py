"""Model files that others made, read back and priced: quantized by ONNX Runtime's own tool, or written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from random_networks import float_graph, picture, quantize

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.errors import UncountedError
from hwmodels.numbers import Precision
from hwsearch.cli import main
from hwsearch.formats.onnx.float_network import to_float_model
from hwsearch.formats.reading import pricing
from hwsearch.formats.reading.readers import bits_of, inspect
from hwsearch.formats.writing import exporters
from hwsearch.formats.writing.exporters import EXPORTERS
from searchspaces.ir.lower import to_workload


class OnePicture(CalibrationDataReader):
    def __init__(self, x: np.ndarray) -> None:
        self.left = [{"input": x}]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", ["fsrcnn-relu", "edsr"])
def test_files_quantized_by_onnx_runtime_cost_what_int8_costs(
    name: str, per_channel: bool, form: QuantFormat, tmp_path: Path
) -> None:
    graph = float_graph(name)
    model = to_float_model(graph)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "float.onnx")
    path = tmp_path / "int8.onnx"
    reader = OnePicture(picture(graph).numpy())
    quantize_static(
        tmp_path / "float.onnx",
        path,
        reader,
        quant_format=form,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    found = inspect(path)
    assert found.provenance is None
    assert found.graph.uncounted == ()
    assert [layer.weight_bits for layer in found.layers] == [8] * len(graph.convs)
    assert [layer.activation_bits for layer in found.layers] == [8] * len(graph.convs)
    assert [layer.shape for layer in found.layers] == [tuple(n.weights["weight"].shape) for n in graph.convs]
    assert found.weight_bytes == sum(n.weights["weight"].numel() for n in graph.convs)
    price = pricing.price(found, "ethos-u55-128", (48, 64))
    device = catalogue.load("ethos-u55-128")
    expected = cost.uniform(device, exporters.shipped(to_workload(graph, 48, 64), device), Precision.parse("W8A8"))
    assert price.latency_s == pytest.approx(expected.latency_s)
    assert price.weight_bytes == expected.weight_bytes


@pytest.mark.parametrize("name", ["tensorrt", "qonnx", "float", "openvino"])
def test_every_onnx_flavour_is_read(name: str, tmp_path: Path) -> None:
    graph = float_graph("attention")
    q = quantize(graph, 5, 7)
    held = EXPORTERS[name].promote(q).qgraph
    found = inspect(EXPORTERS[name](q, tmp_path / "net.onnx", metadata={"plan": "plan-09"}))
    assert found.provenance is not None
    assert found.provenance["plan"] == "plan-09"
    assert sorted(n.op.word for n in found.graph.nodes) == sorted(n.op.word for n in graph.nodes)
    wanted = {key: (32, 32) if name == "float" else (5, held.formats[key].bits) for key in q.layers}
    assert {layer.name: (layer.weight_bits, layer.activation_bits) for layer in found.layers} == wanted


def test_a_transposed_convolution_is_priced_as_what_it_computes(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).integers(-7, 8, (4, 1, 4, 4)).astype(np.int8)
    constants = {"w": weight, "s": np.float32(0.1), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"]),
        helper.make_node("ConvTranspose", ["input", "real"], ["up"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["up"], ["output"]),
    ]
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4, 24, 32]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 48, 64]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "up", ends[:1], ends[1:], tensors)), tmp_path / "up.onnx")
    found = inspect(tmp_path / "up.onnx")
    (layer,) = found.layers
    assert (layer.op, layer.shape, layer.weight_bits, layer.stored_as, layer.weight_bytes) == (
        "conv_transpose",
        (4, 1, 4, 4),
        4,
        "int8",
        64,
    )
    assert found.input_size == (24, 32)
    assert layer.activation_bits == 32
    price = pricing.price(found, "jetson")
    assert price.input_size == (24, 32)
    assert price.latency_s > 0
    assert price.remarks


def test_what_cannot_be_priced_is_shown_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = to_float_model(float_graph("fsrcnn-relu"))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Asin"
    onnx.save(model, tmp_path / "odd.onnx")
    found = inspect(tmp_path / "odd.onnx")
    assert len(found.layers) == 6
    with pytest.raises(UncountedError, match="Asin"):
        pricing.price(found, "jetson")
    assert main(["inspect", str(tmp_path / "odd.onnx")]) == 0
    assert "Asin" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "odd.onnx"), "--target", "jetson", "--json"]) == 3


def test_the_command_prints_layers_origin_and_price(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    q = quantize(float_graph("fsrcnn-relu"), 3, 8)
    path = EXPORTERS["onnx"](q, tmp_path / "net.onnx", metadata={"plan": "plan-04", "plan_key": "feedbeef"})
    assert main(["inspect", str(path), "--target", "jetson", "--input", "36x64", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["provenance"]["plan_key"] == "feedbeef"
    assert {layer["stored_as"] for layer in document["layers"]} == {"int4"}
    assert sum(row["latency_s"] for row in document["predicted"]["layers"]) <= document["predicted"]["latency_s"]
    assert main(["inspect", str(path), "--target", "jetson"]) == 0
    shown = capsys.readouterr()
    assert "plan-04" in shown.out
    assert "priced at 8" in shown.err


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([-1, 0, 1], 2),
        ([-2, 1], 2),
        ([-3, 3], 3),
        ([-4, 0], 3),
        ([0, 4], 4),
        ([-7, 7], 4),
        ([-127, 90], 8),
        ([-128], 8),
        ([0], 2),
    ],
)
def test_bits_of_integers(values: list[int], bits: int) -> None:
    assert bits_of(np.array(values)) == bits
