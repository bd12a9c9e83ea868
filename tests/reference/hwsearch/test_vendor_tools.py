"""Exported files under the programs of those they are for. Each program is an extra (`pip install hwsearch[qonnx]`, ...); a test
runs where its program is installed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from random_networks import MODULES, float_graph, picture, quantize
from torch import nn
from words import fused

from hwsearch.formats.onnx import float_network, qonnx
from hwsearch.formats.running.runtime import judge
from hwsearch.formats.sidecar import aimet, coreml
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.plans import verify
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ops.moves.move import PixelShuffle
from searchspaces.tracing.trace import trace


def compared(q: QuantizedGraph, x: torch.Tensor, theirs: np.ndarray) -> tuple[int, int, int]:
    fmt = q.formats[q.graph.output.name]
    return verify.compare(torch.from_numpy(np.array(theirs)), integer.run(q, x), fmt)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (3, 5), (2, 4), (6, 7)])
@pytest.mark.parametrize("name", MODULES)
def test_qonnx_executes_any_width(name: str, weight_bits: int, activation_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its executor computes in single precision: at most one code in at most one of a hundred."""
    pytest.importorskip("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    monkeypatch.setattr(onnx, "IR_VERSION", 10)  # of the one-node models that the executor builds; ONNX Runtime reads no newer
    q = quantize(float_graph(name), weight_bits, activation_bits)
    model = qonnx.to_model(q)
    x = picture(q.graph, 12, 14, seed=5)
    for side, size in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], x.shape[2:], strict=True):
        side.dim_value = size
    result = execute_onnx(ModelWrapper(model).transform(InferShapes()), {"input": x.numpy()})["output"]
    different, beyond, total = compared(q, x, result)
    assert beyond == 0
    assert different <= 0.01 * total


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, 8), (3, 8), (2, 8), (4, 6)])
@pytest.mark.parametrize("name", MODULES)
def test_openvino_runs_the_plan(name: str, weight_bits: int, activation_bits: int) -> None:
    """Within the tolerance that the runtime states."""
    pytest.importorskip("openvino")
    from hwsearch.formats.onnx import openvino

    if activation_bits < 8 and name == "ecbsr":
        pytest.skip("OpenVINO moves the bounds of narrow tensors behind a PReLU")
    opened = openvino.open_plan(quantize(float_graph(name), weight_bits, activation_bits))
    x = picture(opened.executed.graph, 32, 40, seed=5)
    judge(opened.tolerance, *compared(opened.executed, x, opened.run(x).numpy()))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("weight_bits", [3, 4, 8])
def test_coremltools_makes_the_same_integers(weight_bits: int, half: bool, tmp_path: Path) -> None:
    """Converted from the module with the plan's weights, quantized by the exported configuration: what promotion foresaw."""
    ct = pytest.importorskip("coremltools")
    from coremltools.converters.mil.mil import types
    from coremltools.optimize.coreml import OptimizationConfig, linear_quantize_weights

    module = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2)).eval()
    plan = quantize(trace(module, 1, "small"), weight_bits)
    q = EXPORTERS["coreml"].promote(plan).qgraph
    path = EXPORTERS["coreml"](plan, tmp_path / "small.yaml", metadata={"plan": "plan-01"})
    for node in plan.graph.convs:
        weight, bias = float_network.real_parameters(plan, node.name)
        layer = module.get_submodule(node.name)
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    x = torch.rand(1, 1, 16, 16)
    precision = ct.precision.FLOAT16 if half else ct.precision.FLOAT32
    model = ct.convert(
        torch.jit.trace(module, x),
        inputs=[ct.TensorType(name="input", shape=x.shape)],
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=precision,
        skip_model_load=True,
    )
    quantized = linear_quantize_weights(model, OptimizationConfig.from_yaml(str(path)))
    found = {op.name: op for op in quantized._mil_program.functions["main"].operations if op.op_type.startswith("constexpr")}
    assert len(found) == len(q.layers)
    for name, layer in q.layers.items():
        assert isinstance(layer, LayerIntegers)
        (op,) = (op for key, op in found.items() if key.startswith(coreml.constant_names(name)[0]))
        assert types.builtin_to_string(op.data.dtype) == f"int{layer.bits}"
        assert np.array_equal(op.data.val, layer.weight)
        assert np.allclose(op.scale.val.reshape(-1), layer.scale, rtol=2e-3 if half else 1e-6)


def ncnn_model(q: QuantizedGraph, table: dict[str, np.ndarray]) -> tuple[str, bytes]:
    """A chain of convolutions and a pixel shuffle as ncnn's int8 ``.param`` and ``.bin``, quantized with the multipliers of a
    table as ncnn's own tool does it."""
    lines, data, blob = ["Input input 0 1 in 0=0 1=0 2=0"], [], "in"
    for node in q.graph.nodes[1:]:
        if isinstance(node.op, PixelShuffle):
            lines.append(f"PixelShuffle {node.name} 1 1 {blob} {node.name} 0={node.op.factor}")
        else:
            weight, bias = float_network.real_parameters(q, node.name)
            multipliers, source = table[f"{node.name}_param_0"], table[node.name]
            codes = np.rint(weight * multipliers.reshape(-1, 1, 1, 1)).astype(np.int8).tobytes()
            data += [struct.pack("<I", 0x000D4B38), codes + bytes(-len(codes) % 4), bias.astype("<f4").tobytes()]
            data += [multipliers.astype("<f4").tobytes(), source.astype("<f4").tobytes()]
            shape = f"0={weight.shape[0]} 1={weight.shape[2]} 4={node.op.padding[0]} 5=1 6={weight.size} 8=2"
            lines.append(f"Convolution {node.name} 1 1 {blob} {node.name} {shape} 9={int(fused(node) == 'relu')}")
        blob = node.name
    return "\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines]) + "\n", b"".join(data)


