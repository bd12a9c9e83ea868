"""Exported files executed or parsed by other programs: those that need nothing beyond what hwsearch is installed with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from random_networks import MODULES, float_graph, picture, quantize

from hwmodels.errors import FileError
from hwsearch.formats.onnx import float_network, tensorrt
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.formats.writing.promote import promote
from hwsearch.plans import verify
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import execute

FACTS = {"plan": "plan-03", "plan_key": "0123456789abcdef"}


def run_plainly(model: onnx.ModelProto, x: torch.Tensor) -> torch.Tensor:
    """ONNX Runtime without optimization: every node as the standard defines it, in single precision."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, 6), (3, 8)])
def test_tensorrt_file_computes_what_the_engine_computes(name: str, weight_bits: int, activation_bits: int) -> None:
    """Single precision rounds a sum that lies between two codes to either: at most one code, in at most one of a hundred."""
    q = EXPORTERS["tensorrt"].promote(quantize(float_graph(name), weight_bits, activation_bits)).qgraph
    model = tensorrt.to_model(q)
    assert tensorrt.violations(model) == []
    x = picture(q.graph, 26, 30, seed=9)
    different, beyond, total = verify.compare(run_plainly(model, x), integer.run(q, x), q.formats[q.graph.output.name])
    assert beyond == 0
    assert different <= 0.01 * total


def test_tensorrt_half_precision_layers_have_no_quantizers() -> None:
    graph = float_graph("edsr")
    q = EXPORTERS["tensorrt"].promote(quantize(graph, 8, {graph.convs[0].name: 16})).qgraph
    assert q.float_layers
    model = tensorrt.to_model(q)
    x = picture(graph, seed=9)
    theirs, ours = run_plainly(model, x), integer.run(q, x)
    assert (theirs - ours).abs().max() <= 2 * q.formats[graph.output.name].scale
    weights = {t.name: t.data_type for t in model.graph.initializer if t.name.endswith(".weight")}
    halves = [name for name, kind in weights.items() if kind == onnx.TensorProto.FLOAT16]
    assert sorted(halves) == sorted(f"{name}.weight" for name in q.float_layers)


def test_tensorrt_rules_are_checked() -> None:
    q = EXPORTERS["tensorrt"].promote(quantize(float_graph("fsrcnn-relu"))).qgraph
    model = tensorrt.to_model(q)

    def broken(change) -> str:  # type: ignore[no-untyped-def]
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        change(copy.graph)
        return " ".join(tensorrt.violations(copy))

    def tensor(graph: onnx.GraphProto, array: np.ndarray, name: str) -> str:
        graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def quantizer(graph: onnx.GraphProto) -> onnx.NodeProto:
        return next(node for node in graph.node if node.op_type == "QuantizeLinear")

    def conv(graph: onnx.GraphProto) -> onnx.NodeProto:
        return next(node for node in graph.node if node.op_type == "Conv")

    def zero_point(graph: onnx.GraphProto) -> None:
        quantizer(graph).input[2] = tensor(graph, np.array(3, np.int8), "z")

    def unsigned(graph: onnx.GraphProto) -> None:
        quantizer(graph).input[2] = tensor(graph, np.array(0, np.uint8), "z")

    def negative(graph: onnx.GraphProto) -> None:
        quantizer(graph).input[1] = tensor(graph, np.array(-1.0, np.float32), "s")

    def per_channel(graph: onnx.GraphProto) -> None:
        quantizer(graph).input[1] = tensor(graph, np.ones(16, np.float32), "s")

    def quantized_bias(graph: onnx.GraphProto) -> None:
        conv(graph).input[2] = conv(graph).input[1]

    def axis(graph: onnx.GraphProto) -> None:
        made_by = {node.output[0]: node for node in graph.node}
        made_by[conv(graph).input[1]].attribute[0].i = 1

    assert "int8 and 0" in broken(zero_point)
    assert "uint8" in broken(unsigned)
    assert "not positive" in broken(negative)
    assert "one scale" in broken(per_channel)
    assert "bias" in broken(quantized_bias)
    assert "axis 0" in broken(axis)
    with pytest.raises(FileError, match="symmetric"):
        tensorrt.to_model(quantize(float_graph("fsrcnn-relu")))


@pytest.mark.parametrize("name", MODULES)
def test_float_file_computes_with_the_rounded_weights(name: str, tmp_path: Path) -> None:
    q = quantize(float_graph(name), 4)
    path = EXPORTERS["float"](q, tmp_path / "net.onnx", metadata=FACTS)
    rounded = {}
    for node in q.graph.convs:
        weight, bias = (torch.from_numpy(a) for a in float_network.real_parameters(q, node.name))
        rounded[node.name] = node.with_weights(weight=weight, bias=bias)
    x = picture(q.graph, seed=2)
    with torch.no_grad():
        expected = execute(q.graph.replaced(rounded), x)
    assert torch.allclose(run_plainly(onnx.load(path), x), expected, atol=1e-4 * float(expected.abs().max()))


def widths(q: QuantizedGraph) -> dict[str, tuple[int, int, int]]:
    found = {}
    for node in q.graph.convs:
        found[node.name] = (q.layers[node.name].bits, q.formats[node.inputs[0]].bits, q.formats[node.name].bits)
    return found


def test_json_holds_every_grid(tmp_path: Path) -> None:
    q = quantize(float_graph("attention"), 5, 6)
    document = json.loads(EXPORTERS["json"](q, tmp_path / "t.json", metadata=FACTS).read_text())
    assert document["provenance"]["plan_key"] == FACTS["plan_key"]
    assert {r["name"]: (r["weight_bits"], r["input_bits"], r["output_bits"]) for r in document["layers"]} == widths(q)
    for row in document["tensors"]:
        fmt = q.formats[row["name"]]
        assert (row["scale"], row["zero_point"], row["lowest"], row["highest"]) == (fmt.scale, fmt.zero_point, fmt.qmin, fmt.qmax)
    for row in document["layers"]:
        layer = q.layers[row["name"]]
        assert isinstance(layer, LayerIntegers)
        assert np.array_equal(np.float32(row["weight_scale"]), layer.scale)


def test_csv_has_one_line_a_layer(tmp_path: Path) -> None:
    q = quantize(float_graph("edsr"), 3, 7)
    path = EXPORTERS["csv"](q, tmp_path / "t.csv", metadata=FACTS)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {r["name"]: tuple(int(r[k]) for k in ("weight_bits", "input_bits", "output_bits")) for r in rows} == widths(q)
    assert {row["plan"] for row in rows} == {"plan-03"}
    assert sum(int(row["weight_bytes"]) for row in rows) == promote(q, EXPORTERS["csv"].holds).bytes_after


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_file_says_where_it_came_from(name: str, tmp_path: Path) -> None:
    path = EXPORTERS[name](quantize(float_graph("fsrcnn-relu"), 3), tmp_path / "file", metadata=FACTS)
    written = path.read_bytes() if path.is_file() else b"".join(part.read_bytes() for part in sorted(path.glob("*.h")))
    for value in FACTS.values():
        assert value.encode() in written
    if EXPORTERS[name].promote(quantize(float_graph("fsrcnn-relu"), 3)).changes and name != "ncnn":
        assert b"Promoted (" in written
