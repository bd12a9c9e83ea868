"""Windows of volumes, as exporters write them for normalization by neighbouring channels; and windows with gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_files import SIZES, difference, node, written

from hwsearch.formats.reading.readers import inspect

VOLUMES: dict[str, tuple[str, dict[str, Any]]] = {
    "means of neighbours": ("AveragePool", {"kernel_shape": [3, 1, 1], "strides": [1, 1, 1]}),
    "means of cubes": ("AveragePool", {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [1, 1, 0, 1, 1, 0]}),
    "means with zeros around": ("AveragePool", {"kernel_shape": [2, 3, 3], "pads": [1, 1, 1, 0, 1, 1], "count_include_pad": 1}),
    "the largest of cubes": ("MaxPool", {"kernel_shape": [3, 2, 2], "strides": [2, 1, 2], "pads": [1, 0, 1, 1, 0, 1]}),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes(name: str, tmp_path: Path) -> None:
    """Of channels that lie behind each other."""
    kind, attrs = VOLUMES[name]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["volume"]),
        helper.make_node(kind, ["volume"], ["found"], **attrs),
        helper.make_node("Squeeze", ["found", "one"], ["y"]),
    ]
    path = written(tmp_path / "net.onnx", nodes, {"one": np.array([1])}, opset=19)
    assert difference(path) < 1e-5


def test_normalization_by_neighbouring_channels_as_an_exporter_writes_it(tmp_path: Path) -> None:
    """Squares, zeros around the channels, means of three, a scale and a shift, a power, a quotient."""
    nodes = [
        node("Mul", "x", out="squares"),
        helper.make_node("Unsqueeze", ["squares", "one"], ["volume"]),
        helper.make_node("Pad", ["volume", "pads"], ["around"]),
        helper.make_node("AveragePool", ["around"], ["means"], kernel_shape=[3, 1, 1], strides=[1, 1, 1]),
        helper.make_node("Squeeze", ["means", "one"], ["flat"]),
        helper.make_node("Mul", ["flat", "alpha"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["energy"]),
        helper.make_node("Pow", ["energy", "beta"], ["divisor"]),
        helper.make_node("Div", ["x", "divisor"], ["y"]),
    ]
    numbers = {key: np.array(value, np.float32) for key, value in {"alpha": 0.5, "bias": 1.5, "beta": 0.75}.items()}
    arrays = {"one": np.array([1]), "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0]), **numbers}
    path = written(tmp_path / "net.onnx", nodes, arrays)
    assert inspect(path).graph.size is None
    assert difference(path) < 1e-5


def _dilated(*before: onnx.NodeProto, source: str = "x", **attrs: Any) -> list[onnx.NodeProto]:
    return [*before, helper.make_node("MaxPool", [source], ["y"], kernel_shape=[3, 3], dilations=[2, 2], **attrs)]


def test_windows_with_gaps_beyond_the_border_of_values_above_zero(tmp_path: Path) -> None:
    """With steps, of odd sizes, unevenly: zeros around are never the largest alone."""
    nodes = _dilated(helper.make_node("Relu", ["x"], ["z"]), source="z", pads=[1, 0, 2, 1], strides=[2, 1])
    assert difference(written(tmp_path / "net.onnx", nodes), ((24, 32), (13, 9))) < 1e-6


@pytest.mark.parametrize("attrs", [{"pads": [1, 1, 1, 1]}, {"pads": [2, 2, 2, 2], "strides": [2, 2]}, {"pads": [2, 2, 0, 0]}])
def test_windows_with_gaps_beyond_the_border_of_others_are_refused_with_what_to_do(attrs: dict[str, Any], tmp_path: Path) -> None:
    found = inspect(written(tmp_path / "net.onnx", _dilated(**attrs)))
    assert "beyond the border of values that may be negative: put a ReLU in front, or have steps of 1" in found.graph.uncounted[0]


@pytest.mark.parametrize(("kind", "attrs"), [("LpPool", {"kernel_shape": [2, 2], "p": 3}), ("GlobalLpPool", {"p": 5})])
def test_lengths_by_odd_powers_are_refused(kind: str, attrs: dict[str, Any], tmp_path: Path) -> None:
    found = inspect(written(tmp_path / "net.onnx", [node(kind, **attrs)], sides=(1, 4, *SIZES[0])))
    assert f"a length by the power of {attrs['p']}" in found.graph.uncounted[0]
