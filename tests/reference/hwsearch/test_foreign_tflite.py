"""An int8 network that others made, the winner of the MAI 2021 challenge: read, executed by our engine, compared with LiteRT."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from hwsearch.cli import main
from hwsearch.formats.reading import pricing
from hwsearch.formats.reading.readers import inspect
from hwsearch.formats.running.runtime import compare
from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.tflite.read import load
from hwsearch.formats.tflite.writing.order import channel_orders
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data import pictures
from searchspaces.ir.shapes import propagate
from searchspaces.tasks.image import to_picture
from searchspaces.tasks.metrics import psnr_y

NAMES = {"qat": 33.47, "ptq": 33.42}
"""Files, and the Y PSNR of each on Set5 that was measured with LiteRT (dB)."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(shared: Path, name: str) -> Path:
    return shared / "data" / "weights" / "int8" / f"abpn_mai2021_x3_int8_{name}.tflite"


def picture_of(golden: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(golden["network.input_uint8"].astype(np.float32)).permute(0, 3, 1, 2)


def in_file_order(q: QuantizedGraph, name: str, codes: torch.Tensor) -> np.ndarray:
    """Codes ``[1, C, H, W]`` of a tensor as the file has them, int8 ``[1, H, W, C]``."""
    channels = {key: shape[0] for key, shape in propagate(q.graph, 32, 32).items()}
    return codes[:, channel_orders(q.graph, channels)[name]].permute(0, 2, 3, 1).numpy() - 128


def test_every_convolution_and_the_output_are_equal_code_for_code(file: Path) -> None:
    q, golden = load(file, "xnnpack"), load_file(file.with_suffix(".safetensors"))
    codes = integer.run_codes(q, picture_of(golden))
    for index, node in enumerate(q.graph.convs):
        assert np.array_equal(in_file_order(q, node.inputs[0], codes[node.inputs[0]]), golden[f"conv{index}.input_int8"])
        assert np.array_equal(in_file_order(q, node.name, codes[node.name]), golden[f"conv{index}.output_int8"])
    output = codes[q.graph.output.name].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(output, golden["network.output_uint8"])


def test_psnr_on_set5_is_that_of_litert(file: Path, name: str, shared: Path) -> None:
    q = load(file, "xnnpack")
    found = []
    for pair in pictures.pairs(pictures.load_folder(shared / "data" / "Set5"), 3, 3, "low"):
        found.append(psnr_y(to_picture(integer.run(q, pair.low * 255) / 255), pair.high, 3))
    assert np.mean(found) == pytest.approx(NAMES[name], abs=0.006)


@pytest.mark.parametrize("runtime", [litert.open_plan, tflm.open_plan], ids=["LiteRT", "Micro"])
def test_what_was_read_is_written_and_runs_again(file: Path, runtime) -> None:  # type: ignore[no-untyped-def]
    q = load(file)
    opened = runtime(q)
    x = picture_of(load_file(file.with_suffix(".safetensors")))[:, :, :12, :16]
    ours = integer.run(opened.executed, x)
    assert compare(opened.run(x), ours, opened.executed.formats[q.graph.output.name])[0] == 0


def test_it_is_inspected_and_priced(file: Path) -> None:
    found = inspect(file)
    assert [layer.shape[0] for layer in found.layers] == [28, 28, 28, 28, 28, 27, 27]
    assert {(layer.weight_bits, layer.activation_bits, layer.stored_as) for layer in found.layers} == {(8, 8, "int8")}
    assert found.weight_bytes == 42345
    assert found.provenance is None
    price = pricing.price(found, "snapdragon-8gen3-hexagon", (360, 640))
    macs = sum(row.macs for row in price.layers)
    assert macs == 360 * 640 * 42345  # one multiplication a weight and pixel
    assert 0 < price.latency_s < 0.1


def test_estimate_prices_the_file_on_a_device(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--model", str(file), "--target", "stm32h743", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predicted"]["input_size"] == [48, 64]
    assert found["predicted"]["weight_bytes"] >= found["weight_bytes"] == 42345