@pytest.mark.parametrize("name", ["vdsr-body", "fsrcnn-relu"])
def test_ncnn_runs_with_the_table(name: str, tmp_path: Path) -> None:
    """It gives its last tensor in floating point: within the half step that the engine rounds away."""
    ncnn = pytest.importorskip("ncnn")
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1)]
    graph = trace(nn.Sequential(*body).eval(), 1, name) if name == "vdsr-body" else float_graph(name)
    q = EXPORTERS["ncnn"].promote(quantize(graph, 5, 7)).qgraph
    lines = EXPORTERS["ncnn"](q, tmp_path / "net.table", metadata={"plan": "plan-01"}).read_text().splitlines()
    rows = [line.split(" ") for line in lines]
    param, weights = ncnn_model(q, {row[0]: np.array(row[1:], dtype=np.float32) for row in rows})
    (tmp_path / "net.param").write_text(param)
    (tmp_path / "net.bin").write_bytes(weights)
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = net.opt.use_fp16_storage = net.opt.use_bf16_storage = False
    assert net.load_param(str(tmp_path / "net.param")) == 0
    assert net.load_model(str(tmp_path / "net.bin")) == 0
    x = picture(graph)  # that set the ranges, so that the engine clamps nothing that ncnn leaves alone
    extractor = net.create_extractor()
    pixels = x[0].numpy().copy()
    source = ncnn.Mat(pixels)  # both must outlive the run: ncnn borrows their memory
    extractor.input("in", source)
    status, result = extractor.extract(graph.output.name)
    assert status == 0
    steps = np.abs(np.array(result)[None] - integer.run(q, x).numpy()) / q.formats[graph.output.name].scale
    assert steps.max() <= 0.51


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
@pytest.mark.parametrize("name", ["fsrcnn-relu", "abpn", "edsr"])
def test_aimet_makes_the_same_network(name: str, version: str, tmp_path: Path) -> None:
    """AIMET's own converter makes a QDQ file of the float file and the encodings; executed without fusions it computes what the
    engine computes, up to one code in one of a hundred."""
    quantsim = pytest.importorskip("aimet_onnx.quantsim")
    from test_exporters import run_plainly

    exporter = EXPORTERS["aimet" if version == "2.0.0" else "aimet-1.0"]
    q = exporter.promote(quantize(float_graph(name), 4, 8)).qgraph
    encodings = json.loads(exporter(q, tmp_path / "net.encodings", metadata={"plan": "plan-01"}).read_text())
    model = quantsim.encodings_to_onnx_qdq(
        float_network.to_rounded_model(q), encodings, prequantize_constants=True, force_activation_as=None
    )
    model.ir_version = 10
    x = picture(q.graph, 20, 24, seed=5)
    different, beyond, total = compared(q, x, run_plainly(model, x).numpy())
    assert beyond == 0
    assert different <= 0.01 * total


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_encodings_give_the_integers_again(version: str) -> None:
    """Independent of any tool: weights divided by the written scales, and codes by the written offsets."""
    q = EXPORTERS["aimet"].promote(quantize(float_graph("attention"), 3, 5)).qgraph
    document = aimet.document(q, {}, version)
    entries = document.get("encodings") or document["activation_encodings"] + document["param_encodings"]
    by_name = {entry["name"]: entry for entry in entries}
    assert len(by_name) == len(entries) == len(q.graph.nodes) + 2 * len(q.layers)
    for node in q.graph.convs:
        layer = q.layers[node.name]
        assert isinstance(layer, LayerIntegers)
        entry = by_name[f"{node.name}.weight"]
        scale = np.float32(entry["scale" if version == "1.0.0" else "y_scale"])
        weight, bias = float_network.real_parameters(q, node.name)
        assert np.array_equal(np.rint(weight / scale.reshape(-1, 1, 1, 1)), layer.weight)
        scale = np.float64(by_name[f"{node.name}.bias"]["scale" if version == "1.0.0" else "y_scale"])
        assert np.abs(np.rint(bias / scale) - layer.bias).max() <= 1e-6 * np.abs(layer.bias).max() + 0.1
    for node in q.graph.nodes:
        fmt, entry = q.formats[node.name], by_name[node.name]
        codes = np.array([fmt.qmin, fmt.qmax])
        if version == "1.0.0":
            assert (entry["bw"], entry["dtype"], entry["is_sym"]) == (8, "INT", fmt.zero_point == 128)
            real = (codes + entry["offset"][0]) * entry["scale"][0]
        else:
            assert entry["output_dtype"] == "uint8"
            real = (codes - entry.get("y_zero_point", 0)) * entry["y_scale"]
        assert np.allclose(real, (codes - fmt.zero_point) * fmt.scale)
