"""Weights that several layers use are one copy in every file, and what runs it has the engine's codes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import c_program
import numpy as np
import onnx
import pytest
import tflite
import torch
from recursive_network import USES, Recursive
from safetensors.numpy import load_file
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.c import write as c
from hwsearch.formats.onnx import ort, qonnx, tensorrt
from hwsearch.formats.onnx import write as onnx_write
from hwsearch.formats.reading.readers import inspect
from hwsearch.formats.sidecar.table import document
from hwsearch.formats.tflite import litert
from hwsearch.formats.tflite import write as tflite_write
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph, same_weights
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

SIZE = (12, 16)


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (1, 1, *SIZE), generator=generator) / 255 for _ in range(6)]


@pytest.fixture(scope="module", params=[(8, 8), (4, 8), (8, 16)], ids=["W8A8", "W4A8", "W8A16"])
def quantized(request: pytest.FixtureRequest, pictures: list[Tensor]) -> QuantizedGraph:
    graph = trace(Recursive(), 1, "recursive")
    space = build_space(to_workload(graph, *SIZE), (4, 8), (8, 16))
    return calibrate(graph, pictures, space, method="nearest").quantized(space.uniform(*request.param))


def bits_of(q: QuantizedGraph) -> int:
    return q.layers["body"].bits


def test_the_file_of_integers_has_one_copy_and_comes_back(quantized: QuantizedGraph, tmp_path: Path) -> None:
    storage.save(quantized, tmp_path / "net.safetensors")
    arrays = load_file(tmp_path / "net.safetensors")
    assert [key for key in arrays if key.startswith("weight/")] == ["weight/body", "weight/head", "weight/tail"]
    assert {f"bias/{name}" for name in USES} <= arrays.keys()
    again = storage.load(tmp_path / "net.safetensors")
    assert again.graph.weight_groups == quantized.graph.weight_groups
    assert storage.digest(again) == storage.digest(quantized)
    for name in USES:
        assert np.array_equal(again.layers[name].weight, quantized.layers["body"].weight)
        assert np.array_equal(again.layers[name].bias, quantized.layers[name].bias)


@pytest.mark.parametrize("owner", ["body@2", "nobody"])
def test_a_file_whose_layer_uses_weights_that_are_not_there_is_refused(quantized: QuantizedGraph, owner: str) -> None:
    found, arrays = storage.to_document(quantized)
    found["layers"]["body@3"]["weights_of"] = owner
    with pytest.raises(FileError, match="body@3"):
        storage.from_document(found, arrays)


def test_onnx_has_one_initializer_and_the_engines_codes(
    quantized: QuantizedGraph, pictures: list[Tensor], tmp_path: Path
) -> None:
    path = onnx_write.export(quantized, tmp_path / "net.onnx")
    stored = [tensor.name for tensor in onnx.load(path).graph.initializer if tensor.name.endswith(".weight")]
    assert sorted(stored) == ["body.weight", "head.weight", "tail.weight"]
    run = ort.open_plan(quantized, path)
    for x in pictures:
        assert torch.equal(run.run(x), integer.run(quantized, x))
    assert inspect(path).weight_bytes == 9 * (8 + 64 + 32) * bits_of(quantized) // 8


@pytest.mark.parametrize("written", [qonnx, tensorrt], ids=["qonnx", "tensorrt"])
def test_the_other_onnx_formats_have_one_initializer(written: object, pictures: list[Tensor]) -> None:
    graph = trace(Recursive(), 1, "recursive")
    space = build_space(to_workload(graph, *SIZE), (8,), (8,), symmetric_activations=True)
    q = calibrate(graph, pictures, space, method="nearest").quantized(space.uniform(8, 8))
    model = written.to_model(q)  # type: ignore[attr-defined]
    assert sum(tensor.name.endswith(".weight") for tensor in model.graph.initializer) == 3


def test_tflite_has_one_buffer_and_the_engines_codes(quantized: QuantizedGraph, pictures: list[Tensor]) -> None:
    data = tflite_write.to_bytes(quantized, flavour="reference", size=SIZE)
    model = tflite.Model.GetRootAs(data)
    tensors = [model.Subgraphs(0).Tensors(i) for i in range(model.Subgraphs(0).TensorsLength())]
    buffers = Counter(
        t.Buffer() for t in tensors if t.Name().decode().startswith("body") and t.Name().decode().endswith(".weight")
    )
    assert [*buffers.values()] == [3]
    plan = litert.open_plan(quantized, reference=True)
    for x in pictures:
        assert torch.equal(plan.run(x), integer.run(plan.executed, x))


def test_c_has_one_array_and_the_engines_codes(quantized: QuantizedGraph, pictures: list[Tensor], tmp_path: Path) -> None:
    program = c.lower(quantized, *SIZE)
    assert program.weight_bytes == sum(
        -(-layer.weight[0].size * layer.bits // 8) * len(layer.weight)
        for name, layer in quantized.layers.items()
        if same_weights(quantized, name) == name
    )
    executable = c_program.build(quantized, tmp_path, SIZE)
    text = (tmp_path / "net" / "net.c").read_text()
    assert sum("_weights[" in line for line in text.splitlines()) == 3
    executed = QuantizedGraph(quantized.graph, quantized.formats, quantized.layers, c.RULE)
    codes = integer.run_codes(executed, pictures[0])
    first, last = quantized.graph.input.name, quantized.graph.output.name
    given, wanted = (codes[name][0].numpy().astype(np.int64) for name in (first, last))
    assert np.array_equal(c_program.run(executable, quantized, given, wanted.shape), wanted)


def test_a_table_says_whose_weights_they_are(quantized: QuantizedGraph) -> None:
    rows = {row["name"]: row for row in document(quantized)["layers"]}
    assert [rows[name].get("weights_of") for name in (*USES, "head")] == [None, "body", "body", None]


def test_files_with_shared_weights_are_read_with_one_decision(
    quantized: QuantizedGraph, pictures: list[Tensor], tmp_path: Path
) -> None:
    """A floating-point ONNX file of torch's own exporter shares an initializer, a TFLite file of ours a buffer."""
    torch.onnx.export(
        Recursive(), (pictures[0],), str(tmp_path / "float.onnx"), dynamo=False, input_names=["input"], output_names=["output"]
    )
    (tmp_path / "net.tflite").write_bytes(tflite_write.to_bytes(quantized, flavour="reference", size=SIZE))
    for name in ("float.onnx", "net.tflite"):
        found = inspect(tmp_path / name)
        assert sorted(map(len, set(found.graph.weight_groups.values()))) == [1, 1, 3]
        assert len(to_workload(found.graph, *SIZE).weighted) == 3
        assert found.weight_bytes == 9 * (8 + 64 + 32) * (32 if name == "float.onnx" else bits_of(quantized)) // 8
