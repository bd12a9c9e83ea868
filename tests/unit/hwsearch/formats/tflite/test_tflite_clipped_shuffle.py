"""Files of the kind of MLPerf Mobile's EDSR: int8, and MINIMUM and RELU between the last convolution and DEPTH_TO_SPACE."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from hwsearch.boards import vela
from hwsearch.formats.reading import pricing, readers
from hwsearch.formats.tflite import litert
from hwsearch.formats.tflite.writing.file import FlatModel, Options
from searchspaces.ir.graph import execute

HEIGHT, WIDTH, CHANNELS = 24, 32, 16
TOP = 0.75
"""The bound above: a constant of MINIMUM, on the grid of the codes."""


@pytest.fixture(scope="module")
def clipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head, a residual block and a tail of four phases, bounded on both sides before they become pixels."""
    model, rng = FlatModel(), np.random.default_rng(5)

    def values(name: str, channels: int, scale: float, zero_point: int, grown: int = 1) -> int:
        shape = (1, HEIGHT * grown, WIDTH * grown, channels)
        return model.tensor(name, shape, "int8", scale=scale, zero_point=zero_point)

    def conv(name: str, x: int, x_scale: float, inputs: int, y: int, outputs: int, activation: int = 0) -> int:
        scale = 1.5 / np.sqrt(9 * inputs) / 127
        weights = rng.integers(-127, 128, (outputs, 3, 3, inputs)).astype(np.int8)
        scales = np.full(outputs, scale, np.float32)
        w = model.tensor(f"{name}.weight", weights.shape, "int8", scale=scales, data=weights)
        bias = rng.integers(-200, 200, outputs).astype(np.int32)
        b = model.tensor(f"{name}.bias", (outputs,), "int32", scale=scales * x_scale, data=bias)
        window = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
        return model.op("CONV_2D", [x, w, b], y, Options("Conv2DOptions", {**window, "FusedActivationFunction": activation}), 3)

    pixel, wide = 1 / 255, 4 / 255
    x = values("picture", 3, pixel, -128)
    head = conv("head", x, pixel, 3, values("head", CHANNELS, wide, 0), CHANNELS)
    first = conv("first", head, wide, CHANNELS, values("first", CHANNELS, wide / 2, -128), CHANNELS, activation=1)
    second = conv("second", first, wide / 2, CHANNELS, values("second", CHANNELS, wide, 0), CHANNELS)
    added = model.op("ADD", [head, second], values("added", CHANNELS, wide, 0), Options("AddOptions"), 2)
    tail = conv("tail", added, wide, CHANNELS, values("tail", 12, pixel * 2, 0), 12)
    code = np.array([round(TOP / (pixel * 2))], np.int8)
    bound = model.tensor("top", (1,), "int8", scale=pixel * 2, zero_point=0, data=code)
    least = model.op("MINIMUM", [tail, bound], values("bounded", 12, pixel * 2, 0), Options("MaximumMinimumOptions"), 2)
    positive = model.op("RELU", [least], values("positive", 12, pixel * 2, 0), None, 2)
    large = values("large", 3, pixel * 2, 0, grown=2)
    model.op("DEPTH_TO_SPACE", [positive], large, Options("DepthToSpaceOptions", {"BlockSize": 2}))
    path = tmp_path_factory.mktemp("clipped") / "clipped.tflite"
    path.write_bytes(model.serialize([x], [large], "clipped", {}))
    return path


def test_it_is_read_as_what_litert_computes(clipped: Path) -> None:
    """Every operator is read; the real network agrees with the file's integers to a few of their steps, bounds included."""
    found = readers.inspect(clipped)
    assert found.graph.uncounted == ()
    codes = np.random.default_rng(1).integers(-128, 128, (1, HEIGHT, WIDTH, 3)).astype(np.int8)
    theirs = litert.invoke(litert.interpreter(clipped.read_bytes(), reference=True), codes)[0].astype(np.float32) * 2 / 255
    x = torch.from_numpy((codes.astype(np.float32) + 128) / 255).permute(0, 3, 1, 2)
    ours = execute(found.graph, x).permute(0, 2, 3, 1).numpy()
    assert ours.shape == theirs.shape
    assert np.isclose(theirs.max(), TOP, atol=1 / 255)
    assert theirs.min() == 0
    assert (np.mean(theirs == theirs.max()) > 0.01, np.mean(theirs == 0) > 0.01) == (True, True)
    assert ours.max() <= TOP + 1 / 255
    assert ours.min() >= 0
    assert np.median(np.abs(ours - theirs)) < 4 / 255


@pytest.mark.parametrize("target", ["snapdragon-8gen3-hexagon", "ethos-u55-128", "stm32h743"])
def test_it_is_priced(clipped: Path, target: str) -> None:
    """The bounds cost nothing where they fuse, and the file is priced on every class that reads it."""
    price = pricing.price(readers.inspect(clipped), target)
    macs = HEIGHT * WIDTH * 9 * CHANNELS * (3 + 2 * CHANNELS + 12)
    assert price.latency_s > 0
    assert sum(layer.macs for layer in price.layers) == macs
    shuffled = [layer.name for layer in price.layers if layer.runs_on]
    assert [*price.remarks] == [
        said for said in price.remarks if f"run on the Cortex-M55 (1 pixel_shuffle: {shuffled[0]})" in said
    ]
    assert len(price.remarks) == (target == "ethos-u55-128")


@pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="needs the extra: vela")
@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u85-512"])
def test_its_price_is_that_of_arms_compiler(clipped: Path, target: str) -> None:
    _, both = vela.of_file(readers.inspect(clipped), target)
    print(f"{target}: {both.ours_s / both.vela_s - 1:+.1%}")
    assert both.difference is not None
    assert abs(both.difference) < 0.15
