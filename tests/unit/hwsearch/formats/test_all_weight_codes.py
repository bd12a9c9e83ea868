"""Weights of less than 8 bits may use every code of two's complement, the lowest too: files hold them, and runtimes agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import c_program
import numpy as np
import pytest
import torch

from hwmodels.errors import FileError
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.formats.c import write as c
from hwsearch.formats.onnx import ort, qonnx
from hwsearch.formats.onnx import write as onnx_write
from hwsearch.formats.tflite import litert
from hwsearch.quant.engine import integer
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph

SIZE = (16, 20)


@pytest.fixture(scope="module", params=[2, 3, 4], ids="W{}A8".format)
def quantized(request: pytest.FixtureRequest) -> QuantizedGraph:
    calibration = tiny_calibration((2, 3, 4, 8), (4, 8), "nearest")
    drafted = calibration.quantized(calibration.space.uniform(request.param, 8))
    random, half = np.random.default_rng(0), 2 ** (request.param - 1)
    layers = {
        name: replace(layer, weight=random.integers(-half, half, layer.weight.shape).astype(np.int8))
        for name, layer in drafted.layers.items()
    }
    assert all(layer.weight.min() == -half for layer in layers.values())
    return QuantizedGraph(drafted.graph, drafted.formats, layers, drafted.rule)


@pytest.fixture
def picture() -> torch.Tensor:
    return tiny_pairs()[0].low[:, :, : SIZE[0], : SIZE[1]]


def test_the_file_of_integers_holds_them_and_nothing_below(quantized: QuantizedGraph, tmp_path: Path) -> None:
    storage.save(quantized, tmp_path / "net.safetensors")
    assert storage.digest(storage.load(tmp_path / "net.safetensors")) == storage.digest(quantized)
    document, arrays = storage.to_document(quantized)
    for layer in document["layers"].values():
        layer["bits"] -= 1
    with pytest.raises(FileError, match="do not fit"):
        storage.from_document(document, arrays)


def test_onnx_runtime_has_the_engines_codes(quantized: QuantizedGraph, picture: torch.Tensor, tmp_path: Path) -> None:
    run = ort.open_plan(quantized, onnx_write.export(quantized, tmp_path / "net.onnx"))
    assert torch.equal(run.run(picture), integer.run(quantized, picture))


def test_litert_has_the_engines_codes(quantized: QuantizedGraph, picture: torch.Tensor) -> None:
    plan = litert.open_plan(quantized, reference=True)
    assert torch.equal(plan.run(picture), integer.run(plan.executed, picture))


def test_c_has_the_engines_codes(quantized: QuantizedGraph, picture: torch.Tensor, tmp_path: Path) -> None:
    executable = c_program.build(quantized, tmp_path, SIZE)
    codes = integer.run_codes(QuantizedGraph(quantized.graph, quantized.formats, quantized.layers, c.RULE), picture)
    first, last = quantized.graph.input.name, quantized.graph.output.name
    given, wanted = (codes[name][0].numpy().astype(np.int64) for name in (first, last))
    assert np.array_equal(c_program.run(executable, quantized, given, wanted.shape), wanted)


def test_qonnx_says_that_the_range_is_not_narrow(quantized: QuantizedGraph) -> None:
    """A narrow Quant node would clip the lowest code."""
    signed = [node for node in qonnx.to_model(quantized).graph.node if node.op_type == "Quant"]
    told = [{a.name: a.i for a in node.attribute} for node in signed]
    assert [one["narrow"] for one in told if one["signed"]] == [0] * len(quantized.layers)
